"""Files come out again: by signed URLs, never in a form that a browser would run."""

from collections.abc import Iterator
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from ops.stack import LocalStack
from tests.stack.user import Answer, User, http_call


@pytest.fixture(params=["chalice local", "API Gateway"])
def user(request: pytest.FixtureRequest, stack: LocalStack) -> User:
    return User(stack, stack.gateway_url if request.param == "API Gateway" else "")


def follow(user: User, job_id: str, name: str) -> Answer:
    """What S3 answers where the API sends a browser."""
    redirect = user.call("GET", f"/jobs/{job_id}/files/{quote(name)}")
    assert redirect.status == 302, redirect.body
    assert redirect.headers["X-Content-Type-Options"] == "nosniff"
    assert redirect.headers["Cache-Control"] == "no-store"
    return http_call("GET", redirect.headers["Location"])


def test_the_original_and_the_outputs_come_as_they_are(user: User) -> None:
    job = user.ended(user.upload(b"one\r\ntwo\r\n", filename="notes.txt")["jobId"])

    original, text = follow(user, job["jobId"], "original"), follow(user, job["jobId"], "text.txt")

    assert (original.status, original.body) == (200, b"one\r\ntwo\r\n")
    assert (text.status, text.body) == (200, b"one\ntwo\n")
    assert original.headers["Content-Type"] == "text/plain"
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert original.headers["Content-Disposition"].startswith('attachment; filename="notes.txt"')
    assert original.headers["Cache-Control"] == "no-store"


def test_a_client_that_takes_json_gets_the_url_in_json(user: User) -> None:
    job = user.ended(user.upload(b"bytes")["jobId"])

    answer = user.call(
        "GET", f"/jobs/{job['jobId']}/files/original", Accept="text/html;q=0.5, application/json"
    )

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["expiresIn"] == 300
    assert parse_qs(urlsplit(answer.json["url"]).query)["X-Amz-Expires"] == ["300"]
    assert http_call("GET", answer.json["url"]).body == b"bytes"


def test_a_rejected_file_can_be_had_back(user: User) -> None:
    job = user.ended(user.upload(b'{"id": }', filename="order.json")["jobId"])

    answer = follow(user, job["jobId"], "original")

    assert job["status"] == "REJECTED"
    assert answer.body == b'{"id": }'


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("page.html", b"<!doctype html><script>alert(1)</script>"),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
        ("feed.xml", b'<?xml version="1.0"?><a xmlns="http://www.w3.org/1999/xhtml"/>'),
    ],
)
def test_what_a_browser_would_run_comes_as_bytes_to_be_saved(user: User, name: str, body: bytes) -> None:
    job = user.ended(user.upload(body, filename=name, contentType="text/html")["jobId"])

    answer = follow(user, job["jobId"], "original")

    assert answer.body == body
    assert answer.headers["Content-Type"] in ("application/octet-stream", "text/plain")
    assert answer.headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Fête 🎉.txt", "F_te _.txt"),
        ('a"; filename="evil.exe', "a_; filename=_evil.exe"),
        ("a\r\nSet-Cookie: x=1\r\n\r\n.txt", "aSet-Cookie: x=1.txt"),
        ("100%41 sure.txt", "100_41 sure.txt"),
        ("\u202etxt.exe\u202c.txt", "txt.exe.txt"),
        ("semi;colon,comma'quote*.txt", "semi;colon,comma'quote*.txt"),
    ],
)
def test_a_name_stays_a_name_in_the_header(user: User, name: str, plain: str) -> None:
    job = user.ended(user.upload(b"x", filename=name)["jobId"])

    answer = follow(user, job["jobId"], "original")

    assert "Set-Cookie" not in answer.headers
    disposition = answer.headers["Content-Disposition"]
    quoted, encoded = disposition.removeprefix('attachment; filename="').split("\"; filename*=UTF-8''")
    assert quoted == plain
    assert unquote(encoded) == job["filename"]
    assert encoded.isascii()
    assert not set(encoded) & set(" \"\\;,'*()\r\n")


def test_a_download_cannot_be_bent_to_another_name_type_or_key(user: User) -> None:
    job = user.ended(user.upload(b"x", filename="a.html")["jobId"])
    url = user.call("GET", f"/jobs/{job['jobId']}/files/original", Accept="application/json").json["url"]

    for bent in (
        url.replace("octet-stream", "xhtml%2Bxml").replace("text%2Fplain", "text%2Fhtml"),
        url.replace("attachment", "inline"),
        url.replace("/a.html?", "/b.html?"),
    ):
        assert bent != url
        assert http_call("GET", bent).status == 403
    assert http_call("PUT", url, b"overwritten").status == 403


def no_such_files(user: User) -> Iterator[tuple[str, str]]:
    job = user.ended(user.upload(b"mine")["jobId"])
    yield "an unknown output", f"/jobs/{job['jobId']}/files/secret.txt"
    yield "an unknown job", "/jobs/01936b2e-7c1a-7d3e-8f00-0123456789ab/files/original"
    yield "no job's id", "/jobs/none/files/original"


def test_what_is_not_there_is_the_same_404_whatever_is_missing(user: User) -> None:
    answers = {what: user.call("GET", path) for what, path in no_such_files(user)}

    assert {what: answer.status for what, answer in answers.items()} == dict.fromkeys(answers, 404)
    assert len({answer.body for answer in answers.values()}) == 1
    assert answers["an unknown job"].json["error"] == "file_not_found"
