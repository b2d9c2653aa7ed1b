"""Uploads in parts: what is passed on to S3, what never gets there, and what S3's refusals become.

moto binds upload ids to keys and keeps parts, but checks no signature: that parts can be sent where they are
signed for, and nowhere else, is tested in `tests/stack`.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from chalicelib import clients, multipart, schemas, sigv4
from chalicelib.errors import BadRequest, NotFound, PayloadTooLarge, WaybillError
from chalicelib.settings import MiB, Settings, TiB
from tests.unit.flow import Flow

BASE_URL = "https://api.example.com/v1"
PART = bytes(5 * MiB)


def begin(settings: Settings, owner: str = "alice", **file: Any) -> Any:
    return multipart.create(settings, owner, file, BASE_URL)


def send(settings: Settings, upload: Any, number: int, body: bytes) -> dict[str, Any]:
    sent = clients.s3().upload_part(
        Bucket=settings.bucket, Key=upload["key"], UploadId=upload["uploadId"], PartNumber=number, Body=body
    )
    return {"PartNumber": number, "ETag": sent["ETag"]}


def complete(settings: Settings, upload: Any, parts: list[dict[str, Any]], owner: str = "alice") -> Any:
    return multipart.complete(settings, owner, upload["uploadId"], upload["key"], parts, BASE_URL)


def arrived(settings: Settings, upload: Any) -> list[dict[str, Any]]:
    return multipart.list_parts(settings, "alice", upload["uploadId"], upload["key"])


def refused(settings: Settings, upload: Any, parts: list[dict[str, Any]]) -> tuple[int, str]:
    with pytest.raises(WaybillError) as caught:
        complete(settings, upload, parts)
    return caught.value.status, caught.value.code


@contextmanager
def racing(code: str) -> Iterator[Any]:
    """An upload of one part that S3 lists, and then refuses to complete."""
    clients.reset()
    with Stubber(clients.s3()) as s3:
        part: Any = {"PartNumber": 1, "ETag": '"e"', "Size": 1}
        s3.add_response("list_parts", {"Parts": [part], "IsTruncated": False})
        s3.add_client_error("complete_multipart_upload", code, f"{code}, S3 says.", 400)
        yield {"uploadId": "id", "key": "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"}
        s3.assert_no_pending_responses()
    clients.reset()


class TestCreate:
    def test_the_server_chooses_the_key(self, aws: Settings) -> None:
        upload = begin(aws, filename="../../Fête.bin")

        assert upload["key"] == f"uploads/alice/{upload['jobId']}/Fête.bin"
        assert upload["bucket"] == aws.bucket
        assert upload["statusUrl"] == f"{BASE_URL}/jobs/{upload['jobId']}"
        assert begin(aws, filename="a")["key"] != begin(aws, filename="a")["key"]

    def test_the_declared_size_stays_with_the_object(self, aws: Settings) -> None:
        upload = begin(aws, filename="film.mp4", size=4)
        complete(aws, upload, [send(aws, upload, 1, b"four")])

        head = clients.s3().head_object(Bucket=aws.bucket, Key=upload["key"])

        assert head["Metadata"] == {"waybill-size": "4"}

    def test_type_and_metadata_stay_with_the_object(self, aws: Settings) -> None:
        upload = begin(aws, type="text/csv", metadata={"order": 7, "name": "é", "caption": None})
        complete(aws, upload, [send(aws, upload, 1, b"a,b\n")])

        head = clients.s3().head_object(Bucket=aws.bucket, Key=upload["key"])

        assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"order": "7"})

    @pytest.mark.parametrize("file", [{}, {"metadata": None}, {"type": "", "filename": ""}])
    def test_nothing_has_to_be_said(self, aws: Settings, file: dict[str, Any]) -> None:
        assert begin(aws, **file)["key"].endswith("/file")

    def test_what_the_deployment_does_not_take_is_not_begun(self, aws: Settings) -> None:
        strict = replace(aws, allowed_types=("image/*",), max_upload_bytes=100)

        for file, field in (({"type": "text/csv"}, "type"), ({"size": 101}, "size")):
            with pytest.raises(BadRequest) as caught:
                begin(strict, **file)
            assert caught.value.details == {"field": field}
        assert clients.s3().list_multipart_uploads(Bucket=aws.bucket).get("Uploads", []) == []

    def test_parts_carry_more_than_one_request(self, aws: Settings) -> None:
        assert begin(replace(aws, max_upload_bytes=5 * TiB), size=TiB)["uploadId"]

    def test_no_checksum_is_asked_of_parts_that_a_browser_sends_without_one(self, aws: Settings) -> None:
        """S3 does not complete an upload that was begun with a checksum when a part came without."""
        sent: list[str] = []

        def note(request: Any, **_: Any) -> None:
            sent.extend(name.lower() for name in request.headers)

        clients.s3().meta.events.register("before-send.s3.CreateMultipartUpload", note)
        begin(aws, filename="a")

        assert "host" in sent or "authorization" in sent
        assert [name for name in sent if "checksum" in name] == []

    def test_with_a_checksum_it_is_asked_of_every_part(self, aws: Settings) -> None:
        sent: dict[str, str] = {}

        def note(request: Any, **_: Any) -> None:
            sent.update({name.lower(): value for name, value in request.headers.items()})

        clients.s3().meta.events.register("before-send.s3.CreateMultipartUpload", note)
        begin(aws, filename="a", checksum="SHA256")

        assert sent["x-amz-checksum-algorithm"] in ("SHA256", b"SHA256")

    @pytest.mark.parametrize("checksum", ["sha256", "CRC32", "", None, 1])
    def test_other_checksums_are_not_taken(self, checksum: Any) -> None:
        with pytest.raises(BadRequest, match="checksum: must be one of: SHA256"):
            schemas.check(schemas.MULTIPART, {"checksum": checksum})


class TestSigning:
    def test_a_part_is_signed_for_its_number_and_its_upload(self, settings: Settings) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/Fête + 100%.bin"

        signed = multipart.sign_part(settings, "alice", "the.id_-", "10000", key)

        parts = urlsplit(signed["url"])
        query = {name: value for name, (value,) in parse_qs(parts.query).items()}
        assert unquote(parts.path) == "/" + key
        assert (query["partNumber"], query["uploadId"]) == ("10000", "the.id_-")
        assert (query["X-Amz-SignedHeaders"], query["X-Amz-Expires"]) == ("host", "900")
        assert signed["expires"] == 900
        moment = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert signed["url"] == sigv4.presign(
            "PUT",
            sigv4.bucket_location(settings.bucket, settings.region),
            key,
            credentials=clients.credentials(),
            expires_in=900,
            query={"partNumber": "10000", "uploadId": "the.id_-"},
            now=moment,
        )

    def test_a_part_is_signed_with_its_checksum(self, settings: Settings) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"
        digest = hashlib.sha256(b"part")

        signed = multipart.sign_part(settings, "alice", "id", "1", key, sha256=digest.hexdigest().upper())

        query = parse_qs(urlsplit(signed["url"]).query)
        assert signed["headers"] == {"x-amz-checksum-sha256": base64.b64encode(digest.digest()).decode()}
        assert query["X-Amz-SignedHeaders"] == ["host;x-amz-checksum-sha256"]
        assert query["partNumber"] == ["1"]

    def test_without_a_checksum_the_answer_is_companions(self, settings: Settings) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"

        assert multipart.sign_part(settings, "alice", "id", "1", key).keys() == {"url", "expires"}

    def test_an_id_is_the_same_whether_the_path_was_decoded_or_not(self, settings: Settings) -> None:
        """API Gateway decodes a path's parameters, and `chalice local` does not."""
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"
        urls = [
            multipart.sign_part(settings, "alice", sent, "1", key)["url"] for sent in ("a/b+=", "a%2Fb%2B%3D")
        ]

        for url in urls:
            assert parse_qs(urlsplit(url).query)["uploadId"] == ["a/b+="]

    def test_a_batch_has_a_url_for_each_number(self, settings: Settings) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"

        signed = multipart.sign_batch(settings, "alice", "id", "3,1,3,0002", key)["presignedUrls"]

        assert list(signed) == ["3", "1", "2"]
        for number, url in signed.items():
            assert parse_qs(urlsplit(url).query)["partNumber"] == [number]

    def test_a_batch_has_an_end(self, settings: Settings) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"
        numbers = [str(n) for n in range(1, multipart.MAX_BATCH + 2)]

        signed = multipart.sign_batch(settings, "alice", "id", ",".join(numbers[:-1]), key)
        assert len(signed["presignedUrls"]) == multipart.MAX_BATCH
        with pytest.raises(BadRequest, match="at most 1000") as caught:
            multipart.sign_batch(settings, "alice", "id", ",".join(numbers), key)
        assert caught.value.details == {"field": "partNumbers"}

    @pytest.mark.parametrize(
        "number", ["0", "00", "10001", "99999", "-1", "+1", "1.0", "1e3", "", " 1", "٣", "²"]
    )
    def test_other_numbers_are_refused(self, settings: Settings, number: str) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"

        with pytest.raises(BadRequest, match="from 1 to 10000") as caught:
            multipart.sign_part(settings, "alice", "id", number, key)
        assert caught.value.details == {"field": "partNumber"}
        with pytest.raises(BadRequest, match="from 1 to 10000"):
            multipart.sign_batch(settings, "alice", "id", f"1,{number}", key)


