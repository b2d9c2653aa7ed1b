"""Another go at a failed job: one run, whichever of request and event is first, wherever it is cut off."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import pytest

from chalicelib import deletion, keys, pipeline, retries, storage
from chalicelib.errors import Conflict, NotFound, StillEnding
from chalicelib.jobs import Job, Status
from chalicelib.settings import MiB, Settings
from tests.unit.flow import Flow, Killed, When
from tests.unit.test_deletion import consume_each, job_id_of, settle

BODY = b"some text"


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    made = Flow(replace(aws, max_attempts=1), monkeypatch)
    monkeypatch.setattr(deletion, "CHECK_AFTER", 0)
    for module in (deletion, retries):
        monkeypatch.setattr(module, "open_ledger", made._open_ledger)
    return made


@contextmanager
def failing() -> Iterator[None]:
    def fail(*_: Any) -> Any:
        raise OSError("no space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "process", fail)
        yield


def failed(flow: Flow, body: bytes = BODY) -> str:
    """The key that a failed job came in by."""
    key = flow.new_key("notes.txt")
    with failing():
        job = flow.run(key, body)
    assert (job.status, job.run) == (Status.FAILED, 1)
    assert list(flow.objects()) == [job.key]
    flow.clock.advance(2)
    return key


def retry(flow: Flow, key: str) -> Job:
    return retries.retry(flow.settings, keys.NOBODY, job_id_of(flow, key))


def event_of_the_copy(flow: Flow, key: str) -> dict[str, Any]:
    """What S3 tells of the copy, where there is one."""
    found = flow.s3.list_objects_v2(Bucket=flow.settings.bucket, Prefix=key).get("Contents", [])
    events = [flow.event_of(key, entry["ETag"].strip('"'), entry["Size"]) for entry in found]
    return events[0] if events else {"Records": []}


def assert_run_twice(flow: Flow, key: str) -> None:
    job = flow.job(key)
    assert (job.status, job.run) == (Status.COMPLETED, 2)
    assert flow.objects() == {job.key: BODY, job.outputs[0]["key"]: BODY}
    assert set(flow.published_ids(job.job_id)) == {f"{job.job_id}-failed-1", f"{job.job_id}-completed-2"}


@pytest.mark.parametrize("event", ["lost", "before the work", "after the work"])
def test_the_request_and_the_event_are_one_run(flow: Flow, event: str) -> None:
    key = failed(flow)

    job = retry(flow, key)

    assert (job.status, job.run, job.attempts) == (Status.QUEUED, 2, 0)
    told = event_of_the_copy(flow, key)
    if event == "before the work":
        flow.intake(told)
    consume_each(flow)
    if event == "after the work":
        flow.intake(told, told)
    settle(flow)
    assert_run_twice(flow, key)


def test_what_was_attached_to_the_file_is_still_there(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    with failing():
        assert flow.run(key, BODY, Metadata={"order": "7"}).declared == {"order": "7"}
    flow.clock.advance(2)

    assert retry(flow, key).declared == {}
    settle(flow)

    job = flow.job(key)
    assert (job.status, job.declared) == (Status.COMPLETED, {"order": "7"})


def test_the_event_may_be_faster_than_the_request(flow: Flow) -> None:
    key = failed(flow)
    flow.calls.meanwhile("after", "CopyObject", lambda: flow.intake(event_of_the_copy(flow, key)))

    job = retry(flow, key)

    assert (job.status, job.run) == (Status.QUEUED, 2)
    settle(flow)
    assert_run_twice(flow, key)


def test_the_whole_run_may_be_faster_than_the_request(flow: Flow) -> None:
    key = failed(flow)

    def run() -> None:
        flow.intake(event_of_the_copy(flow, key))
        consume_each(flow)

    flow.calls.meanwhile("after", "CopyObject", run)

    assert retry(flow, key).status is Status.COMPLETED
    settle(flow)
    assert_run_twice(flow, key)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("event", ["lost", "seen"])
def test_a_request_cut_off_anywhere_is_one_run_or_none(
    flow: Flow, when: When, event: Literal["lost", "seen"]
) -> None:
    for number in range(12):
        key = failed(flow)
        flow.calls.kill(when, number)
        with contextlib.suppress(Killed):
            retry(flow, key)
        came = flow.new_process()
        if event == "seen":
            flow.intake(event_of_the_copy(flow, key))
        settle(flow)

        if flow.job(key).status is Status.FAILED:
            assert flow.objects() == {flow.job(key).key: BODY}
            assert number < 4
        else:
            assert_run_twice(flow, key)
        deletion.delete(flow.settings, keys.NOBODY, job_id_of(flow, key))
        settle(flow)
        if not came:
            break
    assert number > 3


def test_it_may_fail_again_and_be_retried_again(flow: Flow) -> None:
    key = failed(flow)
    with failing():
        retry(flow, key)
        flow.consume()
    job = flow.job(key)
    assert (job.status, job.run) == (Status.FAILED, 2)
    assert flow.objects() == {job.key: BODY}

    flow.clock.advance(2)
    retry(flow, key)
    settle(flow)

    assert (flow.job(key).status, flow.job(key).run) == (Status.COMPLETED, 3)


@pytest.mark.parametrize("newer", [BODY, b"newer text"])
def test_a_newer_upload_that_lies_there_is_what_is_run(flow: Flow, newer: bytes) -> None:
    key = failed(flow)
    event = flow.put(key, newer)

    retry(flow, key)
    flow.intake(event)
    settle(flow)

    job = flow.job(key)
    assert (job.status, job.run) == (Status.COMPLETED, 2)
    assert flow.content(job.key) == newer


def test_what_the_failed_run_is_about_to_delete_is_not_built_on(flow: Flow) -> None:
    """Its end is written down, and the open object goes a moment later: a retry in between would lose it."""
    key = flow.new_key("notes.txt")
    flow.upload(key, BODY)
    refused: list[Conflict] = []

    def retry_too_soon() -> None:
        with pytest.raises(StillEnding) as caught:
            retry(flow, key)
        refused.append(caught.value)

    flow.calls.meanwhile("before", "DeleteObject", retry_too_soon)
    with failing():
        flow.consume()

    assert [(error.code, error.headers["Retry-After"]) for error in refused] == [("still_ending", "2")]
    assert (flow.job(key).status, flow.job(key).run) == (Status.FAILED, 1)
    flow.clock.advance(2)
    retry(flow, key)
    settle(flow)
    assert_run_twice(flow, key)


def test_an_end_cut_off_before_it_was_complete_is_completed_before_a_retry(flow: Flow) -> None:
    key = flow.new_key("notes.txt")
    flow.upload(key, BODY)
    with failing():
        flow.calls.meanwhile("after", "Publish", lambda: flow.calls.kill("before", 0))
        with contextlib.suppress(Killed):
            flow.consume()
        assert flow.new_process()
    with pytest.raises(StillEnding):
        retry(flow, key)

    settle(flow)
    flow.clock.advance(2)
    retry(flow, key)
    settle(flow)
    assert_run_twice(flow, key)


@pytest.mark.parametrize("key", ["uploads/loose.txt", "incoming/machine/loose.json"])
@pytest.mark.parametrize("refused", [True, False])
def test_what_lies_under_another_key_than_the_retry_is_cleared_up_too(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, key: str, refused: bool
) -> None:
    """A key without a job id: the retry goes on under one that has it, and forgets the first."""
    with failing():
        flow.intake(flow.put(key, b"{}"))
        flow.calls.meanwhile("after", "Publish", lambda: flow.calls.kill("before", 0))
        with contextlib.suppress(Killed):
            flow.consume()
        assert flow.new_process()
    place = keys.parse(flow.settings, key)
    assert place is not None
    (job,) = flow.jobs(place.owner)
    flow.clock.advance(2)
    if refused:
        with pytest.raises(StillEnding):
            retries.retry(flow.settings, place.owner, job.job_id)
        settle(flow)
        flow.clock.advance(2)
    else:  # as where S3's clock is ahead of the worker's
        monkeypatch.setattr(retries, "is_left_over", lambda *_: False)
    retries.retry(flow.settings, place.owner, job.job_id)
    settle(flow)
    announced = len(flow.published())

    settle(flow)

    (job,) = flow.jobs(place.owner)
    assert (job.status, job.run) == (Status.COMPLETED, 2)
    assert flow.objects("uploads/") == flow.objects("incoming/") == {}
    assert len(flow.published()) == announced


def test_an_open_object_lost_after_the_retry_is_had_from_the_failed_one(flow: Flow) -> None:
    """The worker of the first run, late with clearing up, takes the copy for what it has to delete."""
    key = failed(flow)
    retry(flow, key)
    flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)

    settle(flow)

    assert_run_twice(flow, key)


def test_a_drop_without_a_job_id_in_its_key_stays_the_same_job(flow: Flow) -> None:
    with failing():
        flow.upload("uploads/loose.txt", BODY)
        flow.consume()
    (job,) = flow.jobs()
    assert job.status is Status.FAILED
    flow.clock.advance(2)

    opened = retries.retry(flow.settings, keys.NOBODY, job.job_id)
    flow.intake(event_of_the_copy(flow, opened.source_key))
    settle(flow)

    (again,) = flow.jobs()
    assert (again.job_id, again.status, again.run) == (job.job_id, Status.COMPLETED, 2)
    assert flow.objects("uploads/") == {}


@pytest.mark.parametrize("body", [BODY, b""])
def test_only_a_failed_job_is_retried(flow: Flow, body: bytes) -> None:
    key = flow.new_key("notes.txt")
    flow.run(key, body)

    with pytest.raises(Conflict) as refused:
        retry(flow, key)

    assert refused.value.code == "not_failed"


def test_a_file_that_is_gone_cannot_be_retried(flow: Flow) -> None:
    key = failed(flow)
    flow.s3.delete_object(Bucket=flow.settings.bucket, Key=flow.job(key).key)

    with pytest.raises(Conflict) as refused:
        retry(flow, key)

    assert refused.value.code == "original_missing"
    assert flow.job(key).status is Status.FAILED


def test_a_file_too_large_to_be_copied_at_once_is_refused(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = failed(flow)
    monkeypatch.setattr("chalicelib.retries.SINGLE_LIMIT", len(BODY) - 1)

    with pytest.raises(Conflict) as refused:
        retry(flow, key)

    assert refused.value.code == "too_large_to_retry"


def test_a_deletion_meanwhile_wins_and_nothing_is_left(flow: Flow) -> None:
    key = failed(flow)
    job_id = job_id_of(flow, key)
    flow.calls.meanwhile("before", "PutItem", lambda: deletion.delete(flow.settings, keys.NOBODY, job_id))

    with pytest.raises(NotFound):
        retry(flow, key)

    settle(flow)
    assert flow.objects() == {}
    assert flow.job(key).status is Status.DELETED


class TestLargeFiles:
    """What one CopyObject takes too long for, who asks over HTTP above all. The limit is lowered."""

    BODY = b"some text\n" * (6 * MiB // 10)

    @pytest.fixture(autouse=True)
    def _low_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storage, "WHOLE_COPY", MiB)
        monkeypatch.setattr(storage, "COPY_PART", 5 * MiB)

    def test_one_is_put_back_in_parts_with_its_type_and_metadata(self, flow: Flow) -> None:
        key = failed(flow, self.BODY)
        moved = flow.s3.head_object(Bucket=flow.settings.bucket, Key=flow.job(key).key)
        flow.calls.made.clear()

        assert retry(flow, key).run == 2

        assert (flow.calls.count("CopyObject"), flow.calls.count("UploadPartCopy")) == (0, 2)
        back = flow.s3.head_object(Bucket=flow.settings.bucket, Key=key)
        # By which the copy under failed/ is known, and removed, once the retried run has ended.
        assert back["ETag"] == moved["ETag"]
        assert (back["ContentType"], back["Metadata"]) == (moved["ContentType"], moved["Metadata"])
        assert flow.content(key) == self.BODY

    def test_the_retried_run_leaves_no_second_copy(self, flow: Flow) -> None:
        key = failed(flow, self.BODY)
        retry(flow, key)
        settle(flow)
        job = flow.job(key)
        assert (job.status, job.run) == (Status.COMPLETED, 2)
        assert list(flow.objects()) == [job.key, job.outputs[0]["key"]]

    def test_a_newer_upload_meanwhile_is_what_is_run_and_no_part_is_left(self, flow: Flow) -> None:
        key = failed(flow, self.BODY)
        flow.calls.meanwhile("before", "CompleteMultipartUpload", lambda: flow.put(key, b"newer"))

        assert retry(flow, key).size == len(b"newer")

        settle(flow)
        assert flow.content(flow.job(key).key) == b"newer"
        assert "Uploads" not in flow.s3.list_multipart_uploads(Bucket=flow.settings.bucket)

    def test_one_that_is_gone_cannot_be_retried(self, flow: Flow) -> None:
        key = failed(flow, self.BODY)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=flow.job(key).key)
        with pytest.raises(Conflict) as refused:
            retry(flow, key)
        assert refused.value.code == "original_missing"
