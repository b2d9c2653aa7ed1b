"""Nothing is processed, and nothing can be had, before a scan for malware has found it clean."""

import logging
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from chalicelib import deletion, downloads, intake, keys, messages, pipeline, retries, scans, storage
from chalicelib.errors import Conflict
from chalicelib.jobs import SCANNING, Job, Status
from chalicelib.settings import MiB, Settings
from tests.unit.flow import Flow
from tests.unit.test_deletion import consume_each

BODY = b"some text"


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    made = Flow(replace(aws, malware_scan="guardduty"), monkeypatch)
    for module in (deletion, downloads, retries):
        monkeypatch.setattr(module, "open_ledger", made._open_ledger)
    return made


def tag(flow: Flow, key: str, verdict: str) -> None:
    """What GuardDuty writes when it has scanned an object."""
    flow.s3.put_object_tagging(
        Bucket=flow.settings.bucket,
        Key=key,
        Tagging={"TagSet": [{"Key": "GuardDutyMalwareScanStatus", "Value": verdict}]},
    )


def scan_event(flow: Flow, key: str, verdict: str, etag: str | None = None) -> dict[str, Any]:
    """Shape: Amazon GuardDuty User Guide, "Monitoring S3 object scans with Amazon EventBridge"."""
    found = storage.head(flow.settings, key) if etag is None else None
    return {
        "source": "aws.guardduty",
        "detail-type": "GuardDuty Malware Protection Object Scan Result",
        "detail": {
            "schemaVersion": "1.0",
            "scanStatus": "COMPLETED",
            "resourceType": "S3_OBJECT",
            "s3ObjectDetails": {
                "bucketName": flow.settings.bucket,
                "objectKey": key,
                "eTag": etag or (found["ETag"].strip('"') if found else ""),
                "versionId": None,
                "s3Throttled": False,
            },
            "scanResultDetails": {"scanResultStatus": verdict, "threats": None},
        },
    }


def scan(flow: Flow, key: str, verdict: str = scans.CLEAN) -> None:
    """The tag, then the event."""
    tag(flow, key, verdict)
    intake.on_scanned(flow.settings, scan_event(flow, key, verdict))


def arrived(flow: Flow, body: bytes = BODY, **extra: Any) -> str:
    key = flow.new_key("notes.txt")
    flow.upload(key, body, **extra)
    return key


def original(flow: Flow, job: Job) -> downloads.Download:
    return downloads.sign(flow.settings, job.owner, job.job_id, "original")


def assert_waits(flow: Flow, key: str) -> None:
    job = flow.job(key)
    assert (job.status, job.stage, job.attempts) == (Status.QUEUED, SCANNING, 0)
    assert flow.queue_size() == 0
    assert list(flow.objects()) == [key]


