"""Reconciliation: every line of the sweeper's table, and what must not happen to the rest."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import intake, pipeline, storage
from chalicelib.batch import BatchIncomplete
from chalicelib.jobs import Job, Status, Upload
from chalicelib.ledger import Ledger
from chalicelib.messages import Message
from chalicelib.settings import Settings
from tests.unit.flow import Flow


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


def swept(flow: Flow) -> dict[str, int]:
    """The counts of a sweep after a while; a second one right behind it must find nothing to do."""
    flow.let_pass_until_swept()
    counts = flow.sweep()
    before = snapshot(flow)
    flow.sweep()
    assert snapshot(flow) == before
    return counts


def snapshot(flow: Flow) -> Any:
    owners = ("_", "till")
    return (
        [job for owner in owners for job in flow.jobs(owner)],
        flow.objects(),
        len(flow.messages()),
        len(flow.published()),
    )


def queued_ids(flow: Flow) -> list[str]:
    return [json.loads(record["body"])["jobId"] for record in flow.messages()]


def claimed(flow: Flow, key: str) -> Job:
    job = flow.job(key)
    _, job_with_lease = flow.ledger.claim(job.owner, job.job_id, job.etag)
    assert job_with_lease is not None
    return job_with_lease


def entered(flow: Flow, body: bytes = b"{}") -> str:
    """The key of a job whose message got lost."""
    key = flow.new_key("order.json")
    flow.upload(key, body)
    flow.messages().clear()
    return key


class TestNoJob:
    @pytest.mark.parametrize("key", ["", "uploads/_/é + %.json", "incoming/till/order.json"])
    def test_an_object_whose_event_got_lost_is_entered_and_queued(self, flow: Flow, key: str) -> None:
        key = key or flow.new_key("order.json")
        flow.put(key, b"{}")
        assert swept(flow) == {"entered": 1}
        (job,) = flow.jobs("till" if "till" in key else "_")
        assert (job.status, job.key, job.size, job.sequencer) == (Status.QUEUED, key, 2, "")
        assert queued_ids(flow) == [job.job_id]
        flow.consume()
        (job,) = flow.jobs(job.owner)
        assert job.status is Status.COMPLETED
        assert list(flow.objects()) == [job.key]

    def test_the_time_of_the_upload_is_the_objects(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.put(key, b"{}")
        swept(flow)
        modified = flow.s3.head_object(Bucket=flow.settings.bucket, Key=key)["LastModified"]
        assert flow.job(key).uploaded_at[:19] == modified.strftime("%Y-%m-%dT%H:%M:%S")

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.PROCESSING, Status.COMPLETED])
    def test_other_content_than_the_jobs_is_its_next_run(self, flow: Flow, status: Status) -> None:
        key = entered(flow)
        if status is Status.PROCESSING:
            claimed(flow, key)
        elif status is Status.COMPLETED:
            flow.upload(key, b"{}")
            flow.consume()
        run = flow.job(key).run
        flow.put(key, b"[]")
        assert swept(flow) == {"entered": 1}
        assert (flow.job(key).status, flow.job(key).run) == (Status.QUEUED, run + 1)
        flow.consume()
        assert flow.job(key).status is Status.COMPLETED
        assert flow.content(flow.job(key).key) == b"[]"

    def test_the_late_event_of_what_was_entered_changes_nothing(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        event = flow.put(key, b"{}")
        swept(flow)
        before = flow.job(key)
        flow.intake(event)
        assert flow.job(key) == before

    def test_the_late_event_of_what_lay_there_before_undoes_nothing(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        late = flow.put(key, b"[]")
        flow.clock.advance(60)
        flow.put(key, b"{}")
        swept(flow)
        flow.consume()
        before = flow.job(key)
        assert before.status is Status.COMPLETED
        flow.intake(late)
        assert flow.job(key) == before
        assert flow.messages() == []

    @pytest.mark.parametrize("fate", ["replaced", "removed"])
    def test_what_has_gone_since_it_was_listed_is_not_entered(self, flow: Flow, fate: str) -> None:
        key = entered(flow, b"[1]")
        flow.put(key, b"{}")

        def meanwhile() -> None:
            if fate == "removed":
                flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
            else:
                flow.upload(key, b'{"newest": true}')

        flow.calls.meanwhile("after", "ListObjectsV2", meanwhile)
        flow.let_pass_until_swept()
        assert flow.sweep() == {"replaced": 1}
        assert (flow.job(key).run, flow.job(key).size) == ((2, 16) if fate == "replaced" else (1, 3))


class TestQueued:
    def test_a_job_whose_message_got_lost_is_queued_again(self, flow: Flow) -> None:
        key = entered(flow)
        before = flow.job(key)
        assert swept(flow) == {"queued_again": 1}
        assert queued_ids(flow) == [before.job_id]
        assert flow.job(key) == replace(before, updated_at=flow.job(key).updated_at)
        flow.consume()
        assert flow.job(key).status is Status.COMPLETED

    def test_once_in_a_period_is_enough(self, flow: Flow) -> None:
        entered(flow)
        swept(flow)
        flow.clock.advance(flow.settings.sweep_after_seconds - 1)
        assert flow.sweep() == {"waiting": 1}
        flow.clock.advance(2)
        assert flow.sweep() == {"queued_again": 1}
        assert len(flow.messages()) == 2

    def test_two_sweeps_at_once_queue_it_once(self, flow: Flow) -> None:
        key = entered(flow)
        flow.let_pass_until_swept()
        seen = flow.job(key)

        def other_sweep() -> None:
            flow.clock.advance(1)
            assert flow.ledger.touch(seen)

        flow.calls.meanwhile("before", "UpdateItem", other_sweep)
        assert flow.sweep() == {"waiting": 1}
        assert flow.messages() == []

    def test_a_purged_queue_is_rebuilt(self, flow: Flow) -> None:
        keys = [entered(flow) for _ in range(12)]
        assert swept(flow) == {"queued_again": 12}
        while flow.messages():
            flow.consume(list(flow.messages())[:10])
        assert {flow.job(key).status for key in keys} == {Status.COMPLETED}
        assert len(flow.published()) == 12


class TestProcessing:
    def test_work_under_a_running_lease_is_left_alone(self, flow: Flow) -> None:
        flow.settings = replace(flow.settings, lease_seconds=7200, sweep_after_seconds=60)
        key = entered(flow)
        job = claimed(flow, key)
        flow.clock.advance(7000)
        assert flow.sweep() == {"in_work": 1}
        assert flow.job(key) == job
        assert flow.messages() == []

    def test_a_lease_that_has_just_run_out_is_left_to_its_message(self, flow: Flow) -> None:
        key = entered(flow)
        flow.clock.advance(flow.settings.sweep_after_seconds)
        job = claimed(flow, key)
        flow.clock.advance(flow.settings.lease_seconds + 1)
        assert flow.sweep() == {"waiting": 1}
        assert flow.job(key) == job

    def test_a_lost_workers_job_is_queued_again(self, flow: Flow) -> None:
        key = entered(flow)
        claimed(flow, key)
        assert swept(flow) == {"queued_again": 1}
        flow.consume()
        assert (flow.job(key).status, flow.job(key).attempts) == (Status.COMPLETED, 2)

    def test_a_worker_lost_on_the_last_attempt_ends_the_job(self, flow: Flow) -> None:
        """By way of the queue: a move may take long, and the sweep has more to look after."""
        key = entered(flow)
        for _ in range(flow.settings.max_attempts):
            claimed(flow, key)
            flow.clock.advance(flow.settings.lease_seconds + 1)
        assert swept(flow) == {"queued_again": 1}
        assert "CopyObject" not in flow.calls.made
        flow.consume()
        job = flow.job(key)
        assert job.status is Status.FAILED
        assert job.error is not None
        assert job.error["code"] == "worker_lost"
        assert flow.objects() == {storage.final_key("failed/", job): b"{}"}
        assert flow.published_ids() == [flow.event_id(job)]
        assert flow.messages() == []

    def test_before_the_last_attempt_it_does_not_end(self, flow: Flow) -> None:
        key = entered(flow)
        for _ in range(flow.settings.max_attempts - 1):
            claimed(flow, key)
            flow.clock.advance(flow.settings.lease_seconds + 1)
        assert swept(flow) == {"queued_again": 1}
        assert flow.job(key).status is Status.PROCESSING


class TestEnded:
    @pytest.mark.parametrize("body", [b"{}", b"{"], ids=["completed", "rejected"])
    def test_what_a_crash_left_behind_is_announced_and_deleted(self, flow: Flow, body: bytes) -> None:
        key = flow.new_key("order.json")
        flow.upload(key, body)
        flow.calls.fail_next("Publish")
        with pytest.raises(BatchIncomplete):
            flow.consume()
        flow.messages().clear()
        before = flow.job(key)
        assert before.status.ended
        assert flow.published() == []
        assert swept(flow) == {"closed": 1}
        assert flow.job(key) == before
        assert list(flow.objects()) == [before.key]
        assert flow.published_ids() == [flow.event_id(before)]

    def test_the_same_content_uploaded_after_the_end_is_the_next_run(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.run(key, b"{}")
        flow.clock.advance(2)
        flow.put(key, b"{}")
        assert swept(flow) == {"opened_again": 1}
        assert (flow.job(key).status, flow.job(key).run) == (Status.QUEUED, 2)
        assert queued_ids(flow) == [flow.job(key).job_id]
        flow.consume()
        assert flow.job(key).status is Status.COMPLETED
        assert list(flow.objects()) == [flow.job(key).key]

    def test_a_job_that_ended_without_its_file_is_opened_again_when_it_is_there(self, flow: Flow) -> None:
        key = entered(flow)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)
        flow.clock.advance(5)
        job = flow.job(key)
        pipeline.run(flow.settings, Message(job.owner, job.job_id, job.etag))
        assert flow.job(key).status is Status.FAILED
        # Its time lies before the failure, as it may within one second: S3 lists whole seconds.
        flow.put(key, b"{}")
        assert swept(flow) == {"opened_again": 1}
        flow.consume()
        assert (flow.job(key).status, flow.job(key).run) == (Status.COMPLETED, 2)

    def test_a_job_that_was_opened_meanwhile_is_left_alone(self, flow: Flow) -> None:
        key = flow.new_key("order.json")
        flow.run(key, b"{}")
        flow.clock.advance(2)
        event = flow.put(key, b"{}")
        flow.let_pass_until_swept()
        flow.calls.meanwhile("after", "GetItem", lambda: flow.intake(event))
        assert flow.sweep() == {"waiting": 1}
        assert flow.job(key).run == 2
        assert len(flow.messages()) == 1


class TestWhatIsPassedOver:
    def test_what_came_a_moment_ago_has_its_event_on_the_way(self, flow: Flow) -> None:
        flow.put(flow.new_key("order.json"), b"{}")
        flow.clock.advance(flow.settings.sweep_after_seconds - 5)
        assert flow.sweep() == {"recent": 1}
        assert set(flow.calls.made) == {"ListObjectsV2"}

    @pytest.mark.parametrize("key", ["uploads/", "uploads/alice/", "incoming/till/"])
    def test_folder_markers_are_no_work(self, flow: Flow, key: str) -> None:
        flow.put(key, b"")
        assert swept(flow) == {"no_work": 1}
        assert list(flow.objects()) == [key]

    @pytest.mark.parametrize("key", ["processed/_/x.json", "failed/x.json", "elsewhere/x.json", "x.json"])
    def test_only_the_open_prefixes_are_looked_at(self, flow: Flow, key: str) -> None:
        flow.put(key, b"{}")
        assert swept(flow) == {}

    def test_an_empty_bucket_is_no_work(self, flow: Flow) -> None:
        assert swept(flow) == {}


def countdown(*seconds: float) -> Any:
    left: Iterator[float] = iter(seconds)
    return lambda: next(left)


class TestManyObjects:
    @pytest.fixture(autouse=True)
    def _two_a_page(self, flow: Flow) -> None:
        flow.list_in_pages_of(2)

    def test_every_page_of_every_open_prefix_is_gone_through(self, flow: Flow) -> None:
        for n in range(5):
            flow.put(flow.new_key(f"{n}.json"), b"{}")
            flow.put(f"incoming/till/{n}.json", b"{}")
        assert swept(flow) == {"entered": 10}
        assert len(flow.jobs()) == len(flow.jobs("till")) == 5
        assert len(flow.messages()) == 10

    def test_when_time_runs_short_the_rest_is_the_next_sweeps(self, flow: Flow) -> None:
        for n in range(6):
            flow.put(flow.new_key(f"{n}.json"), b"{}")
        flow.let_pass_until_swept()
        assert flow.sweep(countdown(50, 11, 9)) == {"entered": 4, "out_of_time": 1}
        assert len(flow.jobs()) == 4
        counts = flow.sweep()
        assert counts == {"waiting": 4, "entered": 2}
        assert len(flow.jobs()) == 6

    def test_without_any_time_nothing_is_begun(self, flow: Flow) -> None:
        flow.put(flow.new_key("order.json"), b"{}")
        flow.let_pass_until_swept()
        assert flow.sweep(countdown(1)) == {"out_of_time": 1}
        assert flow.jobs() == []

    def test_one_object_that_cannot_be_dealt_with_stops_no_other(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = [flow.new_key(f"{n}.json") for n in range(5)]
        for key in keys:
            flow.put(key, b"{}")
        real = intake.enter

        def enter(settings: Settings, ledger: Ledger, upload: Upload) -> Job:
            if upload.key == keys[2]:
                raise OSError("broken")
            return real(settings, ledger, upload)

        flow.let_pass_until_swept()
        with monkeypatch.context() as broken:
            broken.setattr(intake, "enter", enter)
            assert flow.sweep() == {"entered": 4, "failed": 1}
        assert flow.sweep() == {"waiting": 4, "entered": 1}
        assert len(flow.jobs()) == 5

    @pytest.mark.parametrize("operation", ["GetItem", "HeadObject", "PutItem", "SendMessageBatch"])
    def test_a_call_that_fails_is_made_again_by_the_next_sweep(self, flow: Flow, operation: str) -> None:
        for n in range(3):
            flow.put(flow.new_key(f"{n}.json"), b"{}")
        flow.calls.fail_next(operation)
        flow.let_pass_until_swept()
        assert flow.sweep() == {"entered": 2, "failed": 1}
        flow.let_pass_until_swept()
        flow.sweep()
        assert len(flow.jobs()) == 3
        assert len(set(queued_ids(flow))) == 3


def test_a_listing_that_fails_is_an_error_of_the_sweep(flow: Flow) -> None:
    flow.calls.fail_next("ListObjectsV2")
    with pytest.raises(Exception, match="InternalError"):
        flow.sweep()


def test_every_event_and_message_dropped_everything_still_ends(flow: Flow) -> None:
    bodies = {"order.json": b'{"id": "a"}', "broken.json": b"{", "notes.txt": b"text", "x.bin": b"\x00\x01"}
    keys = [flow.new_key(name) for name in bodies]
    for key, body in zip(keys, bodies.values(), strict=True):
        flow.put(key, body)
    flow.put("incoming/till/drop.json", b'{"id": "b"}')
    flow.let_pass_until_swept()
    flow.sweep()
    flow.messages().clear()
    flow.let_pass_until_swept()
    flow.sweep()
    flow.consume()
    ended = [flow.job(key) for key in keys] + flow.jobs("till")
    assert [job.status for job in ended] == [
        Status.COMPLETED,
        Status.REJECTED,
        Status.COMPLETED,
        Status.COMPLETED,
        Status.COMPLETED,
    ]
    assert sorted(flow.published_ids()) == sorted(map(flow.event_id, ended))
    assert flow.objects("uploads/") == flow.objects("incoming/") == {}
