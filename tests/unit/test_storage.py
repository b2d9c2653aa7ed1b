"""Opening, copying and removing originals pinned to their content, and writing outputs.

moto ignores `CopySourceIfMatch`; `flow.Calls` keeps it in S3's place. `IfMatch` of GetObject and DeleteObject
is moto's own.
"""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib import clients, storage
from chalicelib.errors import NotFound, Superseded
from chalicelib.filetypes import HEAD_BYTES
from chalicelib.jobs import Job, Upload
from chalicelib.processors import Output
from chalicelib.settings import MiB, Settings
from tests.unit.flow import Flow, refusal

OLD, NEW = b"the old content", b"the new content"


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


def entered(flow: Flow, body: bytes = OLD, **extra: Any) -> Job:
    key = flow.new_key("a.txt")
    flow.upload(key, body, **extra)
    return flow.job(key)


def final(job: Job, prefix: str = "processed/") -> str:
    return storage.final_key(prefix, job)


def moved_to(flow: Flow, job: Job, prefix: str) -> str:
    """What a run leaves that got as far as the copy, and lost its open object since."""
    key = final(job, prefix)
    storage.copy(flow.settings, job, storage.open_original(flow.settings, job), key)
    flow.s3.delete_object(Bucket=flow.settings.bucket, Key=job.key)
    return key


def head(flow: Flow, key: str) -> Any:
    return flow.s3.head_object(Bucket=flow.settings.bucket, Key=key)


class TestOpening:
    def test_an_original_comes_with_what_s3_knows_of_it(self, flow: Flow) -> None:
        job = entered(flow, ContentType="text/x-odd", Metadata={"colour": "red"})
        original = storage.open_original(flow.settings, job)
        assert (original.key, original.etag, original.size) == (job.key, job.etag, len(OLD))
        assert (original.content_type, original.metadata) == ("text/x-odd", {"colour": "red"})
        assert original.body.read() == OLD

    def test_nothing_is_read_by_opening(self, flow: Flow) -> None:
        original = storage.open_original(flow.settings, entered(flow))
        assert original.body.tell() == 0

    def test_above_the_light_limit_only_the_beginning_is_asked_for(self, flow: Flow) -> None:
        body = bytes(range(256)) * (HEAD_BYTES // 256) + b"the rest"
        job = entered(flow, body)
        for limit, expected in ((len(body), body), (len(body) - 1, body[:HEAD_BYTES])):
            settings = replace(flow.settings, light_limit_bytes=limit)
            original = storage.open_original(settings, job)
            assert (original.size, original.body.read()) == (len(body), expected)

    def test_the_beginning_is_pinned_and_found_again_like_all_of_it(self, flow: Flow) -> None:
        settings = replace(flow.settings, light_limit_bytes=1)
        job = entered(flow)
        moved = moved_to(flow, job, "processed/")
        original = storage.open_original(settings, job)
        assert (original.key, original.size, original.body.read()) == (moved, len(OLD), OLD)
        job = entered(flow)
        flow.put(job.key, NEW)
        with pytest.raises(Superseded):
            storage.open_original(settings, job)

    def test_other_content_on_the_key_is_never_opened(self, flow: Flow) -> None:
        job = entered(flow)
        flow.put(job.key, NEW)
        with pytest.raises(Superseded):
            storage.open_original(flow.settings, job)

    def test_a_file_that_is_nowhere_is_missing(self, flow: Flow) -> None:
        job = entered(flow)
        flow.s3.delete_object(Bucket=flow.settings.bucket, Key=job.key)
        with pytest.raises(NotFound) as caught:
            storage.open_original(flow.settings, job)
        assert caught.value.code == "original_missing"

    @pytest.mark.parametrize("prefix", ["processed/", "rejected/", "failed/"])
    def test_content_that_has_moved_before_is_found_again(self, flow: Flow, prefix: str) -> None:
        job = entered(flow)
        moved = moved_to(flow, job, prefix)
        original = storage.open_original(flow.settings, job)
        assert (original.key, original.body.read()) == (moved, OLD)

    def test_content_that_has_moved_before_is_found_behind_a_newer_upload(self, flow: Flow) -> None:
        job = entered(flow)
        moved = moved_to(flow, job, "processed/")
        flow.put(job.key, NEW)
        original = storage.open_original(flow.settings, job)
        assert (original.key, original.body.read()) == (moved, OLD)

    def test_other_content_in_the_final_place_is_not_taken_for_it(self, flow: Flow) -> None:
        job = entered(flow)
        moved_to(flow, job, "processed/")
        with pytest.raises(NotFound):
            storage.open_original(flow.settings, replace(job, etag="0" * 32))

    @pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
    @pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (500, "InternalError")])
    def test_a_bucket_that_does_not_answer_says_nothing_about_the_file(
        self, flow: Flow, operation: str, status: int, code: str
    ) -> None:
        job = entered(flow)
        if operation == "HeadObject":  # asked only where the open key is empty
            flow.s3.delete_object(Bucket=flow.settings.bucket, Key=job.key)
        clients.s3().meta.events.register(f"before-call.s3.{operation}", lambda **_: refusal(status, code))
        with pytest.raises(clients.s3().exceptions.ClientError):
            storage.open_original(flow.settings, job)


