"""All routes, two users: nobody gets to anything without a token, or to anything that is somebody else's.

The routes are read from the app. A new one is part of these tests by being there; where it takes an id of a
kind that is not known here yet, the test fails until `ABSENT` and `hers` have one.
"""

import importlib
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from chalice.test import Client, HTTPResponse

from chalicelib import clients
from chalicelib.jobs import Ending, Status, Upload
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings
from ops import tokens

SECRET = "a secret of the tests, which is long enough"

OPEN = {("GET", "/"), ("GET", "/health"), ("GET", "/openapi.json")}
"""What needs no token; beside these only refusals, which answer 405 to everybody."""

ABSENT = {
    "job_id": "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "name": "original",
    "webhook_id": "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "upload_id": "an-upload-that-never-was",
    "part_number": "1",
    "key": "uploads/nobody/01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071/a.txt",
    "etag": "d41d8cd98f00b204e9800998ecf8427e",
}
"""What fills a route's gaps with things that there are none of."""

QUERIES = {
    "/s3/multipart/{upload_id}": "key={key}",
    "/s3/multipart/{upload_id}/complete": "key={key}",
    "/s3/multipart/{upload_id}/batch": "key={key}&partNumbers=1",
    "/s3/multipart/{upload_id}/{part_number}": "key={key}",
}

BODIES = {
    "/s3/sign": {"method": "PUT", "key": "bobs.txt"},
    "/webhooks": {"url": "https://hooks.example.com/bob"},
    "/s3/multipart/{upload_id}/complete": {"parts": [{"PartNumber": 1, "ETag": "{etag}"}]},
}

Things = dict[str, str]


