"""A batch of messages: each has a fate of its own, whatever the event source mapping does with failures."""

import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib import consumer, pipeline, sandbox
from chalicelib.batch import BatchIncomplete
from chalicelib.jobs import Job, Status
from chalicelib.processors import REGISTRY, Result, Source
from chalicelib.settings import GiB, MiB, Settings
from tests.unit.flow import Flow


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The content of every text file that a processor has got; those that say "bad" fail."""
    contents: list[str] = []

    def process(source: Source) -> Result:
        contents.append(source.read().decode())
        if source.read().startswith(b"bad"):
            raise OSError("disk full")
        return Result()

    monkeypatch.setitem(REGISTRY, "text", process)
    return contents


def arrived(flow: Flow, *contents: str) -> list[str]:
    """Uploads, one after the other; their keys."""
    keys = [flow.new_key("notes.txt") for _ in contents]
    for key, content in zip(keys, contents, strict=True):
        flow.upload(key, content.encode())
    return keys


def statuses(flow: Flow, keys: list[str]) -> list[Status]:
    return [flow.job(key).status for key in keys]


def delays(flow: Flow) -> dict[str, int]:
    """Receipt handle to seconds, as the queue was asked to bring messages again."""
    return {
        entry["ReceiptHandle"]: entry["VisibilityTimeout"]
        for operation, request in flow.calls.requests
        if operation == "ChangeMessageVisibilityBatch"
        for entry in request["Entries"]
    }


def job_of(record: dict[str, Any]) -> str:
    return str(json.loads(record["body"])["jobId"])


class TestNoneFails:
    def test_the_mapping_deletes_the_batch_and_nobody_else(self, flow: Flow, seen: list[str]) -> None:
        keys = arrived(flow, *(f"good {n}" for n in range(10)))
        flow.consume()
        assert statuses(flow, keys) == [Status.COMPLETED] * 10
        assert len(seen) == 10
        assert flow.calls.count("DeleteMessageBatch") == 0
        assert flow.calls.count("ChangeMessageVisibilityBatch") == 0

    def test_a_rejected_file_is_no_failure_of_the_batch(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, b"{")
        flow.consume()
        assert flow.job(key).status is Status.REJECTED

    def test_nothing_is_returned_that_a_mapping_could_take_for_failures(self, flow: Flow) -> None:
        arrived(flow, "good")
        answer: Any = consumer.consume
        assert answer(flow.settings, {"Records": flow.messages()}) is None

    def test_the_records_run_side_by_side(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        meeting = threading.Barrier(10, timeout=20)

        def process(_: Source) -> Result:
            meeting.wait()  # nobody gets on before all ten are here
            return Result()

        monkeypatch.setitem(REGISTRY, "text", process)
        keys = arrived(flow, *"0123456789")
        flow.consume()
        assert statuses(flow, keys) == [Status.COMPLETED] * 10


class TestSomeFail:
    def test_eight_are_done_for_good_and_two_come_again(self, flow: Flow, seen: list[str]) -> None:
        contents = [f"{'bad' if n in (3, 7) else 'good'} {n}" for n in range(10)]
        keys = arrived(flow, *contents)
        batch = list(flow.messages())
        bad_ids = {flow.job(keys[n]).job_id for n in (3, 7)}
        with pytest.raises(BatchIncomplete, match="2 of 10"):
            flow.consume()
        assert statuses(flow, keys).count(Status.COMPLETED) == 8
        assert {job_of(record) for record in flow.messages()} == bad_ids
        assert set(delays(flow)) == {r["receiptHandle"] for r in batch if job_of(r) in bad_ids}
        seen.clear()
        with pytest.raises(BatchIncomplete, match="2 of 2"):
            flow.consume()
        assert sorted(seen) == ["bad 3", "bad 7"]
        assert len(flow.published_ids()) == 8

    def test_the_deleted_ones_are_deleted_on_the_queue_too(self, flow: Flow, seen: list[str]) -> None:
        arrived(flow, "good 1", "bad 2", "good 3")
        with pytest.raises(BatchIncomplete):
            flow.consume()
        assert len(seen) == 3
        assert flow.queue_size() == 1

    def test_all_ten_come_again(self, flow: Flow, seen: list[str]) -> None:
        keys = arrived(flow, *(f"bad {n}" for n in range(10)))
        with pytest.raises(BatchIncomplete, match="10 of 10"):
            flow.consume()
        assert statuses(flow, keys) == [Status.PROCESSING] * 10
        assert len(seen) == 10
        assert len(delays(flow)) == 10
        assert flow.calls.count("DeleteMessageBatch") == 0
        assert flow.queue_size() == 10

    def test_failures_that_pass_are_done_in_the_end(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = arrived(flow, *(f"bad {n}" for n in range(3)))
        with monkeypatch.context() as broken:
            broken.setitem(REGISTRY, "text", failing)
            with pytest.raises(BatchIncomplete):
                flow.consume()
        flow.consume()
        assert statuses(flow, keys) == [Status.COMPLETED] * 3
        assert flow.messages() == []

    def test_failures_that_stay_end_failed_and_leave_the_queue(self, flow: Flow, seen: list[str]) -> None:
        flow.settings = replace(flow.settings, max_attempts=3)
        keys = arrived(flow, "bad 1", "good 2")
        for _ in range(2):
            with pytest.raises(BatchIncomplete):
                flow.consume()
        flow.consume()
        assert statuses(flow, keys) == [Status.FAILED, Status.COMPLETED]
        assert seen.count("bad 1") == 3
        assert flow.messages() == []
        assert flow.queue_size() == 0


def failing(_: Source) -> Result:
    raise OSError("disk full")


class TestBackOff:
    @pytest.mark.parametrize(("attempts", "low", "high"), [(1, 1, 3), (2, 2, 6), (3, 4, 12), (4, 8, 24)])
    def test_it_grows_with_the_attempts(
        self, flow: Flow, seen: list[str], attempts: int, low: int, high: int
    ) -> None:
        arrived(flow, "bad")
        for _ in range(attempts):
            with pytest.raises(BatchIncomplete):
                flow.consume()
        (last,) = [r for name, r in flow.calls.requests if name == "ChangeMessageVisibilityBatch"][-1:]
        assert low <= last["Entries"][0]["VisibilityTimeout"] <= high
        assert len(seen) == attempts

    def test_it_is_spread_so_that_what_failed_together_comes_back_apart(self) -> None:
        waits = {consumer._spread(60) for _ in range(200)}
        assert len(waits) > 20
        assert min(waits) >= 30
        assert max(waits) <= 90
        assert consumer._spread(1) >= 1

    def test_a_job_in_other_hands_is_looked_at_when_their_lease_may_have_run_out(self, flow: Flow) -> None:
        (key,) = arrived(flow, "good")
        job = flow.job(key)
        flow.ledger.claim(job.owner, job.job_id, job.etag)
        with pytest.raises(BatchIncomplete):
            flow.consume()
        (delay,) = delays(flow).values()
        assert flow.settings.lease_seconds / 2 <= delay <= flow.settings.lease_seconds * 1.5 + 2

    def test_what_nobody_expected_waits_longer_than_a_moment(self, flow: Flow) -> None:
        arrived(flow, "good")
        flow.calls.fail(0, "throttled")  # the claim itself
        with pytest.raises(BatchIncomplete):
            flow.consume()
        (delay,) = delays(flow).values()
        assert consumer.UNEXPECTED / 2 <= delay <= consumer.UNEXPECTED * 1.5


class TestPoison:
    @pytest.mark.parametrize("body", ["not json", '{"v": 2}', "{}", "[" * 100_000], ids=lambda b: b[:10])
    def test_it_goes_the_short_way_and_its_neighbours_are_unaffected(
        self, flow: Flow, seen: list[str], body: str
    ) -> None:
        keys = arrived(flow, "good 1", "good 2")
        flow.send(body)
        with pytest.raises(BatchIncomplete, match="1 of 3"):
            flow.consume()
        assert statuses(flow, keys) == [Status.COMPLETED] * 2
        (left,) = flow.messages()
        assert left["body"] == body
        assert delays(flow) == {left["receiptHandle"]: 1}
        assert len(seen) == 2


class TestTime:
    """Files begin only while there is time for them to end, and for what comes behind that."""

    @pytest.fixture
    def begin_by(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        moments: list[float] = []
        monkeypatch.setattr(pipeline, "run", lambda _settings, _message, begin_by: moments.append(begin_by))
        monkeypatch.setattr(consumer, "time", SimpleNamespace(monotonic=lambda: 1000.0))
        arrived(flow, "a", "b")
        return moments

    @pytest.mark.parametrize(("left", "expected"), [(60.0, 35.0), (31.0, 6.0), (20.0, 5.0), (0.0, 5.0)])
    def test_it_is_what_the_function_has_left_but_for_the_longest_file(
        self, flow: Flow, begin_by: list[float], left: float, expected: float
    ) -> None:
        assert flow.settings.decode_seconds == 10
        consumer.consume(flow.settings, {"Records": flow.messages()}, lambda: left)
        assert begin_by == [1000.0 + expected] * 2

    def test_without_a_function_around_there_is_no_end_of_it(self, flow: Flow, begin_by: list[float]) -> None:
        flow.consume()
        assert begin_by == [math.inf] * 2

    def test_files_may_begin_for_as_long_as_one_takes_at_least(self) -> None:
        """What the function has by its configuration: two rounds of files that hang, and the rest."""
        config = json.loads((Path(__file__).parents[2] / ".chalice" / "config.json").read_text())
        timeout = config["lambda_functions"]["consume"]["lambda_timeout"]
        assert timeout >= 2 * sandbox.wall_seconds(10) + consumer.MARGIN

    def test_children_and_their_parent_fit_into_the_function(self) -> None:
        """On Lambda there are two processors up to 3,008 MB; a quarter of a child's address space is code."""
        config = json.loads((Path(__file__).parents[2] / ".chalice" / "config.json").read_text())
        megabytes = config["lambda_functions"]["consume"]["lambda_memory_size"]
        assert megabytes <= 3008
        assert megabytes * MiB >= 2 * GiB + 512 * MiB


