"""What is declared is what S3 accepts: a lie about a file is refused as it is told, by PUT and by form."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from chalicelib import sigv4, sigv4_post
from ops.stack import LocalStack
from tests.stack.user import Answer, User, eventually, http_call, send_form, subscribed

BODY = b"a,b\n1,2\n"
DECLARED: dict[str, Any] = {
    "filename": "Fête + 100%.csv",
    "contentType": "text/csv",
    "size": len(BODY),
    "sha256": hashlib.sha256(BODY).hexdigest(),
    "metadata": {"order": "7"},
}
SAME_LENGTH = b"a,b\n1,3\n"

Signed = dict[str, Any]


def send(signed: Signed, body: bytes = BODY) -> Answer:
    if signed["method"] == "POST":
        return send_form(signed["uploadUrl"], signed["fields"], body)
    return http_call("PUT", signed["uploadUrl"], body, signed["headers"])


def saying(signed: Signed, name: str, value: str) -> Signed:
    """What was signed, with one header or field sent otherwise."""
    place = "fields" if signed["method"] == "POST" else "headers"
    assert name in signed[place]
    return {**signed, place: {**signed[place], name: value}}


def without(signed: Signed, name: str) -> Signed:
    place = "fields" if signed["method"] == "POST" else "headers"
    return {**signed, place: {n: v for n, v in signed[place].items() if n != name}}


def elsewhere(signed: Signed) -> Signed:
    """The same, for a key of somebody else's."""
    if signed["method"] == "POST":
        return saying(signed, "key", signed["s3Key"].replace("uploads/_/", "uploads/alice/"))
    return {**signed, "uploadUrl": signed["uploadUrl"].replace("/uploads/_/", "/uploads/alice/")}


def tampered(signed: Signed) -> Signed:
    """The same, with one digit of the signature changed."""

    def other(signature: str) -> str:
        return signature[:-1] + ("0" if signature[-1] != "0" else "1")

    if signed["method"] == "POST":
        return saying(signed, "x-amz-signature", other(signed["fields"]["x-amz-signature"]))
    return {**signed, "uploadUrl": other(signed["uploadUrl"])}


def extended(signed: Signed) -> Signed:
    """The same, as if it were good for a year."""
    if signed["method"] == "POST":
        policy = json.loads(base64.b64decode(signed["fields"]["policy"]))
        later = datetime.now(UTC) + timedelta(days=365)
        policy["expiration"] = later.strftime("%Y-%m-%dT%H:%M:%SZ")
        return saying(signed, "policy", base64.b64encode(json.dumps(policy).encode()).decode())
    parts = urlsplit(signed["uploadUrl"])
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    assert query["X-Amz-Expires"] == "900"
    query["X-Amz-Expires"] = "604800"
    return {**signed, "uploadUrl": parts._replace(query=urlencode(query, quote_via=quote)).geturl()}


