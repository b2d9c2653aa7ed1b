"""HTTP from the outside: every answer in one shape, and the map of `app.py` as it is wired."""

import base64
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from chalice.config import Config
from chalice.local import LocalGateway
from chalice.test import Client, HTTPResponse

from chalicelib import api, intake, keys, listings, uploads
from chalicelib import settings as settings_module
from chalicelib.errors import SettingsError, Unavailable
from chalicelib.jobs import Ending, Status, Upload
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings
from chalicelib.webhooks import registry
from chalicelib.webhooks.sender import Outcome, Sender

ROOT = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}
HOOK = "https://hooks.example.com/waybill"


@pytest.fixture
def app(settings: Settings) -> Iterator[ModuleType]:
    """`app.py`, read anew under the test's environment, as its decorators take names from there."""
    del settings
    sys.modules.pop("app", None)
    yield importlib.import_module("app")
    sys.modules.pop("app", None)


class Api:
    """The app as `chalice local` serves it."""

    def __init__(self, app: ModuleType, project_dir: Path) -> None:
        # A directory without a configuration: a stage's variables would replace those of the test.
        self._http = Client(app.app, project_dir=str(project_dir)).http

    def __call__(
        self, method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._http.request(method, path, headers=headers or {}, body=raw)


@pytest.fixture
def call(app: ModuleType, tmp_path: Path) -> Api:
    return Api(app, tmp_path)


@pytest.fixture
def aws_call(aws: Settings, call: Api) -> Api:
    """With the resources behind it."""
    del aws
    return call


def assert_error(answer: HTTPResponse, status: int, code: str) -> str:
    """One shape for every error; what it says."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    body = answer.json_body
    assert body["error"] == code
    assert isinstance(body["message"], str)
    assert body["message"].endswith(".")
    assert "Traceback" not in answer.body.decode()
    assert set(body) <= {"error", "message", "field", "requestId"}
    return str(body["message"])


def gateway_event(
    method: str,
    path: str,
    *,
    resource: str | None = None,
    stage_path: str = "/api",
    body: str | None = None,
    is_base64: bool = False,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> dict[str, Any]:
    """As API Gateway sends it (Lambda Developer Guide, "Proxy integration", payload format 1.0)."""
    return {
        "resource": resource or path,
        "path": path,
        "httpMethod": method,
        "headers": {
            "Host": "abc123.execute-api.eu-central-1.amazonaws.com",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "203.0.113.7",
            **(headers or {}),
        },
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource or path,
            "httpMethod": method,
            "path": stage_path + path,
            "stage": "api",
            "requestId": "gateway-request-1",
            **context,
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


CONTEXT = SimpleNamespace(aws_request_id="lambda-request-1")


class TestPresign:
    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            (b"", {}),
            (b"", JSON),
            (b"", {"Content-Type": "application/x-www-form-urlencoded"}),
            (b" \r\n", JSON),
            (b"{}", JSON),
            (b"{}", {}),
            (b'{"filename": "file"}', {"Content-Type": "application/x-www-form-urlencoded"}),
            (b"{}", {"Content-Type": "text/plain"}),
            (b"{}", {"Content-Type": "application/octet-stream"}),
            (b"{}", {"Content-Type": "multipart/form-data; boundary=x"}),
            (b"\xef\xbb\xbf{}", JSON),
        ],
    )
    def test_a_body_may_be_missing_empty_or_called_anything(
        self, call: Api, body: bytes, headers: dict[str, str]
    ) -> None:
        answer = call("POST", "/presign", body, headers)

        assert answer.status_code == 200
        signed = answer.json_body
        assert urlsplit(signed["uploadUrl"]).path == "/" + signed["s3Key"]
        assert signed["s3Key"] == f"uploads/_/{signed['jobId']}/file"

    def test_the_url_can_be_cut_out_with_the_lab_s_own_means(self, call: Api) -> None:
        text = call("POST", "/presign").body.decode()

        found = re.search(r'"uploadUrl": ?"([^"]*)"', text)
        assert found is not None
        assert found[1] == json.loads(text)["uploadUrl"]
        assert "\\" not in found[1]

    def test_a_wish_is_granted(self, call: Api) -> None:
        answer = call("POST", "/presign", {"filename": "Fête 🎉.txt", "contentType": "text/plain", "size": 5})

        signed = answer.json_body
        assert answer.status_code == 200
        assert signed["s3Key"].endswith("/Fête 🎉.txt")
        assert quote("Fête 🎉.txt") in signed["uploadUrl"]
        assert signed["headers"] == {"Content-Type": "text/plain"}

    @pytest.mark.parametrize(
        "body",
        [
            b"hello",
            b"filename=a.txt",
            b"{",
            b'{"filename": "a"',
            b"{'filename': 'a'}",
            b'{"filename": "a"} x',
            b"NaN",
            b'{"size": NaN}',
            b'{"size": Infinity}',
            b"\xff\xfe\x00",
            b'{"filename": "\xe9"}',
            b'{"filename": "a\nb"}',
            b"\x00",
            b"[" * 60_000,
            b'{"a":' * 10_000,
            b'{"size": ' + b"9" * 10_000 + b"}",
        ],
    )
    def test_what_is_no_json_is_told_so(self, call: Api, body: bytes) -> None:
        said = assert_error(call("POST", "/presign", body, JSON), 400, "bad_json")

        assert "not JSON" in said

    @pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true", b"[{}]"])
    def test_what_is_no_object_is_told_so(self, call: Api, body: bytes) -> None:
        said = assert_error(call("POST", "/presign", body, JSON), 400, "bad_json")

        assert "object" in said

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"filename": 5}, "filename"),
            ({"filename": None}, "filename"),
            ({"contentType": "nonsense"}, "contentType"),
            ({"size": -1}, "size"),
            ({"size": 0}, "size"),
            ({"size": 1.5}, "size"),
            ({"size": True}, "size"),
            ({"size": "5"}, "size"),
            ({"size": 10**30}, "size"),
            ({"size": 5 * 1024**3 + 1}, "size"),
            ({"sha256": "abc"}, "sha256"),
            ({"metadata": {"Case": "x"}}, "metadata"),
            ({"metadata": {"a": 1}}, "metadata.a"),
            ({"metadata": {f"n{n}": "x" * 200 for n in range(10)}}, "metadata"),
            ({"method": "PATCH"}, "method"),
            ({"fileName": "a"}, "fileName"),
            ({"\ud800": 1}, "\ud800"),
        ],
    )
    def test_a_wrong_field_is_named(self, call: Api, body: dict[str, Any], field: str) -> None:
        answer = call("POST", "/presign", body, JSON)

        assert field in assert_error(answer, 400, "bad_request") or field == "\ud800"
        assert answer.json_body["field"] == field

    @pytest.mark.parametrize("size", [64 * 1024 + 1, 10_000_000])
    def test_a_file_sent_here_is_told_where_to_go(self, call: Api, size: int) -> None:
        said = assert_error(call("POST", "/presign", b"x" * size), 413, "payload_too_large")

        assert "uploadUrl" in said

    def test_a_body_just_within_the_limit_is_read(self, call: Api) -> None:
        body = b"{}" + b" " * (api.MAX_BODY_BYTES - 2)

        assert call("POST", "/presign", body).status_code == 200

    def test_a_query_is_not_taken(self, call: Api) -> None:
        answer = call("POST", "/presign?filename=a.txt")

        assert "'filename'" in assert_error(answer, 400, "bad_request")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (base64.b64encode(b'{"filename": "a.txt"}').decode(), 200),
            (base64.b64encode(b"not json").decode(), 400),
            ("a", 400),
            ("é", 400),
        ],
    )
    def test_a_body_that_api_gateway_has_encoded_is_decoded(
        self, app: ModuleType, body: str, status: int
    ) -> None:
        answer = app.app(gateway_event("POST", "/presign", body=body, is_base64=True), CONTEXT)

        assert answer["statusCode"] == status
        assert json.loads(answer["body"]).get("error") == (None if status == 200 else "bad_json")

    def test_nothing_is_written(self, aws: Settings, call: Api) -> None:
        signed = call("POST", "/presign", {"filename": "a.txt"}).json_body

        assert open_ledger(aws).find("_", signed["jobId"]) is None


class TestUrls:
    """`statusUrl`, and the hint at the root: where this API is, as the caller sees it."""

    @pytest.mark.parametrize(
        ("stage_path", "path", "headers", "expected"),
        [
            ("/api", "/presign", {}, "https://abc123.execute-api.eu-central-1.amazonaws.com/api"),
            ("/dev", "/presign", {}, "https://abc123.execute-api.eu-central-1.amazonaws.com/dev"),
            ("/api", "/presign/", {}, "https://abc123.execute-api.eu-central-1.amazonaws.com/api"),
            ("/presign", "/presign", {}, "https://abc123.execute-api.eu-central-1.amazonaws.com/presign"),
            ("", "/presign", {"Host": "files.example.com"}, "https://files.example.com"),
            ("/v1/files", "/presign", {"Host": "api.example.com"}, "https://api.example.com/v1/files"),
            ("", "/presign", {"X-Forwarded-Proto": "https, http", "Host": "h"}, "https://h"),
        ],
    )
    def test_behind_api_gateway_the_stage_is_part_of_it(
        self, app: ModuleType, stage_path: str, path: str, headers: dict[str, str], expected: str
    ) -> None:
        event = gateway_event("POST", path, resource="/presign", stage_path=stage_path, headers=headers)

        answer = app.app(event, CONTEXT)

        signed = json.loads(answer["body"])
        assert signed["statusUrl"] == f"{expected}/jobs/{signed['jobId']}"

    @pytest.mark.parametrize("path", ["/", ""])
    def test_the_hint_at_the_root_knows_the_stage(self, app: ModuleType, path: str) -> None:
        answer = app.app(gateway_event("POST", path, resource="/"), CONTEXT)

        assert answer["statusCode"] == 405
        expected = "https://abc123.execute-api.eu-central-1.amazonaws.com/api/presign"
        assert f" {expected} " in json.loads(answer["body"])["message"]

    def test_under_chalice_local_it_is_the_host_that_was_called(self, call: Api) -> None:
        signed = call("POST", "/presign", headers={"Host": "127.0.0.1:8000"}).json_body

        assert signed["statusUrl"] == f"http://127.0.0.1:8000/jobs/{signed['jobId']}"

    @pytest.mark.parametrize("public_url", ["https://files.example.com", "https://files.example.com/"])
    def test_a_configured_url_goes_before_all_that(
        self, app: ModuleType, monkeypatch: pytest.MonkeyPatch, public_url: str
    ) -> None:
        settings_module.get.cache_clear()
        monkeypatch.setenv("PUBLIC_URL", public_url)

        answer = app.app(gateway_event("POST", "/presign"), CONTEXT)

        signed = json.loads(answer["body"])
        assert signed["statusUrl"] == f"https://files.example.com/jobs/{signed['jobId']}"


class TestMistakes:
    @pytest.mark.parametrize("method", ["GET", "PUT"])
    @pytest.mark.parametrize("body", [b"", b"the file itself", b"x" * 100_000])
    def test_presign_is_posted_to(self, call: Api, method: str, body: bytes) -> None:
        answer = call(method, "/presign", body, {"Host": "api", "Content-Type": "image/png"})

        said = assert_error(answer, 405, "method_not_allowed")
        assert "curl -X POST http://api/presign" in said
        assert "PUT to the uploadUrl" in said
        assert answer.headers["Allow"] == "POST"

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    @pytest.mark.parametrize("body", [b"", b"{}", b"the file itself", b'{"nope": 1}', b"x" * 100_000])
    def test_the_root_says_where_to_post_whatever_was_sent(self, call: Api, method: str, body: bytes) -> None:
        answer = call(method, "/", body, {"Host": "api", "Content-Type": "text/plain"})

        assert "POST to http://api/presign" in assert_error(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"] == "GET"

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("DELETE", "/presign"),
            ("PATCH", "/presign"),
            ("DELETE", "/"),
            ("POST", "/jobs"),
            ("PATCH", "/jobs/1"),
            ("PUT", "/webhooks"),
            ("GET", "/webhooks/1"),
            ("POST", "/health"),
        ],
    )
    def test_any_other_wrong_method_has_the_same_shape(self, call: Api, method: str, path: str) -> None:
        answer = call(method, path)

        assert method in assert_error(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"]

    def test_a_media_type_that_chalice_refuses_has_the_same_shape(self, call: Api) -> None:
        answer = call("GET", "/jobs", headers={"Content-Type": "text/plain"})

        assert "text/plain" in assert_error(answer, 415, "unsupported_media_type")


class TestFailures:
    def test_what_is_unexpected_shows_an_id_and_the_log_has_the_rest_under_it(
        self, app: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("the very reason")

        monkeypatch.setattr(uploads, "presign", broken)

        answer = app.app(gateway_event("POST", "/presign"), CONTEXT)

        assert answer["statusCode"] == 500
        assert answer["headers"]["Access-Control-Allow-Origin"] == "*"
        body = json.loads(answer["body"])
        assert set(body) == {"error", "message", "requestId"}
        assert (body["error"], body["requestId"]) == ("internal_error", "gateway-request-1")
        for secret in ("the very reason", "ZeroDivisionError", "Traceback", ".py"):
            assert secret not in answer["body"]
        line, request = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (line["level"], line["event"]) == ("error", "request.failed")
        assert (line["requestId"], line["apiRequestId"]) == ("lambda-request-1", "gateway-request-1")
        assert line["route"] == "/presign"
        assert (request["event"], request["status"]) == ("request", 500)
        assert line["error"].startswith("ZeroDivisionError at ")
        assert "in broken" in "".join(line["trace"])

    def test_without_a_gateway_the_id_is_the_invocation_s(
        self, app: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(uploads, "presign", None)

        answer = app.app(gateway_event("POST", "/presign", requestId=None), CONTEXT)

        assert json.loads(answer["body"])["requestId"] == "lambda-request-1"

    def test_what_is_known_but_our_own_fault_is_logged_too(
        self, call: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def unavailable(*_: object) -> None:
            raise Unavailable("No AWS credentials: set AWS_PROFILE.", code="no_credentials")

        monkeypatch.setattr(uploads, "presign", unavailable)

        assert_error(call("POST", "/presign"), 503, "no_credentials")
        failed, request = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (failed["event"], failed["level"]) == ("request.failed", "error")
        assert (request["event"], request["status"], request["error"]) == ("request", 503, "no_credentials")

    def test_what_is_the_caller_s_fault_is_no_failure_and_the_log_shows_nothing_of_it(
        self, call: Api, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call("POST", "/presign", b"nonsense")

        out = capsys.readouterr().out
        line = json.loads(out)
        assert (line["event"], line["level"]) == ("request", "info")
        assert (line["status"], line["error"]) == (400, "bad_json")
        assert "nonsense" not in out

    def test_a_failure_outside_of_the_endpoints_has_the_same_shape(
        self, call: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: object) -> str:
            raise ZeroDivisionError

        monkeypatch.setattr(api, "base_url", broken)

        assert_error(call("GET", "/presign"), 500, "internal_error")

    def test_an_event_that_is_no_request_is_an_error_and_no_crash(self, app: ModuleType) -> None:
        answer = app.app({"unknown": True}, CONTEXT)

        assert answer["statusCode"] == 500
        assert json.loads(answer["body"])["error"] == "internal_error"

    def test_a_service_that_cannot_be_reached_shows_nothing_of_itself(
        self, call: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unreachable(*_: object) -> None:
            raise ConnectionError("https://dynamodb.eu-central-1.amazonaws.com refused")

        monkeypatch.setattr(listings, "page", unreachable)

        assert "amazonaws" not in assert_error(call("GET", "/jobs"), 500, "internal_error")


def record(settings: Settings, owner: str, number: int, status: Status = Status.QUEUED) -> str:
    """Enter a job, the later the higher its number; its id."""
    job_id = f"01912b3c-4d5e-7f60-8a1b-{number:012x}"
    ledger = open_ledger(settings)
    ledger.record(
        Upload(
            owner=owner,
            job_id=job_id,
            key=f"uploads/{owner}/{job_id}/{number}.txt",
            filename=f"{number}.txt",
            etag="etag",
            size=number,
            uploaded_at="2026-05-04T12:00:00.000Z",
            sequencer="01",
        )
    )
    if status.ended:
        _, job = ledger.claim(owner, job_id, "etag")
        assert job is not None
        ledger.finish(job, Ending(status=status, key=f"processed/{owner}/{job_id}/{number}.txt"))
    return job_id


class TestJobs:
    def test_without_any_the_list_is_empty(self, aws_call: Api) -> None:
        answer = aws_call("GET", "/jobs")

        assert (answer.status_code, answer.json_body) == (200, {"jobs": [], "cursor": None})

    def test_they_come_newest_first_in_pages(self, aws: Settings, call: Api) -> None:
        made = [record(aws, "_", number) for number in range(1, 8)]
        record(aws, "somebody-else", 99)

        seen: list[list[str]] = []
        query = "limit=3"
        while query and len(seen) < 5:
            answer = call("GET", f"/jobs?{query}")
            assert answer.status_code == 200
            seen.append([job["jobId"] for job in answer.json_body["jobs"]])
            cursor = answer.json_body["cursor"]
            query = f"limit=3&cursor={quote(cursor, safe='')}" if cursor else ""

        newest_first = made[::-1]
        assert seen == [newest_first[0:3], newest_first[3:6], newest_first[6:7]]

    def test_a_status_filters(self, aws: Settings, call: Api) -> None:
        done = [record(aws, "_", number, Status.COMPLETED) for number in (1, 3)]
        queued = record(aws, "_", 2)

        def ids(status: str) -> list[str]:
            return [job["jobId"] for job in call("GET", f"/jobs?status={status}").json_body["jobs"]]

        assert ids("COMPLETED") == done[::-1]
        assert ids("QUEUED") == [queued]
        assert ids("FAILED") == []

    def test_fifty_are_a_page_when_nobody_says_otherwise(self, aws: Settings, call: Api) -> None:
        for number in range(51):
            record(aws, "_", number)

        page = call("GET", "/jobs").json_body

        assert len(page["jobs"]) == 50
        assert page["cursor"]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"),
            ("limit=101", "limit"),
            ("limit=abc", "limit"),
            ("limit=", "limit"),
            ("limit=5&limit=x", "limit"),
            ("status=done", "status"),
            ("status=", "status"),
            ("cursor=" + "x" * 201, "cursor"),
            ("page=2", "page"),
        ],
    )
    def test_a_wrong_query_is_named(self, aws_call: Api, query: str, field: str) -> None:
        answer = aws_call("GET", f"/jobs?{query}")

        assert field in assert_error(answer, 400, "bad_request")
        assert answer.json_body["field"] == field

    @pytest.mark.parametrize("cursor", ["x", "%00", "AAAA", "bm9uc2Vuc2U", "é", "=", "🎉", "..%2F.."])
    def test_a_cursor_of_one_s_own_making_is_refused(self, aws_call: Api, cursor: str) -> None:
        answer = aws_call("GET", f"/jobs?cursor={cursor}")

        assert "cursor" in assert_error(answer, 400, "bad_cursor")

    def test_a_job_is_shown_as_the_ledger_has_it(self, aws: Settings, call: Api) -> None:
        job_id = record(aws, "_", 7)

        answer = call("GET", f"/jobs/{job_id}")

        assert answer.status_code == 200
        assert answer.json_body == open_ledger(aws).get("_", job_id).view()
        assert answer.json_body["status"] == "QUEUED"

    def test_what_is_not_one_s_own_or_not_there_or_no_id_is_the_same_404(
        self, aws: Settings, call: Api
    ) -> None:
        foreign = record(aws, "somebody-else", 1)

        answers = [
            call("GET", f"/jobs/{job_id}")
            for job_id in (foreign, keys.new_job_id(), "x", foreign.upper(), "%00", "..", "é", "a" * 5_000)
        ]

        for answer in answers:
            assert_error(answer, 404, "job_not_found")
        assert len({answer.body for answer in answers}) == 1
        assert len({json.dumps(answer.headers, sort_keys=True) for answer in answers}) == 1


class TestWebhooks:
    def test_one_is_registered_listed_and_removed(self, aws_call: Api) -> None:
        made = aws_call("POST", "/webhooks", {"url": HOOK, "types": ["waybill.job.failed"]})
        assert made.status_code == 201
        secret = made.json_body.pop("secret")
        assert secret.startswith("whsec_")

        listed = aws_call("GET", "/webhooks")
        assert listed.status_code == 200
        (shown,) = listed.json_body["webhooks"]
        assert shown["url"] == HOOK
        assert "secret" not in listed.body.decode()

        gone = aws_call("DELETE", f"/webhooks/{shown['id']}")
        assert (gone.status_code, gone.body) == (204, b"")
        assert gone.headers["Access-Control-Allow-Origin"] == "*"
        assert aws_call("GET", "/webhooks").json_body == {"webhooks": []}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            (b"", "url"),
            ({}, "url"),
            ({"url": 5}, "url"),
            ({"url": HOOK, "types": []}, "types"),
            ({"url": HOOK, "types": ["nope"]}, "types.0"),
            ({"url": HOOK, "secret": "mine"}, "secret"),
        ],
    )
    def test_a_wrong_field_is_named_and_nothing_is_registered(
        self, aws_call: Api, body: Any, field: str
    ) -> None:
        answer = aws_call("POST", "/webhooks", body)

        assert field in assert_error(answer, 400, "bad_request")
        assert answer.json_body["field"] == field
        assert aws_call("GET", "/webhooks").json_body == {"webhooks": []}

    def test_a_url_that_is_none_to_call_is_refused(self, aws_call: Api) -> None:
        answer = aws_call("POST", "/webhooks", {"url": "http://169.254.169.254/"})

        assert_error(answer, 400, "bad_url")

    def test_what_is_not_one_s_own_or_not_there_or_no_id_is_the_same_404(
        self, aws: Settings, call: Api
    ) -> None:
        foreign = registry.register(aws, "somebody-else", {"url": HOOK})["id"]

        ids = (foreign, "wh_" + "0" * 24, "x", "%00")
        answers = [call("DELETE", f"/webhooks/{webhook_id}") for webhook_id in ids]

        for answer in answers:
            assert_error(answer, 404, "webhook_not_found")
        assert len({answer.body for answer in answers}) == 1
        assert len(registry.listing(aws, "somebody-else")["webhooks"]) == 1

    def test_its_secret_is_rotated_and_shown_once(self, aws_call: Api) -> None:
        made = aws_call("POST", "/webhooks", {"url": HOOK}).json_body

        rotated = aws_call("POST", f"/webhooks/{made['id']}/rotate").json_body

        assert rotated.pop("secret") != made.pop("secret")
        assert rotated == made | {"previousSecretUntil": rotated["previousSecretUntil"]}
        assert aws_call("GET", "/webhooks").json_body == {"webhooks": [rotated]}

    def test_a_test_is_answered_with_its_outcome_and_logged(
        self, aws_call: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Sender, "post", lambda *_: Outcome(status=503))
        made = aws_call("POST", "/webhooks", {"url": HOOK}).json_body

        outcome = aws_call("POST", f"/webhooks/{made['id']}/test").json_body

        assert (outcome["delivered"], outcome["status"]) == (False, 503)
        logged = aws_call("GET", f"/webhooks/{made['id']}/deliveries?limit=1").json_body
        assert [entry["eventId"] for entry in logged["deliveries"]] == [outcome["eventId"]]

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=101", "limit=a", "status=COMPLETED", "cursor=" + "a" * 201]
    )
    def test_a_wrong_page_is_refused(self, aws_call: Api, query: str) -> None:
        made = aws_call("POST", "/webhooks", {"url": HOOK}).json_body

        answer = aws_call("GET", f"/webhooks/{made['id']}/deliveries?{query}")

        assert_error(answer, 400, "bad_request")

    @pytest.mark.parametrize(
        ("method", "what"), [("POST", "rotate"), ("POST", "enable"), ("POST", "test"), ("GET", "deliveries")]
    )
    def test_of_one_that_is_not_there_everything_is_404(self, aws_call: Api, method: str, what: str) -> None:
        for webhook_id in ("wh_" + "0" * 24, "x"):
            assert_error(aws_call(method, f"/webhooks/{webhook_id}/{what}"), 404, "webhook_not_found")


class TestOpenRoutes:
    def test_health_asks_nobody(self, call: Api) -> None:
        answer = call("GET", "/health")

        assert (answer.status_code, answer.json_body) == (200, {"status": "ok"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"

    def test_the_root_is_the_page_and_in_json_says_where_to_go(self, call: Api) -> None:
        page, index = call("GET", "/"), call("GET", "/", headers={"Accept": "application/json"})

        assert (page.status_code, index.status_code) == (200, 200)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "POST /presign" in index.json_body.values()


class TestCors:
    def test_a_preflight_to_any_route_is_answered_with_its_methods(self, app: ModuleType) -> None:
        gateway = LocalGateway(app.app, Config.create())
        for path, methods in app.app.routes.items():
            answer = gateway.handle_request("OPTIONS", path.replace("{", "").replace("}", ""), {}, b"")

            assert answer["statusCode"] == 200
            headers = answer["headers"]
            assert headers["Access-Control-Allow-Origin"] == "*"
            assert set(headers["Access-Control-Allow-Methods"].split(",")) == {*methods, "OPTIONS"}
            assert {"Authorization", "Content-Type", "If-None-Match"} <= set(
                headers["Access-Control-Allow-Headers"].split(",")
            )
            assert headers["Access-Control-Expose-Headers"] == "ETag,Location,Retry-After"

    def test_no_cookie_is_ever_asked_for(self, call: Api) -> None:
        assert "Access-Control-Allow-Credentials" not in call("POST", "/presign").headers


class TestTheMap:
    def test_every_event_has_its_handler(self, app: ModuleType, settings: Settings) -> None:
        sources = {source.name: vars(source) for source in app.app.event_sources}

        assert set(sources) == {
            "on_upload",
            "on_incoming",
            "on_scan",
            "consume",
            "notify",
            "deliver",
            "sweep",
        }
        for name, prefix, suffix in (("on_upload", "uploads/", None), ("on_incoming", "incoming/", ".json")):
            assert sources[name]["bucket"] == settings.bucket
            assert (sources[name]["prefix"], sources[name]["suffix"]) == (prefix, suffix)
            assert sources[name]["events"] == ["s3:ObjectCreated:*"]
        assert (sources["consume"]["queue"], sources["consume"]["batch_size"]) == ("waybill-test-jobs", 10)
        assert sources["notify"]["topic"] == settings.topic_arn
        assert (sources["deliver"]["queue"], sources["deliver"]["batch_size"]) == (
            "waybill-test-deliveries",
            10,
        )

    def test_every_record_of_an_s3_event_reaches_intake(
        self, app: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Chalice's own event object shows the first record only."""
        seen: list[Any] = []
        monkeypatch.setattr(intake, "on_objects_created", lambda *given: seen.append(given))
        client = Client(app.app, project_dir=str(tmp_path))
        event = client.events.generate_s3_event(settings.bucket, "uploads/a")
        event["Records"] *= 2

        for name in ("on_upload", "on_incoming"):
            client.lambda_.invoke(name, event)

        assert seen == [(settings, event)] * 2

    @pytest.mark.parametrize(
        ("module", "function", "handler"),
        [
            ("consumer", "consume", "consume"),
            ("fan_out", "notify", "notify"),
            ("deliveries", "deliver", "deliver"),
        ],
    )
    def test_messages_reach_their_modules_whole(
        self,
        app: ModuleType,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        module: str,
        function: str,
        handler: str,
    ) -> None:
        seen: list[Any] = []
        monkeypatch.setattr(getattr(app, module), function, lambda *given: seen.append(given[:2]))
        client = Client(app.app, project_dir=str(tmp_path))
        event = (
            client.events.generate_sns_event("message")
            if handler == "notify"
            else client.events.generate_sqs_event(["one", "two"])
        )

        client.lambda_.invoke(handler, event)

        assert seen == [(settings, event)]

    def test_the_schedule_gives_the_sweep_the_time_that_is_left(
        self, app: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []
        monkeypatch.setattr(app.sweeper, "sweep", lambda given, left: seen.append((given, left())))
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 12_500)
        event = {
            **{"version": "0", "account": "1", "region": "r", "detail": {}, "detail-type": "Scheduled Event"},
            **{"source": "aws.events", "time": "t", "id": "i", "resources": []},
        }

        app.sweep(event, context)

        assert seen == [(settings, 12.5)]

    def test_a_deployment_without_a_setting_does_not_start(
        self, app: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del app
        sys.modules.pop("app")
        settings_module.get.cache_clear()
        monkeypatch.delenv("TOPIC_ARN")

        with pytest.raises(SettingsError, match="TOPIC_ARN is not set"):
            importlib.import_module("app")

    def test_it_stays_a_map(self) -> None:
        assert len((ROOT / "app.py").read_text().splitlines()) < 238


WITHOUT_BOTO3 = """
import json, socket, sys

def no_network(*_, **__):
    raise AssertionError("the network was used")

socket.socket.connect = no_network
socket.getaddrinfo = no_network

import app

answers = [app.app(event, None) for event in json.load(sys.stdin)]
loaded = sorted(name for name in sys.modules if name.split(".")[0] in ("boto3", "botocore", "s3transfer"))
print(json.dumps({"statuses": [answer["statusCode"] for answer in answers], "loaded": loaded}))
"""


def test_signing_an_upload_imports_no_boto3_and_calls_nothing(env: dict[str, str]) -> None:
    """The hot path is a signature: an SDK would cost more than all the rest of a cold start."""
    whole = {"filename": "a.txt", "size": 5, "metadata": {"order": "7"}}
    asked = [
        ("POST", "/presign", None),
        ("POST", "/presign", whole),
        ("GET", "/s3/params", None),
        ("POST", "/s3/sign", {"method": "PUT", "key": "a.txt", "size": 5}),
        ("POST", "/s3/sign", {"method": "POST", "key": "a.txt"}),
    ]
    events = [
        gateway_event(method, path) | {"body": body and json.dumps(body)} for method, path, body in asked
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_BOTO3],
        cwd=ROOT,
        env={**os.environ, **env, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "PYTHONPATH": str(ROOT)},
        input=json.dumps(events),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stderr == ""
    assert json.loads(done.stdout.splitlines()[-1]) == {"statuses": [200] * 5, "loaded": []}