class TestDuplicates:
    def test_two_messages_of_one_job_end_it_once(self, flow: Flow, seen: list[str]) -> None:
        (key,) = arrived(flow, "good")
        flow.send(flow.messages()[0]["body"])
        while flow.messages():
            try:
                flow.consume()
            except BatchIncomplete:
                flow.clock.advance(flow.settings.lease_seconds + 1)
        assert flow.job(key).status is Status.COMPLETED
        assert seen == ["good"]
        assert flow.calls.endings == [(flow.job(key).job_id, "COMPLETED")]
        assert len(set(flow.published_ids())) == 1


class TestTheQueueDoesNotAnswer:
    @pytest.mark.parametrize("operation", ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
    def test_the_handler_still_raises_and_nothing_is_lost(
        self, flow: Flow, seen: list[str], operation: str
    ) -> None:
        keys = arrived(flow, "good 1", "bad 2")
        flow.calls.fail_next(operation)
        with pytest.raises(Exception, match="InternalError"):
            flow.consume()
        assert statuses(flow, keys) == [Status.COMPLETED, Status.PROCESSING]
        done: Job = flow.job(keys[0])
        with pytest.raises(BatchIncomplete):
            flow.consume()
        assert flow.job(keys[0]) == done
        assert seen.count("good 1") == 1
        assert len(set(flow.published_ids())) == 1
