"""What a client declares: held against the deployment, by whichever way it is sent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from chalicelib import pipeline, uploads
from chalicelib.declared import SINGLE_LIMIT, Declared
from chalicelib.errors import BadRequest, Rejected
from chalicelib.filetypes import FileType
from chalicelib.jobs import Status
from chalicelib.settings import Settings, TiB
from tests.unit.flow import Flow

BASE_URL = "https://api.example.com/v1"


def refusal(settings: Settings, wish: Mapping[str, Any]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        uploads.presign(settings, "_", wish, BASE_URL)
    return caught.value


class TestAllowedTypes:
    @pytest.mark.parametrize(
        "media_type", ["application/pdf", "Application/PDF", "image/png", "image/svg+xml; charset=utf-8"]
    )
    def test_one_that_is_listed_is_taken(self, settings: Settings, media_type: str) -> None:
        strict = replace(settings, allowed_types=("image/*", "application/pdf"))

        assert strict.allows_type(media_type)
        for method in ("PUT", "POST"):
            assert uploads.presign(strict, "_", {"contentType": media_type, "method": method}, BASE_URL)
        assert uploads.params(strict, "_", {"type": media_type}, BASE_URL)

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/pdfx", "application/pdf+zip", "images/png", "*/*"]
    )
    def test_another_is_refused_by_name(self, settings: Settings, media_type: str) -> None:
        strict = replace(settings, allowed_types=("image/*", "application/pdf"))

        assert not strict.allows_type(media_type)
        error = refusal(strict, {"contentType": media_type})
        assert error.details == {"field": "contentType"}
        assert "image/*, application/pdf" in error.message
        with pytest.raises(BadRequest) as caught:
            uploads.params(strict, "_", {"type": media_type}, BASE_URL)
        assert caught.value.details == {"field": "type"}

    def test_none_listed_is_all_allowed(self, settings: Settings) -> None:
        assert settings.allows_type("application/x-anything")

    def test_what_is_not_declared_is_looked_at_when_it_is_there(self, settings: Settings) -> None:
        assert uploads.presign(replace(settings, allowed_types=("image/*",)), "_", {}, BASE_URL)


class TestDetectedTypes:
    def test_what_a_file_is_counts_and_not_what_it_was_called(
        self, aws: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow = Flow(replace(aws, allowed_types=("application/pdf",)), monkeypatch)
        flow.settings = replace(flow.settings, allowed_types=("application/pdf",))
        body = b"MZ\x90\x00\x03"

        job = flow.run(flow.new_key("invoice.pdf"), body, ContentType="application/pdf")

        assert job.status is Status.REJECTED
        assert job.error is not None
        assert job.error["code"] == "type_not_allowed"
        assert "application/pdf" in job.error["message"]
        assert job.detected_type == "application/vnd.microsoft.portable-executable"
        assert flow.objects("rejected/") == {job.key: body}

    def test_no_processor_sees_it(self, aws: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        flow = Flow(aws, monkeypatch)
        flow.settings = replace(flow.settings, allowed_types=("image/png",))

        job = flow.run(flow.new_key("order.json"), b'{"id": "o-1"}')

        assert (job.status, job.outputs) == (Status.REJECTED, [])
        assert flow.events() == {}

    @pytest.mark.parametrize("limit", [1, 1024])
    def test_its_size_makes_no_difference(
        self, aws: Settings, monkeypatch: pytest.MonkeyPatch, limit: int
    ) -> None:
        flow = Flow(aws, monkeypatch)
        flow.settings = replace(flow.settings, allowed_types=("text/*",), light_limit_bytes=limit)

        assert flow.run(flow.new_key("a.txt"), b"allowed").status is Status.COMPLETED
        assert flow.run(flow.new_key("b.txt"), b"\x7fELF\x00").status is Status.REJECTED

    def test_the_message_says_what_would_be_taken(self, settings: Settings) -> None:
        strict = replace(settings, allowed_types=("image/*", "text/csv"))

        with pytest.raises(Rejected, match=r"image/\*, text/csv"):
            pipeline.admit(strict, FileType("other", "application/zip"))
        pipeline.admit(strict, FileType("text", "text/csv"))


class TestSizes:
    @pytest.mark.parametrize("method", ["PUT", "POST"])
    def test_one_request_takes_what_s3_takes_in_one(self, settings: Settings, method: str) -> None:
        large = replace(settings, max_upload_bytes=5 * TiB)

        assert uploads.presign(large, "_", {"size": SINGLE_LIMIT, "method": method}, BASE_URL)
        error = refusal(large, {"size": SINGLE_LIMIT + 1, "method": method})
        assert error.details == {"field": "size"}
        assert "POST /s3/multipart" in error.message

    def test_where_parts_would_not_help_they_are_not_named(self, settings: Settings) -> None:
        error = refusal(replace(settings, max_upload_bytes=100), {"size": 101})

        assert "at most 100 bytes" in error.message
        assert "multipart" not in error.message


class TestByCompanion:
    def test_what_an_uploader_leaves_empty_is_not_declared(self) -> None:
        declared = Declared.by_companion({"filename": "", "type": ""}, {"caption": "", "order": None})

        assert declared == Declared()

    def test_its_own_names_are_no_metadata(self) -> None:
        metadata = {"name": "Fête.jpg", "type": "image/jpeg", "relativePath": "a/Fête.jpg", "order": "7"}

        assert Declared.by_companion({}, metadata).metadata == {"order": "7"}

    def test_numbers_are_written_out(self) -> None:
        assert Declared.by_companion({}, {"n": 7, "x": 1.5, "ok": True, "no": False}).metadata == {
            "n": "7",
            "x": "1.5",
            "ok": "true",
            "no": "false",
        }

    @pytest.mark.parametrize(
        ("metadata", "field"),
        [
            ({"Order": "7"}, "metadata"),
            ({"waybill-etag": "7"}, "metadata"),
            ({"order": "café"}, "metadata.order"),
            ({"order": "x" * 257}, "metadata.order"),
            ({"order": {"n": 7}}, "metadata.order"),
            ({"order": ["7"]}, "metadata.order"),
            ({f"n{n}": "x" for n in range(21)}, "metadata"),
        ],
    )
    def test_the_rules_are_those_of_presign(self, metadata: dict[str, Any], field: str) -> None:
        with pytest.raises(BadRequest) as caught:
            Declared.by_companion({}, metadata)
        assert caught.value.details == {"field": field}


class TestForms:
    def test_all_that_is_declared_is_a_field(self, settings: Settings) -> None:
        signed = uploads.presign(
            settings,
            "_",
            {
                "contentType": "text/csv",
                "size": 5,
                "sha256": "0" * 64,
                "metadata": {"order": "7"},
                "method": "POST",
            },
            BASE_URL,
        )

        assert (signed["method"], signed["headers"]) == ("POST", {})
        assert signed["uploadUrl"] == f"https://{settings.bucket}.s3.eu-central-1.amazonaws.com/"
        assert (
            signed["fields"].items()
            >= {
                "key": signed["s3Key"],
                "Content-Type": "text/csv",
                "x-amz-checksum-sha256": "A" * 43 + "=",
                "x-amz-meta-order": "7",
                "success_action_status": "201",
            }.items()
        )

    def test_a_name_that_s3_would_put_another_into_is_refused(self, settings: Settings) -> None:
        assert uploads.presign(settings, "_", {"filename": "a${filename}"}, BASE_URL)
        error = refusal(settings, {"filename": "a${filename}", "method": "POST"})
        assert error.details == {"field": "filename"}
        with pytest.raises(BadRequest, match="filename"):
            uploads.params(settings, "_", {"filename": "${filename}"}, BASE_URL)