class TestWhose:
    @pytest.mark.parametrize(
        "key",
        [
            "uploads/bob/{job}/a",
            "uploads/_/{job}/a",
            "uploads/Alice/{job}/a",
            "uploads/alice/a",
            "uploads/alice/{job}/b/a",
            "uploads/alice/{job}/",
            "uploads/alice/{job}/.hidden",
            "uploads/alice/{job}/" + "x" * 200,
            "uploads/alice/../bob/{job}/a",
            "incoming/alice/{job}/a",
            "processed/alice/{job}/a",
            "/uploads/alice/{job}/a",
            "uploads//{job}/a",
            "",
            "\x00",
            "\ud800",
        ],
    )
    def test_a_key_that_is_not_the_callers_is_the_same_as_none(self, aws: Settings, key: str) -> None:
        upload = begin(aws, filename="a")
        named = key.format(job=upload["jobId"])
        said = set()
        for ask in (
            lambda: multipart.list_parts(aws, "alice", upload["uploadId"], named),
            lambda: multipart.sign_part(aws, "alice", upload["uploadId"], "1", named),
            lambda: multipart.sign_batch(aws, "alice", upload["uploadId"], "1", named),
            lambda: multipart.abort(aws, "alice", upload["uploadId"], named),
            lambda: complete(aws, {**upload, "key": named}, [{"PartNumber": 1, "ETag": "x"}]),
            lambda: multipart.list_parts(aws, "alice", "unknown", upload["key"]),
        ):
            with pytest.raises(NotFound) as caught:
                ask()
            said.add((caught.value.code, caught.value.message))

        assert len(said) == 1
        assert arrived(aws, upload) == []  # it is still there

    def test_another_caller_finds_nothing(self, aws: Settings) -> None:
        upload = begin(aws, filename="a")
        part = send(aws, upload, 1, b"mine")

        with pytest.raises(NotFound):
            complete(aws, upload, [part], owner="bob")
        with pytest.raises(NotFound):
            multipart.abort(aws, "bob", upload["uploadId"], upload["key"])
        assert complete(aws, upload, [part])["jobId"] == upload["jobId"]

    @pytest.mark.parametrize("upload_id", ["", " ", "a b", "é", "%", "%zz", "%00", "%0A", "<x>", "x" * 1025])
    def test_what_cannot_be_an_id_is_not_found_without_asking_s3(
        self, settings: Settings, upload_id: str
    ) -> None:
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"

        with pytest.raises(NotFound):
            multipart.list_parts(settings, "alice", upload_id, key)


