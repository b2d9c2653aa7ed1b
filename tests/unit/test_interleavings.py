"""Any order of things: workers, redeliveries, the sweep, retries, deletions and new uploads, call by call.

Hypothesis leads handlers side by side from one AWS call to the next, lets them die and their calls fail,
moves the clock, and looks after every step whether a promise is broken. In the end everything comes to rest,
and nothing may be lost. It tries the same every time; `INTERLEAVINGS=2000` tries so many, others every time,
and looks for the shortest way to what it finds.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib import deletion, items, keys, retries
from chalicelib.errors import NotFound
from chalicelib.jobs import Status
from chalicelib.settings import Settings
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.fake.actors import Actors
from tests.unit.fake.graph import Graph
from tests.unit.fake.stage import Stage, running
from tests.unit.scenarios import HEAVY

EXAMPLES = int(os.environ.get("INTERLEAVINGS", "0"))
OWNER = "alice"
IDS = ("01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071", "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6072")
SIGNED = tuple(f"uploads/{OWNER}/{job_id}/order.json" for job_id in IDS)
DROPPED = "incoming/machine/order.json"
AT_ONCE = 4

ended = (Status.COMPLETED, Status.REJECTED, Status.FAILED)


@pytest.fixture
def stage(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    del settings
    for name, value in {"MAX_ATTEMPTS": "2", **HEAVY}.items():
        monkeypatch.setenv(name, value)
    with running(Settings.from_env(os.environ), monkeypatch, make_resources, ACCOUNT) as stage:
        yield stage


class World(RuleBasedStateMachine):
    stage: Stage
    blank: Any
    examples = 0
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.stage.restore(self.blank)
        self.graph = Graph(self.stage.aws, self.stage.settings.jobs_table)
        self.graph.start()
        self.actors = Actors(self.stage.aws)
        self.numbers = count(1)
        self.latest: dict[str, bytes] = {}
        """Key to what was uploaded there last."""
        self.uploaded_at: dict[str, float] = {}
        self.deleted_at: dict[str, float] = {}
        """Job id to when its deletion was over: answered, or died in the middle."""
        self.deleting: Counter[str] = Counter()
        self.torn: set[str] = set()
        """Job ids with an upload in the middle of a deletion that was cut off: see docs/reliability.md."""
        self.came_in_between: set[str] = set()
        self.told: list[Any] = []
        """Every S3 event that there has been: any may come again, at any time."""
        type(self).examples += 1

    # --- what happens

    @initialize(broken=st.booleans(), heavy=st.booleans())
    def something_has_arrived(self, broken: bool, heavy: bool) -> None:
        self.arrive(SIGNED[0], broken, heavy)

    @rule(key=st.sampled_from([*SIGNED, DROPPED]), broken=st.booleans(), heavy=st.booleans())
    def arrive(self, key: str, broken: bool, heavy: bool) -> None:
        """An upload, and all that S3 has to tell."""
        self.upload(key, broken, heavy)
        while self.room() and self.stage.aws.s3.events:
            self.tell_of_an_object()
            while self.actors.at_work and self.actors.at_work[-1].name == "intake":
                self.actors.step(self.actors.at_work[-1])

    @rule(key=st.sampled_from([*SIGNED, DROPPED]), broken=st.booleans(), heavy=st.booleans())
    def upload(self, key: str, broken: bool, heavy: bool) -> None:
        self.stage.aws.clock.advance(1)
        number = next(self.numbers)
        body = b"{broken-%d" % number if broken else b'{"id": "event", "n": %d}' % number
        body += b" " * 100 * heavy
        self.stage.aws.s3.put_object({"Bucket": self.stage.settings.bucket, "Key": key, "Body": body})
        self.latest[key], self.uploaded_at[key] = body, self.stage.aws.clock()
        self.came_in_between.update(job_id for job_id in +self.deleting if job_id in key)

    def room(self) -> bool:
        return len(self.actors.at_work) < AT_ONCE

    @precondition(lambda self: self.room() and self.stage.aws.s3.events)
    @rule()
    def tell_of_an_object(self) -> None:
        record = self.stage.aws.s3.events.pop(0)
        if record["s3"]["object"]["key"].startswith(self.stage.settings.open_prefixes):
            self.told.append(record)
            self.actors.start("intake", lambda: self.stage.bring_objects([record]))

    @precondition(lambda self: self.room() and self.told)
    @rule(which=st.integers(0, 99))
    def tell_of_an_object_again(self, which: int) -> None:
        record = self.told[which % len(self.told)]
        self.actors.start("intake again", lambda: self.stage.bring_objects([record]))

    @precondition(
        lambda self: self.room() and self.stage.aws.sqs.queues[self.stage.settings.queue_name].messages
    )
    @rule()
    def begin_to_consume(self) -> None:
        self.actors.start("worker", self.stage.bring_messages)

    @precondition(lambda self: self.room() and self.queue)
    @rule(calls=st.integers(0, 8), late=st.integers(0, 8))
    def take_over(self, calls: int, late: int) -> None:
        """Leases and visibility have run out, and another worker begins; then the first one wakes up."""
        self.stage.aws.clock.advance(400)
        self.begin_to_consume()
        self.go_on(len(self.actors.at_work) - 1, calls)
        self.go_on(0, late)

    @precondition(lambda self: self.room() and self.running)
    @rule(which=st.integers(0, 99))
    def take_a_step(self, which: int) -> None:
        """Of an execution; another try of the same step may still be under way."""
        arn = self.running[which % len(self.running)]
        self.actors.start("step", lambda: self.stage.take_step(arn))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99))
    def stop_an_execution(self, which: int) -> None:
        arn = self.running[which % len(self.running)]
        executions = self.stage.aws.stepfunctions.executions
        executions[arn] = replace(executions[arn], status="ABORTED")

    @property
    def running(self) -> list[str]:
        executions = self.stage.aws.stepfunctions.executions
        return [arn for arn, execution in executions.items() if execution.status == "RUNNING"]

    @precondition(lambda self: self.room())
    @rule()
    def begin_to_sweep(self) -> None:
        self.actors.start("sweep", self.stage.sweep)

    @precondition(lambda self: self.room())
    @rule(job_id=st.sampled_from(IDS))
    def ask_for_a_retry(self, job_id: str) -> None:
        self.actors.start("retry", lambda: retries.retry(self.stage.settings, OWNER, job_id))

    @precondition(lambda self: self.room())
    @rule(job_id=st.sampled_from(IDS))
    def ask_for_a_deletion(self, job_id: str) -> None:
        self.stage.aws.clock.advance(1)

        def delete() -> None:
            try:
                deletion.delete(self.stage.settings, OWNER, job_id)
            except NotFound:
                raise
            except BaseException:
                self.torn |= self.came_in_between & {job_id}
                raise

        def done() -> None:
            self.deleting[job_id] -= 1
            if not self.deleting[job_id]:
                self.came_in_between.discard(job_id)
            self.deleted_at[job_id] = self.stage.aws.clock()

        self.deleting[job_id] += 1
        self.actors.start("delete", delete, done)

    @precondition(lambda self: self.actors.at_work)
    @rule(which=st.integers(0, AT_ONCE - 1), calls=st.integers(1, 8))
    def go_on(self, which: int, calls: int) -> None:
        for actor in self.actors.at_work[which : which + 1]:
            for _ in range(calls):
                if not actor.done:
                    self.actors.step(actor)

    @precondition(lambda self: self.actors.at_work)
    @rule(which=st.integers(0, AT_ONCE - 1))
    def come_to_the_end(self, which: int) -> None:
        actor = self.actors.at_work[which % len(self.actors.at_work)]
        while not actor.done:
            self.actors.step(actor)

    @precondition(lambda self: self.actors.at_work)
    @rule(which=st.integers(0, AT_ONCE - 1))
    def die(self, which: int) -> None:
        self.actors.kill(self.actors.at_work[which % len(self.actors.at_work)])

    @precondition(lambda self: self.actors.at_work)
    @rule(which=st.integers(0, AT_ONCE - 1))
    def let_a_call_fail(self, which: int) -> None:
        actor = self.actors.at_work[which % len(self.actors.at_work)]
        actor.fails = True
        self.actors.step(actor)

    @rule(seconds=st.sampled_from([1, 40, 100, 1000]))
    def let_time_pass(self, seconds: int) -> None:
        self.stage.aws.clock.advance(seconds)

    # --- what must hold

    @invariant()
    def jobs_move_along_the_graph_and_end_once(self) -> None:
        self.graph.check()

    @invariant()
    def the_original_of_an_ended_job_is_where_the_job_says(self) -> None:
        objects = self.stage.aws.s3.buckets[self.stage.settings.bucket]
        for job in self.jobs():
            if self.deleting[job["jobId"]] or job["jobId"] in self.torn:
                continue
            if job["status"] in ended and job["key"] != job["sourceKey"]:
                assert objects[job["key"]].etag == job["etag"], job

    @invariant()
    def the_end_of_a_run_has_one_id(self) -> None:
        ids: dict[tuple[str, str], set[str]] = {}
        for request in self.stage.aws.sns.published:
            event = json.loads(request["Message"])
            ids.setdefault((event["subject"], event["id"].rpartition("-")[2]), set()).add(event["id"])
        assert all(len(found) == 1 for found in ids.values()), ids

    @property
    def queue(self) -> list[Any]:
        return self.stage.aws.sqs.queues[self.stage.settings.queue_name].messages

    def jobs(self) -> list[dict[str, Any]]:
        table = self.stage.aws.dynamodb.tables[self.stage.settings.jobs_table]
        return [items.from_item(item) for item in table.items.values()]

    def teardown(self) -> None:
        try:
            self.actors.finish()
            self.stage.aws.hook = None
            with suppress(IndexError):
                self.stage.settle()
            type(self).calls += len(self.stage.aws.made)
            self.all_has_ended()
        finally:
            for actor in list(self.actors.at_work):
                self.actors.kill(actor)
            self.stage.aws.hook = None

    def all_has_ended(self) -> None:
        self.graph.check()
        self.the_original_of_an_ended_job_is_where_the_job_says()
        self.the_end_of_a_run_has_one_id()
        objects = self.stage.aws.s3.buckets[self.stage.settings.bucket]
        assert not [key for key in objects if key.startswith(self.stage.settings.open_prefixes)]
        announced = {json.loads(request["Message"])["id"] for request in self.stage.aws.sns.published}
        by_id = {job["jobId"]: job for job in self.jobs()}
        for job in by_id.values():
            folder = f"/{job['owner']}/{job['jobId']}/"
            originals = {k: o.body for k, o in objects.items() if folder in k and "/outputs/" not in k}
            if job["status"] == Status.DELETED:
                assert job["jobId"] in self.deleted_at, "nobody asked for its deletion"
                assert not [key for key in objects if folder in key], "a deleted job has left something"
                continue
            if job["sourceKey"] == DROPPED and job["etag"] != hashlib.md5(self.latest[DROPPED]).hexdigest():
                continue  # replaced before its message went out: see docs/reliability.md
            assert job["status"] in ended, job
            assert f"{job['jobId']}-{job['status'].lower()}-{job['run']}" in announced
            if job["key"] in originals:
                content = originals[job["key"]]
                # Else one that was cut off left a copy; the steps of heavy work are tried in one attempt.
                tried_once = (job["attempts"], job["run"]) == (1, 1) and job["size"] <= 100
                assert list(originals.values()).count(content) == 1 or not tried_once, "it is in two places"
        for key, body in self.latest.items():
            self.has_not_been_lost(key, body, by_id)

    def has_not_been_lost(self, key: str, body: bytes, by_id: dict[str, Any]) -> None:
        """What was uploaded last has ended, or was deleted by its owner afterwards."""
        objects = self.stage.aws.s3.buckets[self.stage.settings.bucket]
        place = keys.parse(self.stage.settings, key)
        assert place is not None
        if place.job_id in self.torn:
            return
        if place.job_id in self.deleted_at and by_id.get(place.job_id, {}).get("status") == Status.DELETED:
            assert self.deleted_at[place.job_id] >= self.uploaded_at[key], "it was uploaded after that"
            return
        found = [
            job
            for job in by_id.values()
            if job["sourceKey"] == key and job["key"] in objects and objects[job["key"]].body == body
        ]
        assert len(found) == 1, f"{body!r} of {key}: {found}"
        assert found[0]["status"] in ended


def test_a_worker_is_led_from_call_to_call(stage: Stage) -> None:
    """Modules that load late would bring threads of their own, which nobody leads."""
    stage.aws.s3.put_object({"Bucket": stage.settings.bucket, "Key": SIGNED[0], "Body": b"{}"})
    stage.bring_objects()
    before = len(stage.aws.made)
    actors = Actors(stage.aws)

    actors.start("worker", stage.bring_messages)

    assert stage.aws.made[before:] == ["dynamodb.UpdateItem"]  # before which it stands
    (worker,) = actors.at_work
    actors.kill(worker)
    stage.aws.hook = None


def test_in_any_order_nothing_is_lost(stage: Stage, figure: Callable[[str], None]) -> None:
    class OfThisStage(World):
        pass

    OfThisStage.stage, OfThisStage.blank = stage, stage.saved()
    run_state_machine_as_test(
        OfThisStage,
        settings=hypothesis_settings(
            max_examples=EXAMPLES or 100,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
        ),
    )
    figure(f"interleavings: {OfThisStage.examples} orders of things, {OfThisStage.calls} AWS calls")