class TestTheOrdinaryWay:
    def test_a_file_waits_without_a_message_until_it_has_been_scanned(self, flow: Flow) -> None:
        key = arrived(flow)
        assert_waits(flow, key)
        with pytest.raises(Conflict):
            original(flow, flow.job(key))

        scan(flow, key)

        assert flow.queue_size() == 1
        flow.consume()
        job = flow.job(key)
        assert (job.status, job.attempts) == (Status.COMPLETED, 1)
        assert original(flow, job).url

    def test_malware_is_rejected_and_kept_where_nobody_can_have_it(self, flow: Flow) -> None:
        key = arrived(flow)
        scan(flow, key, "THREATS_FOUND")
        flow.consume()

        job = flow.job(key)
        assert (job.status, job.error and job.error["code"]) == (Status.REJECTED, "malware_found")
        assert (list(flow.objects()), job.outputs) == ([job.key], [])
        assert job.key.startswith("rejected/")
        with pytest.raises(Conflict) as refused:
            original(flow, job)
        assert refused.value.code == "not_clean"
        with pytest.raises(Conflict):
            retries.retry(flow.settings, job.owner, job.job_id)

    @pytest.mark.parametrize(
        ("verdict", "status", "code"),
        [
            ("UNSUPPORTED", Status.REJECTED, "not_scannable"),
            ("FAILED", Status.FAILED, "scan_failed"),
            ("ACCESS_DENIED", Status.FAILED, "scan_failed"),
            ("SOMETHING_NEW", Status.FAILED, "scan_failed"),
        ],
    )
    def test_what_is_not_known_to_be_clean_is_never_processed(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch, verdict: str, status: Status, code: str
    ) -> None:
        monkeypatch.setattr(pipeline, "process", lambda *_: pytest.fail("it was processed"))
        key = arrived(flow)
        scan(flow, key, verdict)
        flow.consume()

        job = flow.job(key)
        assert (job.status, job.error and job.error["code"], job.attempts) == (status, code, 1)
        with pytest.raises(Conflict, match="cannot be had"):
            original(flow, job)

    def test_what_comes_by_incoming_waits_as_well(self, flow: Flow) -> None:
        key = "incoming/shop/order.json"
        flow.upload(key, b'{"id": "1"}')
        (job,) = flow.jobs("shop")
        assert (job.stage, flow.queue_size()) == (SCANNING, 0)

        scan(flow, key)
        flow.consume()

        (job,) = flow.jobs("shop")
        assert job.status is Status.COMPLETED

    def test_what_is_too_large_to_be_processed_here_is_scanned_all_the_same(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow.settings = replace(flow.settings, light_limit_bytes=MiB)
        monkeypatch.setattr(storage, "WHOLE_COPY", MiB)
        key, clean = arrived(flow, b"x" * 6 * MiB), arrived(flow, b"y" * 6 * MiB)
        scan(flow, key, "THREATS_FOUND")
        scan(flow, clean)
        flow.consume()

        assert flow.job(key).status is Status.REJECTED
        assert flow.job(clean).status is Status.COMPLETED
        assert original(flow, flow.job(clean)).url  # copied in parts, and the tag with it

    def test_by_default_nobody_asks(self, aws: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        flow = Flow(aws, monkeypatch)
        monkeypatch.setattr(downloads, "open_ledger", flow._open_ledger)
        key = arrived(flow)
        intake.on_scanned(flow.settings, scan_event(flow, key, scans.CLEAN))
        flow.consume()

        assert original(flow, flow.job(key)).url
        assert (flow.job(key).attempts, flow.calls.count("GetObjectTagging")) == (1, 0)


class TestInAnyOrder:
    def test_the_scan_may_be_faster_than_the_event_of_the_upload(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        event = flow.put(key, BODY)

        scan(flow, key)
        flow.intake(event, event)

        assert len(flow.jobs()) == 1
        consume_each(flow)
        assert (flow.job(key).status, flow.job(key).run, flow.job(key).attempts) == (Status.COMPLETED, 1, 1)

    def test_the_event_of_the_scan_may_be_lost_before_that_of_the_upload_comes(self, flow: Flow) -> None:
        key = flow.new_key("notes.txt")
        event = flow.put(key, BODY)
        tag(flow, key, scans.CLEAN)

        flow.intake(event)

        flow.consume()
        assert flow.job(key).status is Status.COMPLETED

    def test_the_event_of_the_scan_may_come_before_the_tag(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scans, "TAGGING", 0)  # moto's queue goes by the real time
        key = arrived(flow)
        intake.on_scanned(flow.settings, scan_event(flow, key, scans.CLEAN))
        assert flow.queue_size() == 1

        tag(flow, key, scans.CLEAN)
        flow.consume()

        assert (flow.job(key).status, flow.job(key).attempts) == (Status.COMPLETED, 1)

    def test_a_tag_that_never_comes_is_looked_for_once_and_left_to_the_sweep(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scans, "TAGGING", 0)
        key = arrived(flow)
        intake.on_scanned(flow.settings, scan_event(flow, key, scans.CLEAN))

        flow.consume()

        assert_waits(flow, key)

    def test_a_message_that_comes_before_the_verdict_is_done_and_no_attempt(self, flow: Flow) -> None:
        key = arrived(flow)
        for _ in range(flow.settings.max_attempts + 1):
            messages.send(flow.settings, [flow.job(key)])
            flow.consume()
            assert_waits(flow, key)

        scan(flow, key)
        flow.consume()
        assert (flow.job(key).status, flow.job(key).attempts) == (Status.COMPLETED, 1)

    def test_a_verdict_that_comes_while_the_job_is_looked_at_is_not_missed(self, flow: Flow) -> None:
        key = arrived(flow)
        messages.send(flow.settings, [flow.job(key)])
        # The tag is read, then it is written and its event finds the job in a worker's hands.
        flow.calls.meanwhile("after", "GetObjectTagging", lambda: scan(flow, key))

        with pytest.raises(Exception, match="come again"):
            flow.consume()
        flow.consume()

        assert (flow.job(key).status, flow.job(key).attempts) == (Status.COMPLETED, 1)

    def test_an_event_more_or_of_other_things_does_nothing(self, flow: Flow) -> None:
        key = arrived(flow)
        scan(flow, key)
        event = scan_event(flow, key, scans.CLEAN)
        flow.consume()
        ended = flow.job(key)

        intake.on_scanned(flow.settings, event)
        elsewhere = {**event["detail"]["s3ObjectDetails"], "bucketName": "another"}
        intake.on_scanned(flow.settings, {"detail": {"s3ObjectDetails": elsewhere}})
        validation = {**elsewhere, "bucketName": flow.settings.bucket, "objectKey": "malware-protection-x"}
        intake.on_scanned(flow.settings, {"detail": {"s3ObjectDetails": validation}})

        assert (flow.job(key), flow.queue_size()) == (ended, 0)


class TestOfWhichContent:
    def test_an_event_of_an_older_upload_wakes_nobody(self, flow: Flow) -> None:
        key = arrived(flow)
        old = scan_event(flow, key, scans.CLEAN)
        flow.clock.advance(2)
        flow.upload(key, b"another text")

        entered = flow.calls.count("PutItem")
        intake.on_scanned(flow.settings, old)

        assert_waits(flow, key)
        assert flow.calls.count("PutItem") == entered  # its own events enter what lies there now

    def test_a_newer_upload_needs_a_verdict_of_its_own(self, flow: Flow) -> None:
        key = arrived(flow)
        scan(flow, key)
        flow.clock.advance(2)
        flow.upload(key, b"another text")

        flow.consume()  # the message that the first verdict brought

        job = flow.job(key)
        assert (job.status, job.stage, job.run, job.attempts) == (Status.QUEUED, SCANNING, 2, 0)
        scan(flow, key, "THREATS_FOUND")
        flow.consume()
        assert flow.job(key).status is Status.REJECTED

    def test_a_clean_tag_of_what_lies_there_by_now_says_nothing_of_what_was_opened(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pipeline, "process", lambda *_: pytest.fail("it was processed"))
        key = arrived(flow)
        messages.send(flow.settings, [flow.job(key)])

        def replace_by_something_clean() -> None:
            flow.s3.put_object(Bucket=flow.settings.bucket, Key=key, Body=b"clean")
            tag(flow, key, scans.CLEAN)

        flow.calls.meanwhile("after", "GetObject", replace_by_something_clean)
        flow.consume()

        assert flow.job(key).status is Status.PROCESSING  # left to the run of the newer upload
        assert list(flow.objects()) == [key]

    def test_a_retry_is_scanned_anew(self, flow: Flow) -> None:
        key = arrived(flow)
        scan(flow, key, "FAILED")
        flow.consume()
        failed = flow.job(key)
        assert failed.status is Status.FAILED
        flow.clock.advance(2)

        job = retries.retry(flow.settings, failed.owner, failed.job_id)

        assert (job.status, job.stage, job.run, flow.queue_size()) == (Status.QUEUED, SCANNING, 2, 0)
        assert scans.verdict(flow.settings, key) is None  # nothing of the last scan
        scan(flow, key)
        flow.consume()
        job = flow.job(key)
        assert (job.status, job.attempts) == (Status.COMPLETED, 1)
        assert list(flow.object_keys("failed/")) == []

    def test_what_has_gone_is_not_waited_for(self, flow: Flow) -> None:
        """The last run has taken the same content, sent again in the same moment, for its own."""
        key = arrived(flow)
        scan(flow, key, "FAILED")
        flow.consume()
        flow.clock.advance(2)
        event = flow.put(key, BODY)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=key)

        flow.intake(event)
        flow.consume()

        job = flow.job(key)
        assert (job.status, job.run, job.error and job.error["code"]) == (Status.FAILED, 2, "scan_failed")

    def test_what_goes_while_it_is_looked_at_is_not_waited_for(self, flow: Flow) -> None:
        key = arrived(flow)
        messages.send(flow.settings, [flow.job(key)])
        remove = partial(flow.s3.delete_object, Bucket=flow.settings.bucket, Key=key)
        flow.calls.meanwhile("after", "HeadObject", remove)

        with pytest.raises(Exception, match="come again"):
            flow.consume()
        flow.consume()

        job = flow.job(key)
        assert (job.status, job.error and job.error["code"]) == (Status.FAILED, "original_missing")


class TestTheSweep:
    def test_it_queues_what_has_its_verdict_and_leaves_alone_what_has_none(self, flow: Flow) -> None:
        waiting, tagged = arrived(flow), arrived(flow)
        tag(flow, tagged, scans.CLEAN)
        flow.let_pass_until_swept()
        before = flow.job(waiting)

        first, second = flow.sweep(), flow.sweep()

        assert first == {"scanning": 1, "queued_again": 1}
        assert second == {"scanning": 1, "waiting": 1}
        assert (flow.job(waiting), flow.queue_size()) == (before, 1)
        flow.consume()
        assert flow.job(tagged).status is Status.COMPLETED

    def test_it_enters_what_no_event_has_told_of_and_queues_it_when_it_was_scanned(self, flow: Flow) -> None:
        waiting, tagged = flow.new_key("a.txt"), flow.new_key("b.txt")
        for key in (waiting, tagged):
            flow.put(key, BODY)
        tag(flow, tagged, "THREATS_FOUND")
        flow.let_pass_until_swept()

        assert flow.sweep() == {"entered": 2}

        flow.consume()
        assert (flow.job(waiting).stage, flow.job(tagged).status) == (SCANNING, Status.REJECTED)

    def test_where_nobody_scans_any_more_what_waited_is_queued(self, flow: Flow) -> None:
        key = arrived(flow)
        flow.settings = replace(flow.settings, malware_scan="none")
        flow.let_pass_until_swept()

        assert flow.sweep() == {"queued_again": 1}

        flow.consume()
        assert flow.job(key).status is Status.COMPLETED

    def test_a_job_that_waits_can_be_deleted(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deletion, "CHECK_AFTER", 0)
        key = arrived(flow)

        deletion.delete(flow.settings, keys.NOBODY, flow.job(key).job_id)
        flow.consume()

        assert flow.objects() == {}


def test_no_log_line_names_the_file(flow: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    key = flow.new_key("very-private.txt")
    flow.upload(key, BODY)
    messages.send(flow.settings, [flow.job(key)])
    flow.consume()
    scan(flow, key, "THREATS_FOUND")
    flow.consume()
    out = capsys.readouterr()
    assert "job.awaits_scan" in out.out + out.err
    assert "very-private" not in out.out + out.err
