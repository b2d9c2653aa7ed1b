"""Large files in parts, by the contract that Uppy's uploader has with Companion, against both front doors."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from chalicelib.settings import MiB
from ops.stack import LocalStack
from tests.stack.test_least_privilege import without
from tests.stack.user import Answer, User, eventually, http_call

PART = 5 * MiB
BODY = bytes(range(256)) * (12 * MiB // 256)  # two parts and a smaller one


class Uploader(User):
    """A user whose uploader sends files in parts."""

    def begin(self, **file: Any) -> Any:
        answer = self.call("POST", "/s3/multipart", file)
        assert answer.status == 200, answer.body
        return answer.json

    def path(self, upload: Any, more: str = "", **query: str) -> str:
        encoded = urlencode({"key": upload["key"], **query}, quote_via=quote)
        return f"/s3/multipart/{quote(upload['uploadId'], safe='')}{more}?{encoded}"

    def sign(self, upload: Any, number: int, body: bytes) -> Any:
        """A URL for a part with these bytes and no others."""
        sha256 = hashlib.sha256(body).hexdigest()
        answer = self.call("GET", self.path(upload, f"/{number}", sha256=sha256))
        assert answer.status == 200, answer.body
        return answer.json

    def send(self, upload: Any, number: int, body: bytes) -> str:
        """Send one part; its ETag, as S3 answered it."""
        signed = self.call("GET", self.path(upload, f"/{number}")).json
        put = http_call("PUT", signed["url"], body)
        assert put.status == 200, put.body
        return put.headers["ETag"]

    def parts(self, upload: Any) -> Any:
        answer = self.call("GET", self.path(upload))
        assert answer.status == 200, answer.body
        return answer.json

    def complete(self, upload: Any, parts: list[Any]) -> Answer:
        return self.call("POST", self.path(upload, "/complete"), {"parts": parts})

    def abort(self, upload: Any) -> Answer:
        return self.call("DELETE", self.path(upload))


@pytest.fixture(params=["chalice local", "API Gateway"])
def uploader(stack: LocalStack, request: pytest.FixtureRequest) -> Uploader:
    return Uploader(stack, stack.api_url if request.param == "chalice local" else stack.gateway_url)


def chunks(body: bytes) -> Iterator[tuple[int, bytes]]:
    for number, start in enumerate(range(0, len(body), PART), start=1):
        yield number, body[start : start + PART]


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.json["error"]) == (status, code), answer.body
    assert answer.json["message"].endswith(".")


def test_a_file_in_three_parts_becomes_a_completed_job(uploader: Uploader) -> None:
    upload = uploader.begin(
        filename="Fête + 100%.bin",
        type="application/octet-stream",
        size=len(BODY),
        metadata={"order": "7", "name": "é"},
    )
    assert upload["bucket"] == uploader.bucket
    etags = {number: uploader.send(upload, number, body) for number, body in chunks(BODY)}
    assert [(p["PartNumber"], p["ETag"], p["Size"]) for p in uploader.parts(upload)] == [
        (number, etags[number], len(body)) for number, body in chunks(BODY)
    ]

    # One of them as 6.x of the uploader sends it, without its quotes.
    named = [{"PartNumber": n, "ETag": etag.strip('"') if n == 2 else etag} for n, etag in etags.items()]
    done = uploader.complete(upload, named)

    assert done.status == 200, done.body
    assert done.json["key"] == upload["key"]
    assert done.json["bucket"] == uploader.bucket
    assert urlsplit(done.json["location"]).path == f"/{uploader.bucket}/" + quote(upload["key"])
    job = uploader.ended(upload["jobId"])
    assert job["status"] == "COMPLETED"
    assert (job["size"], job["filename"]) == (len(BODY), "Fête + 100%.bin")
    assert hashlib.sha256(uploader.object(job["key"])).digest() == hashlib.sha256(BODY).digest()
    head = uploader.stack.client("s3").head_object(Bucket=uploader.bucket, Key=job["key"])
    assert head["Metadata"].items() >= {"order": "7", "waybill-size": str(len(BODY))}.items()
    assert job["declared"] == {"order": "7"}
    assert done.json["statusUrl"].endswith(f"/jobs/{upload['jobId']}")
    eventually(lambda: not uploader.keys(upload["key"]), "it is no longer where it was put")


def test_a_part_that_is_signed_with_its_checksum_takes_no_other_bytes(uploader: Uploader) -> None:
    upload = uploader.begin(filename="checked.bin", checksum="SHA256")
    sent = dict(chunks(BODY))
    signed = uploader.sign(upload, 1, sent[1])
    other = uploader.sign(upload, 1, sent[3])["headers"]

    for body, headers, refusal in (
        (sent[1][:-1] + b"x", signed["headers"], (400, "BadDigest")),
        (sent[3], other, (403, "SignatureDoesNotMatch")),
        (sent[1], {}, (403, "SignatureDoesNotMatch")),
    ):
        put = http_call("PUT", signed["url"], body, headers)
        assert (put.status, put.body.decode().partition("<Code>")[2].partition("</Code>")[0]) == refusal
    assert uploader.parts(upload) == []

    for number, body in sent.items():
        signed = uploader.sign(upload, number, body)
        assert http_call("PUT", signed["url"], body, signed["headers"]).status == 200
    parts = uploader.parts(upload)
    assert [base64.b64decode(part["ChecksumSHA256"]) for part in parts] == [
        hashlib.sha256(body).digest() for body in sent.values()
    ]
    assert uploader.complete(upload, parts).status == 200
    job = uploader.ended(upload["jobId"])
    assert (job["status"], uploader.object(job["key"])) == ("COMPLETED", BODY)


def test_a_checksum_that_is_none_is_refused(uploader: Uploader) -> None:
    upload = {"uploadId": "any", "key": uploader.presign()["s3Key"]}

    for sha256 in ("", "0" * 63, "g" * 64, base64.b64encode(bytes(32)).decode()):
        assert_refused(uploader.call("GET", uploader.path(upload, "/1", sha256=sha256)), 400, "bad_request")
    assert_refused(uploader.call("POST", "/s3/multipart", {"checksum": "CRC32"}), 400, "bad_request")


def test_an_upload_goes_on_where_it_was_interrupted(uploader: Uploader) -> None:
    upload = uploader.begin(filename="resumed.bin")
    sent = dict(chunks(BODY))
    uploader.send(upload, 1, sent[1])
    uploader.send(upload, 3, sent[3])

    arrived = {part["PartNumber"] for part in uploader.parts(upload)}
    urls = uploader.call("GET", uploader.path(upload, "/batch", partNumbers="2")).json["presignedUrls"]
    for number in set(sent) - arrived:
        assert http_call("PUT", urls[str(number)], sent[number]).status == 200

    assert uploader.complete(upload, uploader.parts(upload)).status == 200
    job = uploader.ended(upload["jobId"])
    assert uploader.object(job["key"]) == BODY


def test_an_upload_that_is_given_up_leaves_nothing(uploader: Uploader) -> None:
    upload = uploader.begin(filename="given-up.bin")
    part = {"PartNumber": 1, "ETag": uploader.send(upload, 1, b"some")}

    answer = uploader.abort(upload)

    assert (answer.status, answer.json) == (200, {})
    assert_refused(uploader.abort(upload), 404, "upload_not_found")
    assert_refused(uploader.complete(upload, [part]), 404, "upload_not_found")
    assert_refused(uploader.call("GET", uploader.path(upload)), 404, "upload_not_found")
    assert uploader.keys(upload["key"]) == []
    assert uploader.job(upload["jobId"]) is None


def test_what_does_not_make_the_whole_file_is_not_put_together(uploader: Uploader) -> None:
    upload = uploader.begin(filename="whole.bin")
    one = {"PartNumber": 1, "ETag": uploader.send(upload, 1, bytes(PART))}
    two = {"PartNumber": 2, "ETag": uploader.send(upload, 2, b"the end")}
    never = {"PartNumber": 3, "ETag": one["ETag"]}

    assert_refused(uploader.complete(upload, [two, one]), 400, "parts_out_of_order")
    assert_refused(uploader.complete(upload, [one, one, two]), 400, "parts_out_of_order")
    assert_refused(uploader.complete(upload, [one]), 400, "parts_missing")
    assert_refused(uploader.complete(upload, [two]), 400, "parts_missing")
    assert_refused(uploader.complete(upload, [one, two, never]), 400, "part_mismatch")
    assert_refused(uploader.complete(upload, [one, {**two, "ETag": one["ETag"]}]), 400, "part_mismatch")
    no_parts: list[Any] = [[], "all", [{}], [{"PartNumber": 0, "ETag": "x"}]]
    for parts in [*no_parts, [{"PartNumber": 10_001, "ETag": "x"}]]:
        assert_refused(uploader.complete(upload, parts), 400, "bad_request")

    assert uploader.complete(upload, [one, two]).status == 200
    assert_refused(uploader.complete(upload, [two]), 404, "upload_not_found")
    assert uploader.ended(upload["jobId"])["status"] == "COMPLETED"


def test_who_had_no_answer_completes_it_again(uploader: Uploader) -> None:
    """Before its job has ended, and after it, when the file lies elsewhere."""
    upload = uploader.begin(filename="again.bin")
    parts = [{"PartNumber": 1, "ETag": uploader.send(upload, 1, b"all")}]
    first, second = (uploader.complete(upload, parts) for _ in range(2))
    job = uploader.ended(upload["jobId"])
    third = uploader.complete(upload, parts)

    assert [answer.status for answer in (first, second, third)] == [200, 200, 200]
    assert first.json == second.json == third.json
    assert (job["status"], uploader.job(upload["jobId"])) == ("COMPLETED", job)


def test_as_many_parts_as_there_can_be_are_named_in_one_request(uploader: Uploader) -> None:
    upload = {"uploadId": "any", "key": uploader.presign()["s3Key"]}
    parts = [{"PartNumber": number, "ETag": f'"{number:032x}"'} for number in range(1, 10_001)]

    assert_refused(uploader.complete(upload, parts), 404, "upload_not_found")
    assert_refused(uploader.complete(upload, [{**parts[0], "ETag": "x" * 2**21}]), 413, "payload_too_large")


def test_parts_that_s3_would_find_too_small_are_refused(uploader: Uploader) -> None:
    upload = uploader.begin(filename="small.bin")
    parts = [{"PartNumber": n, "ETag": uploader.send(upload, n, b"small")} for n in (1, 2)]

    assert_refused(uploader.complete(upload, parts), 400, "part_too_small")

    uploader.abort(upload)


@pytest.mark.parametrize("number", ["0", "10001", "-1", "1.5", "1e3", "abc", "%D9%A3", "9" * 400])
def test_there_are_parts_from_1_to_10000(uploader: Uploader, number: str) -> None:
    upload = {"uploadId": "any", "key": uploader.presign()["s3Key"]}

    assert_refused(uploader.call("GET", uploader.path(upload, f"/{number}")), 400, "bad_request")
    assert_refused(
        uploader.call("GET", uploader.path(upload, "/batch", partNumbers=f"1,{number}")), 400, "bad_request"
    )


def test_an_upload_belongs_to_its_key(uploader: Uploader) -> None:
    """S3 itself binds the two; the key says whose it is."""
    upload = uploader.begin(filename="mine.bin")
    other = {**upload, "key": uploader.presign()["s3Key"]}

    assert_refused(uploader.call("GET", uploader.path(other)), 404, "upload_not_found")
    assert_refused(uploader.complete(other, [{"PartNumber": 1, "ETag": "x"}]), 404, "upload_not_found")
    assert_refused(uploader.abort(other), 404, "upload_not_found")
    url = uploader.call("GET", uploader.path(other, "/1")).json["url"]
    assert http_call("PUT", url, b"astray").status == 404

    assert uploader.abort(upload).status == 200


@pytest.mark.parametrize(
    "upload_id",
    ["never-given-out", "a%2Bb%3D", "%25", "%00", "%F0%9F%98%80", "a b", "x" * 2000, ".%2E"],
)
def test_an_unknown_id_is_not_found_whatever_it_looks_like(uploader: Uploader, upload_id: str) -> None:
    query = urlencode({"key": uploader.presign()["s3Key"]}, quote_via=quote)
    path = f"/s3/multipart/{upload_id.replace(' ', '%20')}"

    assert_refused(uploader.call("GET", f"{path}?{query}"), 404, "upload_not_found")
    assert_refused(uploader.call("DELETE", f"{path}?{query}"), 404, "upload_not_found")
    parts = {"parts": [{"PartNumber": 1, "ETag": "x"}]}
    assert_refused(uploader.call("POST", f"{path}/complete?{query}", parts), 404, "upload_not_found")


@pytest.mark.parametrize(
    "key", ["../secret", "uploads/alice/{job}/a", "processed/_/{job}/a", "incoming/a.json", "", "x" * 1024]
)
def test_the_key_of_somebody_else_or_of_nothing_is_not_found(uploader: Uploader, key: str) -> None:
    upload = uploader.begin(filename="a")
    foreign = {**upload, "key": key.format(job=upload["jobId"])}

    for method, more in (("GET", ""), ("GET", "/1"), ("DELETE", "")):
        assert_refused(uploader.call(method, uploader.path(foreign, more)), 404, "upload_not_found")
    assert_refused(
        uploader.call("GET", uploader.path(foreign, "/batch", partNumbers="1")), 404, "upload_not_found"
    )
    assert_refused(uploader.complete(foreign, [{"PartNumber": 1, "ETag": "x"}]), 404, "upload_not_found")
    assert uploader.abort(upload).status == 200


def test_a_signed_part_is_for_its_own_number_alone(uploader: Uploader) -> None:
    upload = uploader.begin(filename="a")
    url = uploader.call("GET", uploader.path(upload, "/1")).json["url"]

    assert http_call("PUT", url.replace("partNumber=1", "partNumber=2"), b"x").status == 403
    assert http_call("GET", url).status == 403
    assert uploader.parts(upload) == []
    assert uploader.abort(upload).status == 200


def test_what_is_signed_one_by_one_with_a_size_takes_no_other_length(uploader: Uploader) -> None:
    upload = uploader.begin(filename="a")
    for wish in (
        {"method": "PUT", "key": "a.txt"},
        {"method": "PUT", "key": upload["key"], "uploadId": upload["uploadId"], "partNumber": 1},
    ):
        signed = uploader.call("POST", "/s3/sign", {**wish, "size": 5}).json
        assert http_call("PUT", signed["url"], b"longer", signed["headers"]).status == 403
        assert http_call("PUT", signed["url"], b"less", signed["headers"]).status == 403
        assert http_call("PUT", signed["url"], b"right", signed["headers"]).status == 200
    assert [part["Size"] for part in uploader.parts(upload)] == [5]
    uploader.abort(upload)


def test_pages_of_another_origin_may_call(uploader: Uploader) -> None:
    """A browser asks first, and reads an answer only when it may."""
    upload = uploader.begin(filename="a")
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "DELETE"}

    preflight = uploader.call("OPTIONS", uploader.path(upload), **asked)

    assert preflight.status in (200, 204)
    assert "DELETE" in preflight.headers["Access-Control-Allow-Methods"]
    for answer in (uploader.abort(upload), uploader.abort(upload)):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_the_api_may_list_and_abort_only_because_its_policy_says_so(stack: LocalStack) -> None:
    """The grants are needed, and enforced: without one the deployed handler fails and keeps why to itself."""
    uploader = Uploader(stack, stack.gateway_url)
    upload = uploader.begin(filename="a")
    policies = json.loads((stack.app_dir / ".chalice" / "policy-local-api_handler.json").read_text())
    assert any("s3:ListMultipartUploadParts" in s["Action"] for s in policies["Statement"])

    with without(stack, "api_handler", "s3:ListMultipartUploadParts"):
        assert uploader.call("GET", uploader.path(upload)).json["error"] == "internal_error"
    with without(stack, "api_handler", "s3:AbortMultipartUpload"):
        assert uploader.abort(upload).json["error"] == "internal_error"

    assert uploader.abort(upload).status == 200