LIES: dict[str, Callable[[Signed], Answer]] = {
    "longer": lambda signed: send(signed, BODY + b"3,4\n"),
    "shorter": lambda signed: send(signed, BODY[:-4]),
    "empty": lambda signed: send(signed, b""),
    "other bytes": lambda signed: send(signed, SAME_LENGTH),
    "other bytes and their checksum": lambda signed: send(
        saying(
            signed,
            "x-amz-checksum-sha256",
            base64.b64encode(hashlib.sha256(SAME_LENGTH).digest()).decode(),
        ),
        SAME_LENGTH,
    ),
    "no checksum": lambda signed: send(without(signed, "x-amz-checksum-sha256"), SAME_LENGTH),
    "other type": lambda signed: send(saying(signed, "Content-Type", "text/html")),
    "no type": lambda signed: send(without(signed, "Content-Type")),
    "other metadata": lambda signed: send(saying(signed, "x-amz-meta-order", "8")),
    "other key": lambda signed: send(elsewhere(signed)),
    "tampered signature": lambda signed: send(tampered(signed)),
    "extended": lambda signed: send(extended(signed)),
}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_the_truth_is_accepted(stack: LocalStack, method: str) -> None:
    user = User(stack)
    signed = user.presign(**DECLARED, method=method)

    answer = send(signed)

    assert answer.status == {"PUT": 200, "POST": 201}[method], answer.body
    assert answer.headers["ETag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
    job = user.ended(signed["jobId"])
    assert job["status"] == "COMPLETED"
    assert (job["filename"], job["contentType"], job["size"]) == ("Fête + 100%.csv", "text/csv", len(BODY))
    head = stack.client("s3").head_object(Bucket=user.bucket, Key=job["key"])
    assert head["Metadata"]["order"] == "7"
    assert job["declared"] == {"order": "7"}


def test_the_order_number_of_a_file_is_found_wherever_its_job_is_shown(stack: LocalStack) -> None:
    user = User(stack)
    with subscribed(stack, "orders") as take:
        signed = user.upload(BODY, filename="order.csv", metadata={"order": "7", "shop": "two words"})
        job = user.ended(signed["jobId"])
        event = eventually(
            lambda: next((one for one in take() if one["subject"] == signed["jobId"]), None), "it is told"
        )

    assert job["declared"] == {"order": "7", "shop": "two words"}
    assert event["data"]["declared"] == job["declared"]
    assert [one["declared"] for one in user.all_jobs() if one["jobId"] == job["jobId"]] == [job["declared"]]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_lie_is_refused_and_nothing_is_stored(stack: LocalStack, method: str, lie: str) -> None:
    user = User(stack)
    signed = user.presign(**DECLARED, method=method)

    answer = LIES[lie](signed)

    assert answer.status in (400, 403, 411), answer.body
    assert user.keys(f"uploads/_/{signed['jobId']}/") == []
    assert user.keys(f"uploads/alice/{signed['jobId']}/") == []
    assert user.job(signed["jobId"]) is None


@pytest.mark.parametrize("name", ["acl", "x-amz-meta-extra", "success_action_redirect", "tagging"])
def test_a_form_takes_no_field_beyond_those_that_were_signed(stack: LocalStack, name: str) -> None:
    user = User(stack)
    signed = user.presign(method="POST")

    answer = send_form(signed["uploadUrl"], {**signed["fields"], name: "public-read"}, BODY)

    assert answer.status == 403
    assert user.keys(signed["s3Key"]) == []


def test_a_form_of_which_nothing_was_declared_takes_any_file_but_an_empty_one(stack: LocalStack) -> None:
    user = User(stack)
    signed = user.presign(method="POST")

    assert send(signed, b"").status == 400
    assert send(signed, b"anything").status == 201
    assert user.ended(signed["jobId"])["status"] == "COMPLETED"


def test_an_expired_form_is_refused(stack: LocalStack) -> None:
    form = sigv4_post.presign_form(
        sigv4.bucket_location(stack.outputs["BucketName"], "us-east-1", stack.endpoint_url),
        stack.outputs["BucketName"],
        "uploads/_/late.txt",
        credentials=sigv4.Credentials("test", "test"),
        expires_in=60,
        size=(1, 100),
        now=datetime.now(UTC) - timedelta(seconds=70),
    )

    answer = send_form(form.url, form.fields, BODY)

    assert answer.status == 403
    assert b"expired" in answer.body.lower()


@pytest.mark.parametrize("door", ["chalice local", "API Gateway"])
def test_an_uploader_that_speaks_to_companion_gets_a_form(stack: LocalStack, door: str) -> None:
    """As Uppy asks for it: with the names of its own among the metadata, and in percent-encoding."""
    user = User(stack, stack.api_url if door == "chalice local" else stack.gateway_url)
    asked = {
        "filename": "Fête + 100%.csv",
        "type": "text/csv",
        "metadata[name]": "Fête + 100%.csv",
        "metadata[type]": "text/csv",
        "metadata[relativePath]": "null",
        "metadata[order]": "7 & 8",
    }

    answer = user.call("GET", f"/s3/params?{urlencode(asked)}")

    assert answer.status == 200, answer.body
    params = answer.json
    assert params["method"] == "POST"
    assert params["expires"] == 900
    assert params["fields"]["key"].endswith(f"/{params['jobId']}/Fête + 100%.csv")
    stored = send_form(params["url"], params["fields"], BODY)
    assert stored.status == 201, stored.body
    assert stored.headers["ETag"]
    assert quote(params["fields"]["key"].split("/")[2]) in stored.headers["Location"]
    job = user.ended(params["jobId"])
    assert (job["status"], job["filename"]) == ("COMPLETED", "Fête + 100%.csv")
    head = stack.client("s3").head_object(Bucket=user.bucket, Key=job["key"])
    assert head["Metadata"]["order"] == "7 & 8"
    assert job["declared"] == {"order": "7 & 8"}


@pytest.mark.parametrize(
    "query",
    [
        "filename=" + "x" * 5000,
        "type=nothing",
        "metadata=7",
        "metadata[",
        "metadata[]=7",
        "metadata[Order]=7",
        "metadata[waybill-etag]=7",
        "metadata[order]=café",
        "metadata[order]=" + "x" * 257,
        "size=5",
        "&".join(f"metadata[n{n}]=x" for n in range(21)),
    ],
)
def test_what_companion_is_asked_for_is_checked_as_for_presign(stack: LocalStack, query: str) -> None:
    answer = User(stack).call("GET", f"/s3/params?{quote(query, safe='=&')}")

    assert (answer.status, answer.json["error"]) == (400, "bad_request")
    assert answer.json["field"]
