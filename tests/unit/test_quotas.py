"""What an owner may have open when another upload is signed: one read, and none when no quota is set."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chalice.test import Client

from chalicelib import deletion, keys, multipart, partition, quotas, retries, signing, uploads
from chalicelib import settings as settings_module
from chalicelib.errors import BadRequest, TooManyRequests
from chalicelib.jobs import Ending, Status
from chalicelib.ledger import Ledger
from chalicelib.settings import Settings
from tests.unit.flow import Flow, upload_at

OWNER = "alice"

SIGNERS: dict[str, Callable[[Settings, str], Any]] = {
    "/presign": lambda settings, owner: uploads.presign(settings, owner, {"size": 5}, ""),
    "/s3/params": lambda settings, owner: uploads.params(settings, owner, {}, ""),
    "/s3/multipart": lambda settings, owner: multipart.create(settings, owner, {"size": 5}, ""),
    "/s3/sign, a file": lambda settings, owner: signing.sign(settings, owner, {"method": "PUT", "key": "a"}),
    "/s3/sign, parts": lambda settings, owner: signing.sign(settings, owner, {"method": "POST", "key": "a"}),
}


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


def arrive(flow: Flow, *bodies: bytes, owner: str = OWNER) -> list[str]:
    """Files of an owner that nobody has worked on yet; their keys."""
    found = []
    for body in bodies:
        found.append(flow.new_key("a.txt", owner))
        flow.upload(found[-1], body)
    flow.calls.made.clear()
    return found


def open_sizes(flow: Flow, owner: str = OWNER) -> list[int]:
    return sorted(partition.open_sizes(flow.settings, owner, limit=None)[0])


@pytest.mark.parametrize("route", SIGNERS)
def test_by_default_nothing_is_asked(flow: Flow, route: str) -> None:
    arrive(flow, b"a", b"b")

    SIGNERS[route](flow.settings, OWNER)

    assert flow.calls.made == (["CreateMultipartUpload"] if route == "/s3/multipart" else [])


@pytest.mark.parametrize("route", SIGNERS)
def test_one_read_counts_and_too_many_jobs_are_told_when_to_come_again(flow: Flow, route: str) -> None:
    settings = replace(flow.settings, quota_open_jobs=2, quota_open_bytes=1000)
    arrive(flow, b"a")
    SIGNERS[route](settings, OWNER)
    assert flow.calls.made[:1] == ["Query"]
    assert flow.calls.count("Query") == 1

    arrive(flow, b"b")
    with pytest.raises(TooManyRequests) as refused:
        SIGNERS[route](settings, OWNER)

    assert flow.calls.made == ["Query"]
    assert (refused.value.status, refused.value.code) == (429, "too_many_open_jobs")
    assert int(refused.value.headers["Retry-After"]) > 0
    assert "GET /jobs" in refused.value.message
    SIGNERS[route](settings, "bob")


def test_bytes_are_those_of_the_open_jobs_and_of_the_upload_that_is_asked_for(flow: Flow) -> None:
    settings = replace(flow.settings, quota_open_bytes=10)
    arrive(flow, b"123", b"1234")

    quotas.admit(settings, OWNER, 3)
    quotas.admit(settings, OWNER, None)
    with pytest.raises(TooManyRequests) as refused:
        quotas.admit(settings, OWNER, 4)
    assert refused.value.code == "too_many_open_bytes"
    assert "7 bytes" in refused.value.message

    arrive(flow, b"123")
    with pytest.raises(TooManyRequests):  # what is not declared may be anything
        quotas.admit(settings, OWNER, None)


def test_a_file_that_would_never_fit_is_a_mistake_and_asks_nobody(flow: Flow) -> None:
    settings = replace(flow.settings, quota_open_bytes=10)
    flow.calls.made.clear()
    with pytest.raises(BadRequest, match="size"):
        uploads.presign(settings, OWNER, {"size": 11}, "")
    assert flow.calls.made == []


def test_ended_jobs_are_not_read_however_many_there_are(flow: Flow) -> None:
    keys_of_ended = arrive(flow, *[b"x"] * 12)
    while flow.messages():
        flow.consume(flow.messages()[:10])
    assert all(flow.job(key).status is Status.COMPLETED for key in keys_of_ended)
    arrive(flow, b"123")

    answer = flow._dynamodb.query(
        TableName=flow.settings.jobs_table,
        IndexName=partition.OPEN_JOBS,
        KeyConditionExpression="#owner = :owner",
        ExpressionAttributeNames={"#owner": "owner"},
        ExpressionAttributeValues={":owner": {"S": OWNER}},
    )

    assert (answer["ScannedCount"], open_sizes(flow)) == (1, [3])
    assert set(answer["Items"][0]) == {"owner", "jobId", "openSince", "size"}


def test_a_job_is_open_from_its_record_to_its_end_and_no_longer(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (deletion, retries):
        monkeypatch.setattr(module, "open_ledger", flow._open_ledger)
    monkeypatch.setattr(deletion, "CHECK_AFTER", 0)
    (key,) = arrive(flow, b"123")
    assert open_sizes(flow) == [3]
    ledger: Ledger = flow.ledger
    _, claimed = ledger.claim(OWNER, flow.job(key).job_id, flow.job(key).etag)
    assert claimed is not None
    ledger.release(claimed)
    assert open_sizes(flow) == [3]
    flow.consume()
    assert (flow.job(key).status, open_sizes(flow)) == (Status.COMPLETED, [])

    flow.clock.advance(5)
    flow.upload(key, b"12345")
    assert open_sizes(flow) == [5]
    deletion.delete(flow.settings, OWNER, flow.job(key).job_id)
    assert open_sizes(flow) == []


def test_a_job_that_is_opened_again_counts_again(flow: Flow) -> None:
    key = keys.upload_key(flow.settings, OWNER, keys.new_job_id(), "a.txt")
    upload = upload_at(key)
    job, _ = flow.ledger.record(upload)
    _, claimed = flow.ledger.claim(OWNER, job.job_id, job.etag)
    assert claimed is not None
    ended = flow.ledger.finish(claimed, Ending(status=Status.FAILED, key="failed/x"))
    assert (ended.open_since, open_sizes(flow)) == (None, [])

    assert flow.ledger.reopen(ended, upload) is not None

    assert open_sizes(flow) == [upload.size]


def test_more_jobs_than_one_read_shows_are_too_many(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "open_sizes", lambda *_, **__: ([1] * 1000, True))
    with pytest.raises(TooManyRequests) as refused:
        quotas.admit(replace(flow.settings, quota_open_bytes=10**9), OWNER, 1)
    assert refused.value.code == "too_many_open_jobs"


def test_the_answer_is_a_429_in_the_one_shape(
    aws: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUOTA_OPEN_JOBS", "1")
    settings_module.get.cache_clear()
    sys.modules.pop("app", None)
    app = importlib.import_module("app").app
    arrive(Flow(aws, monkeypatch), b"a", owner=keys.NOBODY)

    answer = Client(app, project_dir=str(tmp_path)).http.post("/presign", body=b"")

    sys.modules.pop("app", None)
    assert answer.status_code == 429
    assert answer.json_body.keys() == {"error", "message"}
    assert answer.json_body["error"] == "too_many_open_jobs"
    assert answer.headers["Retry-After"] == "30"
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