class TestList:
    def test_what_arrived_is_told_in_the_contracts_names(self, aws: Settings) -> None:
        upload = begin(aws)
        sent = send(aws, upload, 2, b"two")

        (part,) = arrived(aws, upload)

        assert datetime.fromisoformat(part.pop("LastModified")).tzinfo == UTC
        assert part == {**sent, "Size": 3}

    def test_what_came_with_a_checksum_is_listed_with_it(self, settings: Settings) -> None:
        part: Any = {
            "PartNumber": 1,
            "ETag": '"e"',
            "Size": 1,
            "LastModified": datetime(2026, 1, 2, tzinfo=UTC),
            "ChecksumSHA256": "c",
        }
        clients.reset()
        with Stubber(clients.s3()) as s3:
            s3.add_response("list_parts", {"Parts": [part], "IsTruncated": False})
            upload = {"uploadId": "id", "key": "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"}
            assert arrived(settings, upload) == [{**part, "LastModified": "2026-01-02T00:00:00Z"}]
        clients.reset()

    def test_every_part_of_a_long_upload_is_listed(self, aws: Settings) -> None:
        """S3 lists 1,000 at a time."""
        upload = begin(aws)
        for number in range(1, 1_003):
            send(aws, upload, number, b"x")

        assert [part["PartNumber"] for part in arrived(aws, upload)] == list(range(1, 1_003))


