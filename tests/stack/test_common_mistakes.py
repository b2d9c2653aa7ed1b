"""The mistakes that people make first, as the README lists them: each meets an answer that helps."""

from datetime import UTC, datetime, timedelta

from chalicelib import sigv4
from ops.stack import LocalStack
from tests.stack.user import User, eventually, http_call


def test_posting_to_the_root_of_the_stage_says_where_to_post(stack: LocalStack) -> None:
    for api_url in (stack.api_url, stack.gateway_url):
        answer = http_call("POST", f"{api_url}/")

        assert answer.status == 405
        assert answer.json["error"] == "method_not_allowed"
        assert "/presign" in answer.json["message"]


def test_getting_presign_says_to_post(stack: LocalStack) -> None:
    for api_url in (stack.api_url, stack.gateway_url):
        answer = http_call("GET", f"{api_url}/presign")

        assert answer.status == 405
        assert answer.json["error"] == "method_not_allowed"
        assert "POST" in answer.json["message"]


def test_a_url_without_its_query_string_is_refused_by_s3(stack: LocalStack) -> None:
    url = User(stack).presign()["uploadUrl"]

    answer = http_call("PUT", url.split("?")[0], b"body")

    assert answer.status == 403
    assert b"AccessDenied" in answer.body


def test_an_expired_url_is_refused_by_s3_which_says_so(stack: LocalStack) -> None:
    url = sigv4.presign(
        "PUT",
        sigv4.bucket_location(stack.outputs["BucketName"], "us-east-1", stack.endpoint_url),
        "uploads/_/late.txt",
        credentials=sigv4.Credentials("test", "test"),
        expires_in=60,
        now=datetime.now(UTC) - timedelta(seconds=70),
    )

    answer = http_call("PUT", url, b"body")

    assert answer.status == 403
    assert b"expired" in answer.body.lower()


def test_a_moved_file_is_found_by_asking_for_its_job(stack: LocalStack) -> None:
    user = User(stack)
    signed = user.upload(b"where am I?")

    job = user.ended(signed["jobId"])

    eventually(lambda: not user.keys(signed["s3Key"]), "it is no longer where it was put")
    assert job["sourceKey"] == signed["s3Key"]
    assert user.object(job["key"]) == b"where am I?"