class TestCopying:
    def test_the_copy_keeps_content_type_and_metadata_and_is_marked(self, flow: Flow) -> None:
        job = entered(flow, ContentType="text/x-odd", Metadata={"colour": "red"})
        destination = final(job)
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), destination)
        copied = head(flow, destination)
        assert copied["ContentType"] == "text/x-odd"
        assert copied["Metadata"] == {"colour": "red", "waybill-etag": job.etag}
        assert flow.content(destination) == OLD
        assert flow.content(job.key) == OLD

    def test_odd_names_are_copied_as_they_are(self, flow: Flow) -> None:
        key = flow.new_key("100%+ é \U0001f69a %41.txt")
        flow.upload(key, OLD)
        job = flow.job(key)
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), final(job))
        assert flow.content(final(job)) == OLD

    def test_a_newer_upload_is_not_copied_in_place_of_what_was_opened(self, flow: Flow) -> None:
        job = entered(flow)
        original = storage.open_original(flow.settings, job)
        flow.put(job.key, NEW)
        with pytest.raises(Superseded):
            storage.copy(flow.settings, job, original, final(job))
        assert list(flow.objects()) == [job.key]

    def test_what_lies_in_its_final_place_is_left_there(self, flow: Flow) -> None:
        job = entered(flow)
        moved = moved_to(flow, job, "processed/")
        before = flow.calls.count("CopyObject")
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), moved)
        assert flow.calls.count("CopyObject") == before
        assert flow.content(moved) == OLD

    def test_from_one_final_place_to_another_the_mark_stays_the_uploads(self, flow: Flow) -> None:
        job = entered(flow)
        moved_to(flow, job, "failed/")
        # A copy's own etag may differ from the upload's; here it is made to.
        original = replace(storage.open_original(flow.settings, job), etag=job.etag)
        storage.copy(flow.settings, job, original, final(job))
        assert head(flow, final(job))["Metadata"] == {"waybill-etag": job.etag}

    def test_metadata_up_to_s3s_limit_leaves_room_for_the_mark(self, flow: Flow) -> None:
        metadata = {"first": "a" * 900, "second": "b" * 900, "third": "c" * 170}
        job = entered(flow, Metadata=metadata)
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), final(job))
        copied = head(flow, final(job))["Metadata"]
        assert copied["waybill-etag"] == job.etag
        assert copied.items() - metadata.items() == {("waybill-etag", job.etag)}
        assert copied["first"] == metadata["first"]
        assert sum(len(f"x-amz-meta-{name}{value}") for name, value in copied.items()) <= 2048

    def test_an_error_of_the_bucket_stays_one(self, flow: Flow) -> None:
        job = entered(flow)
        original = storage.open_original(flow.settings, job)
        flow.calls.fail(0, "server error")
        with pytest.raises(clients.s3().exceptions.ClientError):
            storage.copy(flow.settings, job, original, final(job))