class TestComplete:
    def test_the_parts_become_one_object(self, aws: Settings) -> None:
        upload = begin(aws, filename="a b.bin")
        parts = [send(aws, upload, 1, PART), send(aws, upload, 2, b"end")]

        done = complete(aws, upload, [{**parts[0], "ETag": parts[0]["ETag"].strip('"')}, parts[1]])

        assert done == {
            "location": f"https://{aws.bucket}.s3.eu-central-1.amazonaws.com/{quote(upload['key'])}",
            "key": upload["key"],
            "bucket": aws.bucket,
            "jobId": upload["jobId"],
            "statusUrl": f"{BASE_URL}/jobs/{upload['jobId']}",
        }
        head = clients.s3().head_object(Bucket=aws.bucket, Key=upload["key"])
        assert head["ContentLength"] == len(PART) + 3
        assert head["ETag"].endswith('-2"')

    def test_what_was_listed_can_be_sent_back_as_it_is(self, aws: Settings) -> None:
        upload = begin(aws)
        send(aws, upload, 1, b"all")
        listed = arrived(aws, upload)
        schemas.check(schemas.MULTIPART_PARTS, {"parts": listed})

        assert complete(aws, upload, listed)

    def test_the_checksums_of_the_parts_go_to_s3_as_it_listed_them(self, settings: Settings) -> None:
        """S3: "The complete multipart upload request must include the checksum for each part.\""""
        listed: list[Any] = [
            {"PartNumber": 1, "ETag": '"e1"', "Size": len(PART), "ChecksumSHA256": "c1"},
            {"PartNumber": 2, "ETag": '"e2"', "Size": 1, "ChecksumSHA256": "c2", "ChecksumCRC32": "other"},
        ]
        named = [
            {"PartNumber": 1, "ETag": "e1", "ChecksumSHA256": "claimed"},
            {"PartNumber": 2, "ETag": "e2"},
        ]
        key = "uploads/alice/0190a5a2-7c00-7000-8000-000000000000/a"
        sent = [
            {"PartNumber": 1, "ETag": '"e1"', "ChecksumSHA256": "c1"},
            {"PartNumber": 2, "ETag": '"e2"', "ChecksumSHA256": "c2"},
        ]
        clients.reset()
        with Stubber(clients.s3()) as s3:
            s3.add_response("list_parts", {"Parts": listed, "IsTruncated": False})
            s3.add_response(
                "complete_multipart_upload",
                {},
                {"Bucket": settings.bucket, "Key": key, "UploadId": "id", "MultipartUpload": {"Parts": sent}},
            )
            complete(settings, {"uploadId": "id", "key": key}, named)
            s3.assert_no_pending_responses()
        clients.reset()

    def test_a_part_may_be_sent_again(self, aws: Settings) -> None:
        upload = begin(aws)
        old, new = send(aws, upload, 1, b"old"), send(aws, upload, 1, b"new")

        assert refused(aws, upload, [old]) == (400, "part_mismatch")
        assert complete(aws, upload, [new])

    @pytest.mark.parametrize(
        ("named", "code"),
        [
            ([2, 1], "parts_out_of_order"),
            ([1, 1, 2], "parts_out_of_order"),
            ([1], "parts_missing"),
            ([2], "parts_missing"),
            ([1, 2, 3], "part_mismatch"),
        ],
    )
    def test_only_the_whole_is_put_together(self, aws: Settings, named: list[int], code: str) -> None:
        upload = begin(aws)
        sent = {1: send(aws, upload, 1, PART), 2: send(aws, upload, 2, b"end")}
        never = {"PartNumber": 3, "ETag": '"0"'}

        assert refused(aws, upload, [sent.get(number, never) for number in named]) == (400, code)
        assert len(arrived(aws, upload)) == 2

    def test_a_gap_is_a_piece_of_the_file_that_is_missing(self, aws: Settings) -> None:
        upload = begin(aws)
        parts = [send(aws, upload, 1, PART), send(aws, upload, 3, b"end")]

        with pytest.raises(BadRequest, match="part 2 is missing"):
            complete(aws, upload, parts)

    def test_all_parts_but_the_last_have_s3s_least_size(self, aws: Settings) -> None:
        upload = begin(aws)
        parts = [send(aws, upload, number, body) for number, body in ((1, PART), (2, PART[1:]), (3, b"end"))]

        with pytest.raises(BadRequest, match="part 2 is too small") as caught:
            complete(aws, upload, parts)
        assert caught.value.code == "part_too_small"

    def test_together_they_are_no_more_than_the_deployment_takes(self, aws: Settings) -> None:
        upload = begin(aws)
        parts = [send(aws, upload, 1, PART), send(aws, upload, 2, b"end")]
        total = len(PART) + 3

        with pytest.raises(PayloadTooLarge, match=str(total - 1)) as caught:
            complete(replace(aws, max_upload_bytes=total - 1), upload, parts)
        assert caught.value.code == "too_large"
        assert complete(replace(aws, max_upload_bytes=total), upload, parts)

    def test_who_had_no_answer_asks_again_and_has_it(self, aws: Settings) -> None:
        upload = begin(aws, filename="film.mp4")
        parts = [send(aws, upload, 1, PART), send(aws, upload, 2, b"end")]
        first = complete(aws, upload, parts)

        assert complete(aws, upload, parts) == first
        assert refused(aws, upload, parts[:1]) == (404, "upload_not_found")
        assert refused(aws, upload, [*parts[:1], {"PartNumber": 2, "ETag": "ä"}]) == (404, "upload_not_found")
        with pytest.raises(NotFound):
            complete(aws, upload, parts, owner="bob")

    def test_that_the_job_has_been_done_meanwhile_changes_nothing(
        self, aws: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flow = Flow(aws, monkeypatch)
        upload = begin(aws, filename="notes.txt")
        part = send(aws, upload, 1, b"some text")
        first = complete(aws, upload, [part])
        etag = flow.s3.head_object(Bucket=aws.bucket, Key=upload["key"])["ETag"].strip('"')
        flow.intake(flow.event_of(upload["key"], etag, len(b"some text")))
        flow.consume()
        assert list(flow.objects("uploads/")) == []

        assert complete(aws, upload, [part]) == first

    @pytest.mark.parametrize(
        ("theirs", "status", "ours"),
        [
            ("NoSuchUpload", 404, "upload_not_found"),
            ("InvalidPart", 400, "part_mismatch"),
            ("InvalidPartOrder", 400, "parts_out_of_order"),
            ("EntityTooSmall", 400, "part_too_small"),
            ("EntityTooLarge", 400, "too_large"),
        ],
    )
    def test_what_s3_finds_first_is_told_in_our_words(
        self, settings: Settings, theirs: str, status: int, ours: str
    ) -> None:
        """Between the listing and the completion another client may have had its way."""
        with racing(theirs) as upload:
            assert refused(settings, upload, [{"PartNumber": 1, "ETag": "e"}]) == (status, ours)

    def test_a_failure_of_ours_is_not_the_clients(self, settings: Settings) -> None:
        with racing("AccessDenied") as upload, pytest.raises(ClientError, match="AccessDenied"):
            complete(settings, upload, [{"PartNumber": 1, "ETag": "e"}])


class TestAbort:
    def test_nothing_is_left(self, aws: Settings) -> None:
        upload = begin(aws)
        send(aws, upload, 1, b"some")

        assert multipart.abort(aws, "alice", upload["uploadId"], upload["key"]) == {}

        assert clients.s3().list_multipart_uploads(Bucket=aws.bucket).get("Uploads", []) == []
        with pytest.raises(NotFound):
            multipart.abort(aws, "alice", upload["uploadId"], upload["key"])
        with pytest.raises(NotFound):
            arrived(aws, upload)
