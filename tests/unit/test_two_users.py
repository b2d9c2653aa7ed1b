"""All routes, two users: nobody gets to anything without a token, or to anything that is somebody else's.

The routes are read from the app. A new one is part of these tests by being there; where it takes an id of a
kind that is not known here yet, the test fails until `Owned` has one.
"""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from chalice.test import Client, HTTPResponse

from chalicelib.jobs import Upload
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings
from ops import tokens

SECRET = "a secret of the tests, which is long enough"

OPEN = {("GET", "/"), ("GET", "/health"), ("GET", "/openapi.json")}
"""What needs no token; beside these only refusals, which answer 405 to everybody."""

ABSENT = {
    "job_id": "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
    "webhook_id": "01912b3c-4d5e-7f60-8a1b-2c3d4e5f6071",
}
"""An id of each kind, of which there is none."""

BODIES: dict[tuple[str, str], Any] = {("POST", "/webhooks"): {"url": "https://hooks.example.com/bob"}}


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
def owned(api: Api, aws: Settings) -> dict[str, str]:
    """What alice has, one of each kind, by the name that routes give its id."""
    signed = api("alice", "POST", "/presign", {"filename": "alices.txt"}).json_body
    upload = Upload(
        "alice",
        signed["jobId"],
        signed["s3Key"],
        "alices.txt",
        "etag",
        5,
        "2026-05-04T12:00:00Z",
        "01",
    )
    open_ledger(aws).record(upload)
    webhook = api("alice", "POST", "/webhooks", {"url": "https://hooks.example.com/alice"}).json_body
    return {"job_id": signed["jobId"], "webhook_id": webhook["id"]}


def filled(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], path)


def test_without_a_token_only_the_open_routes_answer(api: Api) -> None:
    for method, path in api.routes:
        answer = api(None, method, filled(path, ABSENT), BODIES.get((method, path)))

        if (method, path) in OPEN:
            assert answer.status_code == 200, (method, path)
        else:
            assert (answer.status_code, answer.json_body["error"]) == (401, "token_missing"), (method, path)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_what_is_somebody_else_s_is_as_if_it_were_not_there(api: Api, owned: dict[str, str]) -> None:
    with_ids = [(method, path) for method, path in api.routes if "{" in path]
    assert with_ids
    for method, path in with_ids:
        foreign = api("bob", method, filled(path, owned))
        absent = api("bob", method, filled(path, ABSENT))

        assert (foreign.status_code, absent.status_code) == (404, 404), (method, path)
        assert foreign.json_body == absent.json_body
    for method, path in with_ids:
        assert api("alice", method, filled(path, owned)).status_code < 300, (method, path)


def test_nothing_of_hers_is_in_any_of_his_answers(api: Api, owned: dict[str, str]) -> None:
    for method, path in api.routes:
        if "{" not in path:
            answer = api("bob", method, path, BODIES.get((method, path)))

            assert answer.status_code < 300, (method, path, answer.body)
            assert not [thing for thing in (*owned.values(), "alice") if thing in answer.body.decode()]


def test_each_lists_their_own(api: Api, owned: dict[str, str]) -> None:
    for user, jobs, hooks in (("alice", [owned["job_id"]], [owned["webhook_id"]]), ("bob", [], [])):
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