class TestCopyingInParts:
    """What takes one CopyObject too long. The limit is lowered, and the parts are smaller."""

    @pytest.fixture(autouse=True)
    def _low_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storage, "WHOLE_COPY", MiB)
        monkeypatch.setattr(storage, "COPY_PART", 8 * MiB)

    def test_up_to_the_limit_one_call_makes_the_copy(self, flow: Flow) -> None:
        job = entered(flow, b"x" * MiB)
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), final(job))
        assert (flow.calls.count("CopyObject"), flow.calls.count("UploadPartCopy")) == (1, 0)

    def test_a_large_file_arrives_whole_with_type_metadata_and_mark(self, flow: Flow) -> None:
        body = bytes(range(256)) * (20 * MiB // 256) + b"end"
        job = entered(flow, body, ContentType="text/x-odd", Metadata={"colour": "red"})
        destination = final(job)
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), destination)
        assert flow.calls.count("UploadPartCopy") == 3
        assert flow.calls.count("CopyObject") == 0
        copied = head(flow, destination)
        assert copied["ContentType"] == "text/x-odd"
        assert copied["Metadata"] == {"colour": "red", "waybill-etag": job.etag}
        assert copied["ETag"].strip('"') != job.etag
        assert flow.content(destination) == body

    def test_tags_are_kept_as_by_one_call(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        job = entered(flow, b"x" * 9 * MiB, Tagging="scanned=clean")
        for prefix in ("processed/", "failed/"):
            storage.copy(flow.settings, job, storage.open_original(flow.settings, job), final(job, prefix))
            monkeypatch.setattr(storage, "WHOLE_COPY", 9 * MiB)
        assert (flow.calls.count("CopyObject"), flow.calls.count("UploadPartCopy")) == (1, 2)
        for prefix in ("processed/", "failed/"):
            tags = flow.s3.get_object_tagging(Bucket=flow.settings.bucket, Key=final(job, prefix))["TagSet"]
            assert tags == [{"Key": "scanned", "Value": "clean"}]

    def test_it_is_found_again_although_its_etag_has_changed(self, flow: Flow) -> None:
        job = entered(flow, b"x" * 9 * MiB)
        moved = moved_to(flow, job, "processed/")
        assert storage.open_original(flow.settings, job).key == moved

    def test_every_part_is_asked_for_of_the_content_that_was_opened(self, flow: Flow) -> None:
        job = entered(flow, b"x" * 9 * MiB)
        storage.copy(flow.settings, job, storage.open_original(flow.settings, job), final(job))
        parts = [request for name, request in flow.calls.requests if name == "UploadPartCopy"]
        assert [part["CopySourceIfMatch"] for part in parts] == [f'"{job.etag}"'] * 2

    @pytest.mark.parametrize("moment", ["HeadObject", "UploadPartCopy"])
    def test_a_newer_upload_stops_it_and_leaves_no_parts(self, flow: Flow, moment: str) -> None:
        job = entered(flow, b"x" * 20 * MiB)
        original = storage.open_original(flow.settings, job)
        flow.calls.meanwhile("before", moment, lambda: flow.put(job.key, NEW * MiB))
        with pytest.raises(Superseded):
            storage.copy(flow.settings, job, original, final(job))
        assert list(flow.objects()) == [job.key]
        assert "Uploads" not in flow.s3.list_multipart_uploads(Bucket=flow.settings.bucket)


class TestRemoving:
    @pytest.mark.parametrize("name", ["\ufffe", "a\x01b", "\uffff.txt"])
    def test_a_name_that_no_xml_can_hold_goes_with_the_others(self, flow: Flow, name: str) -> None:
        for filename in (name, "plain.txt"):
            flow.put(f"incoming/shop/{filename}", OLD)
        storage.remove_folder(flow.settings, "incoming/shop/")
        assert flow.objects() == {}

    def test_the_open_object_goes(self, flow: Flow) -> None:
        job = entered(flow)
        storage.remove_open(flow.settings, job)
        assert flow.objects() == {}

    def test_a_newer_upload_stays(self, flow: Flow) -> None:
        job = entered(flow)
        flow.put(job.key, NEW)
        storage.remove_open(flow.settings, job)
        assert flow.objects() == {job.key: NEW}

    def test_what_is_gone_already_is_no_error(self, flow: Flow) -> None:
        job = entered(flow)
        storage.remove_open(flow.settings, job)
        storage.remove_open(flow.settings, job)
        assert flow.calls.count("DeleteObject") == 2

    def test_an_ended_job_loses_its_open_object_not_its_final_one(self, flow: Flow) -> None:
        job = entered(flow)
        ended = replace(job, key=moved_to(flow, job, "processed/"))
        flow.put(job.source_key, OLD)
        storage.remove_open(flow.settings, ended)
        assert list(flow.objects()) == [ended.key]

    def test_an_error_of_the_bucket_stays_one(self, flow: Flow) -> None:
        job = entered(flow)
        flow.calls.fail(0, "server error")
        with pytest.raises(clients.s3().exceptions.ClientError):
            storage.remove_open(flow.settings, job)


class TestBeingCurrent:
    @pytest.mark.parametrize(("fate", "expected"), [("stays", True), ("replaced", False), ("gone", False)])
    def test_only_the_very_content_counts(self, flow: Flow, fate: str, expected: bool) -> None:
        job = entered(flow)
        if fate == "replaced":
            flow.put(job.key, NEW)
        elif fate == "gone":
            storage.remove_open(flow.settings, job)
        upload = Upload("_", job.job_id, job.key, "a.txt", job.etag, len(OLD), job.uploaded_at)
        assert storage.is_current(flow.settings, upload) is expected

    def test_a_bucket_that_does_not_answer_says_nothing_about_the_file(self, flow: Flow) -> None:
        job = entered(flow)
        upload = Upload("_", job.job_id, job.key, "a.txt", job.etag, len(OLD), job.uploaded_at)
        flow.calls.fail(0, "server error")
        with pytest.raises(clients.s3().exceptions.ClientError):
            storage.is_current(flow.settings, upload)


def test_an_output_is_written_under_its_fixed_name_and_described(flow: Flow) -> None:
    job = entered(flow)
    for body in (b"first", b"second"):
        described = storage.put_output(flow.settings, job, Output("text.txt", "text/plain", body))
    key = f"processed/_/{job.job_id}/outputs/text.txt"
    assert described == {"name": "text.txt", "contentType": "text/plain", "size": 6, "key": key}
    assert flow.objects("processed/") == {key: b"second"}
    assert head(flow, key)["ContentType"] == "text/plain"
