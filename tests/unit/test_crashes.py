"""The crash sweep and the fault sweep: whatever becomes of an AWS call, all ends as if nothing had been.

Each scenario sends work to one handler of app.py, again and again: the first time its first AWS call is
spoilt, then its second, and so on until it gets through. The process dies before the call or behind it, or
the call fails, in all the ways of `fake.aws.SPOILERS`, or the SDK sends it twice. Then AWS does what it does,
and in the end the bucket, the tables, the queues, and what was announced must be what an undisturbed run
leaves.

Nobody lists the calls: they are those that the undisturbed run makes. A handler that no scenario is about
fails a test.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from s3transfer import manager
from s3transfer.futures import NonThreadedExecutor

from chalicelib import items, storage
from chalicelib.settings import Settings
from ops.policies import GRANTS, Resources
from tests.unit.conftest import ACCOUNT, make_resources
from tests.unit.fake.aws import SPOILERS, Killed
from tests.unit.fake.graph import Graph
from tests.unit.fake.leave import Leave
from tests.unit.fake.stage import Stage, running
from tests.unit.scenarios import HEAVY, SCENARIOS, Scenario

HOW = [*SPOILERS, "sent twice"]
DEATHS = [how for how, (_, error) in SPOILERS.items() if error is None]

VOLATILE = frozenset(
    {
        *("lease", "leaseUntil", "attempts", "sequencer", "version"),
        *("uploadedAt", "createdAt", "startedAt", "updatedAt", "finishedAt", "expiresAt"),
        *("webhookId", "secrets", "previousUntil"),
        *("attemptId", "at", "attempt", "durationMs", "nextAttemptAt"),
        "error",  # which has a part of `state` of its own
    }
)
"""Attributes of any table that a second try may leave different, and nobody would mind."""

State = dict[str, Any]
swept_calls: Counter[str] = Counter()
needed: dict[str, set[Leave]] = {}
"""Function to whatever it has needed leave for, in all of its runs."""

SHOWN_ELSEWHERE = {
    *("sqs:ReceiveMessage", "sqs:GetQueueAttributes"),  # by the queue's mapping, in the consumer's name
    *("s3:GetObjectTagging", "s3:PutObjectTagging"),  # of what a scanner has tagged
    *("s3:AbortMultipartUpload", "s3:ListBucket"),  # a large copy that fails; 404 instead of 403
}
"""Not every function that may do these has a scenario for it."""


class InThisThread(manager.TransferManager):
    def __init__(self, client: Any, config: Any) -> None:
        super().__init__(client, config, executor_cls=NonThreadedExecutor)

    def __exit__(self, kind: Any, error: Any, /, *trace: Any) -> None:
        if kind is not Killed:  # who is dead waits for nothing
            super().__exit__(kind, error, *trace)


@pytest.fixture
def stage(
    request: pytest.FixtureRequest, env: dict[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setattr(manager, "TransferManager", InThisThread)
    if more := wanted_of(request):
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        settings = Settings.from_env({**env, **more})
    with running(settings, monkeypatch, make_resources, ACCOUNT) as stage:
        yield stage


def wanted_of(request: pytest.FixtureRequest) -> Mapping[str, str]:
    scenario = getattr(request.node, "callspec", None) and request.node.callspec.params.get("scenario")
    return scenario.env if scenario else {}


def test_every_handler_has_a_scenario(stage: Stage) -> None:
    assert stage.handlers == {scenario.handler for scenario in SCENARIOS}


@pytest.mark.parametrize(
    ("scenario", "reports"),
    [
        pytest.param(scenario, reports, id=f"{scenario.handler}: {scenario.name}{', reported' * reports}")
        for scenario in SCENARIOS
        for reports in (False, True)[: 1 + (scenario.handler == "consume" and not scenario.env)]
    ],
)
def test_whatever_becomes_of_a_call_all_ends_as_if_nothing_had_been(
    stage: Stage, scenario: Scenario, reports: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scenario.large:
        monkeypatch.setattr(storage, "WHOLE_COPY", 10)
        monkeypatch.setattr(storage, "COPY_PART", 10)
    stage.reports_failures = reports
    graph = Graph(stage.aws, stage.settings.jobs_table)
    act = scenario.prepare(stage)
    arranged = stage.saved()
    undone, _ = settled(stage, graph, arranged, lambda _: None, lost=True)
    done, calls = settled(stage, graph, arranged, act)
    check(stage, scenario)

    requested = scenario.handler in stage.views
    ways = [(how, True, False) for how in HOW]
    if requested:  # the caller need not ask again
        ways += [(how, False, scenario.lossless) for how in DEATHS]
    elif scenario.lossless and not reports:  # what the mapping makes of an answer counts for messages alone
        ways += [(how, False, True) for how in DEATHS]
    for how, again, lost in ways:
        for number in range(len(calls)):
            try:
                end, _ = settled(stage, graph, arranged, act, (number, how), again=again, lost=lost)
                ignored = scenario.leaves | (set() if again else {"queues"})
                assert_as(end, [done, undone] if requested and not again else [done], ignored)
            except (AssertionError, LookupError) as error:
                error.add_note(f"{how}, {again=}, {lost=}: call {number} of {calls}")
                raise
    for caller, leave in stage.aws.leave.items():
        needed.setdefault(caller, set()).update(leave)
    swept_calls["calls"] += len(calls)
    swept_calls["runs"] += len(calls) * len(ways)


def test_so_much_was_swept(figure: Callable[[str], None]) -> None:
    figure(
        f"crash and fault sweeps: {swept_calls['calls']} AWS calls of {len(SCENARIOS)} scenarios, "
        f"each spoilt in up to {len(HOW) + len(DEATHS)} ways: {swept_calls['runs']} runs"
    )


def test_each_function_needs_what_its_policy_allows_and_nothing_else(settings: Settings) -> None:
    """Of the scenarios above, all of which have to have run.

    That each place is needed where an action has several, the tests of `tests/stack` show (`proof.py`).
    """
    resources = resources_of(settings)
    for function, grants in GRANTS.items():
        allowed = {
            (f"{place.service}:{action}", place.value[1].format(r=resources))
            for grant in grants
            for action in grant.actions.split()
            for place in grant.places
        }
        assert needed[function] - allowed == set(), f"{function} may not do what it does"
        unused = {action for action, _ in allowed} - {action for action, _ in needed[function]}
        assert unused - SHOWN_ELSEWHERE == set(), f"{function} need not do that"


def resources_of(settings: Settings) -> Resources:
    url = settings.deliveries_queue_url
    return Resources.from_outputs(
        "test",
        {
            "BucketName": settings.bucket,
            "JobsTable": settings.jobs_table,
            "EventsTable": settings.events_table,
            "WebhooksTable": settings.webhooks_table,
            "DeliveriesTable": settings.deliveries_table,
            "QueueUrl": settings.queue_url,
            "DeliveriesQueueUrl": url,
            "DeliveriesDeadLetterQueueUrl": f"{url}-dead",
            "FailedEventsQueueUrl": f"{url}-failed",
            "TopicArn": settings.topic_arn,
            "StateMachineArn": HEAVY["STATE_MACHINE_ARN"],
        },
    )


def settled(
    stage: Stage,
    graph: Graph,
    arranged: Any,
    act: Callable[[Stage], object],
    spoil: tuple[int, str] | None = None,
    *,
    again: bool = False,
    lost: bool = False,
) -> tuple[State, tuple[str, ...]]:
    """The state in the end, and the calls that were made in the act itself."""
    stage.restore(arranged)
    graph.start()
    if spoil:
        stage.aws.spoil(*spoil)
    attempt(stage, act)
    calls = tuple(stage.aws.made)
    assert stage.aws.spoilt, "the call was not made this time"
    stage.aws.revive()
    if lost:
        stage.lose_everything()
    if again:
        attempt(stage, act)
    stage.settle()
    graph.check()
    return state(stage), calls


def attempt(stage: Stage, act: Callable[[Stage], object]) -> None:
    try:
        act(stage)
    except AssertionError:
        raise
    except (Exception, Killed):
        pass


def state(stage: Stage) -> State:
    """All that anybody can see, but for times and the like."""
    bucket, aws = stage.settings.bucket, stage.aws
    return {
        "objects": {
            key: (found.body, found.content_type, sorted(found.metadata.items()))
            for key, found in aws.s3.buckets[bucket].items()
        },
        "parts": {upload.key for upload in aws.s3.uploads.values()},
        "tables": {
            name: {stable(row) for row in table.items.values()}
            for name, table in aws.dynamodb.tables.items()
            if name != stage.settings.deliveries_table
        },
        "log": {stable(row) for row in aws.dynamodb.tables[stage.settings.deliveries_table].items.values()},
        "errors": {
            row["jobId"]["S"]: row["error"]["M"]["code"]["S"]
            for row in aws.dynamodb.tables[stage.settings.jobs_table].items.values()
            if "error" in row
        },
        "queues": {
            name: {message.body for message in queue.messages} for name, queue in aws.sqs.queues.items()
        },
        "published": {json.loads(request["Message"])["id"] for request in aws.sns.published},
        "posted": set(stage.posted),
    }


def stable(row: Any) -> str:
    return json.dumps(without_volatile(row), sort_keys=True, default=str)


def without_volatile(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: without_volatile(inner) for name, inner in value.items() if name not in VOLATILE}


def assert_as(end: State, allowed: list[State], leaves: frozenset[str]) -> None:
    told = [{part: value for part, value in one.items() if part not in leaves} for one in [end, *allowed]]
    if not any(told[0] == one for one in told[1:]):
        assert told[0] == told[1]


def check(stage: Stage, scenario: Scenario) -> None:
    """The undisturbed run itself: what it is about has ended as it must."""
    table = stage.aws.dynamodb.tables[stage.settings.jobs_table]
    jobs = [items.from_item(row) for row in table.items.values()]
    assert " ".join(sorted({job["status"] for job in jobs})) == scenario.status
    objects = stage.aws.s3.buckets[stage.settings.bucket]
    assert not [key for key in objects if key.startswith(stage.settings.open_prefixes)]
    for job in jobs:
        if job["status"] == "DELETED":
            assert not [key for key in objects if f"/{job['owner']}/{job['jobId']}/" in key]
        else:
            assert job.get("error") or job["key"] in objects
    letters = stage.aws.sqs.queues[f"{stage.settings.deliveries_queue_name}-dead"].messages
    assert len(letters) == scenario.buried
    ids = [json.loads(request["Message"])["id"] for request in stage.aws.sns.published]
    for job in jobs:
        if job["status"] != "DELETED":
            assert f"{job['jobId']}-{job['status'].lower()}-{job['run']}" in ids