class Api:
    """The app under AUTH_MODE=jwt."""

    def __init__(self, app: Any, project_dir: str) -> None:
        self.app = app
        self._http = Client(app, project_dir=project_dir).http

    def __call__(self, user: str | None, method: str, path: str, body: Any = None) -> HTTPResponse:
        headers = {"Authorization": f"Bearer {tokens.make(user, SECRET)}"} if user else {}
        return self._http.request(method, path, headers=headers, body=json.dumps(body or {}).encode())

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every method and path that does something; a common mistake is answered 405 without a look."""
        declared = [(method, path) for path, methods in self.app.routes.items() for method in methods]
        return sorted(route for route in declared if self._does_something(*route))

    def _does_something(self, method: str, path: str) -> bool:
        return "/{" in path or self(None, method, path).status_code != 405


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook that is tested finds no host of that name."""

    def find(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", find)


@pytest.fixture
def api(env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, aws: Settings) -> Iterator[Api]:
    del env, aws
    from chalicelib import settings as settings_module

    monkeypatch.setenv("AUTH_MODE", "jwt")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    settings_module.get.cache_clear()
    sys.modules.pop("app", None)
    yield Api(importlib.import_module("app").app, str(tmp_path))
    sys.modules.pop("app", None)


@pytest.fixture
def hers(api: Api, aws: Settings) -> Callable[[], Things]:
    """Makes alice one thing of each kind, and says what fills the gaps of the routes to them."""

    def make() -> Things:
        signed = api("alice", "POST", "/presign", {"filename": "alices.txt"}).json_body
        _fail(aws, signed)
        hook = _webhook(api)
        begun = api("alice", "POST", "/s3/multipart", {"filename": "alices.bin"}).json_body
        part = clients.s3().upload_part(
            Bucket=aws.bucket, Key=begun["key"], UploadId=begun["uploadId"], PartNumber=1, Body=b"hers"
        )
        return {
            "job_id": signed["jobId"],
            "name": "original",
            "webhook_id": hook["id"],
            "upload_id": begun["uploadId"],
            "part_number": "1",
            "key": begun["key"],
            "etag": part["ETag"].strip('"'),
        }

    return make


def _webhook(api: Api) -> Any:
    """The one that she has; she may not have many."""
    listed = api("alice", "GET", "/webhooks").json_body["webhooks"]
    if listed:
        return listed[0]
    return api("alice", "POST", "/webhooks", {"url": "https://hooks.example.com/alice"}).json_body


def _fail(settings: Settings, signed: Any) -> None:
    """Alice's job, ended FAILED: one that can be downloaded from, retried and deleted."""
    key = signed["s3Key"].replace(settings.upload_prefix, settings.failed_prefix, 1)
    put = clients.s3().put_object(Bucket=settings.bucket, Key=key, Body=b"hers")
    etag = put["ETag"].strip('"')
    ledger = open_ledger(settings)
    arrived = "2026-05-04T12:00:00Z"
    ledger.record(Upload("alice", signed["jobId"], signed["s3Key"], "alices.txt", etag, 4, arrived, "01"))
    _, job = ledger.claim("alice", signed["jobId"], etag)
    assert job is not None
    ledger.finish(job, Ending(Status.FAILED, key, error={"code": "c", "message": "m"}))


def call(api: Api, user: str | None, method: str, path: str, things: Things) -> HTTPResponse:
    """A route, its gaps filled with these things."""

    def fill(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: quote(things[found[1]], safe=""), text)

    query = f"?{fill(QUERIES[path])}" if path in QUERIES else ""
    body = json.loads(json.dumps(BODIES.get(path, {})).replace("{etag}", things["etag"]))
    return api(user, method, fill(path) + query, body)


def test_without_a_token_only_the_open_routes_answer(api: Api) -> None:
    for method, path in api.routes:
        answer = call(api, None, method, path, ABSENT)

        if (method, path) in OPEN:
            assert answer.status_code == 200, (method, path)
        else:
            assert (answer.status_code, answer.json_body["error"]) == (401, "token_missing"), (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_what_is_somebody_else_s_is_as_if_it_were_not_there(api: Api, hers: Callable[[], Things]) -> None:
    with_gaps = [(method, path) for method, path in api.routes if "{" in path]
    assert with_gaps
    for method, path in with_gaps:
        things = hers()
        foreign = call(api, "bob", method, path, things)
        absent = call(api, "bob", method, path, ABSENT)

        assert (foreign.status_code, absent.status_code) == (404, 404), (method, path)
        assert foreign.json_body == absent.json_body
        assert call(api, "alice", method, path, things).status_code < 400, (method, path)


def test_nothing_of_hers_is_in_any_of_his_answers(api: Api, hers: Callable[[], Things]) -> None:
    things = hers()
    secrets = ["alice", *(things[name] for name in ("job_id", "webhook_id", "upload_id", "key"))]
    for method, path in api.routes:
        if "{" not in path:
            answer = call(api, "bob", method, path, ABSENT)

            assert answer.status_code < 300, (method, path, answer.body)
            assert not [secret for secret in secrets if secret in answer.body.decode()]


def test_each_lists_their_own(api: Api, hers: Callable[[], Things]) -> None:
    things = hers()
    for user, jobs, hooks in (("alice", [things["job_id"]], [things["webhook_id"]]), ("bob", [], [])):
        assert [job["jobId"] for job in api(user, "GET", "/jobs").json_body["jobs"]] == jobs
        listed = api(user, "GET", "/webhooks").json_body["webhooks"]
        assert [webhook["id"] for webhook in listed] == hooks


def test_a_key_is_signed_under_its_owner(api: Api) -> None:
    assert api("bob", "POST", "/presign").json_body["s3Key"].startswith("uploads/bob/")
    assert api("../alice", "POST", "/presign").json_body["s3Key"].startswith("uploads/=2E.=2Falice/")
    assert api("_", "POST", "/presign").json_body["s3Key"].startswith("uploads/=5F/")


def test_a_refused_token_has_the_one_error_shape(api: Api) -> None:
    answer = api._http.request("GET", "/jobs", headers={"Authorization": "Bearer gar.ba.ge"})

    assert answer.status_code == 401
    assert answer.json_body.keys() == {"error", "message"}
    assert answer.json_body["error"] == "token_invalid"
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
