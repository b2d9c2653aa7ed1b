"""What the routes answer: entity tags, counts, and the arguments that they hand on."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chalice.test import Client, HTTPResponse

from chalicelib import clients, listings, partition
from chalicelib.jobs import Ending, Status
from chalicelib.ledger import open_ledger
from chalicelib.settings import Settings
from tests.unit.flow import upload_at

JOB_ID = "01936b2e-7c1a-7d3e-8f00-0123456789ab"
Call = Callable[..., HTTPResponse]


@pytest.fixture
def call(aws: Settings, tmp_path: Path) -> Iterator[Call]:
    del aws
    sys.modules.pop("app", None)
    # A directory without a configuration: a stage's variables would replace those of the test.
    http = Client(importlib.import_module("app").app, project_dir=str(tmp_path)).http

    def request(method: str, path: str, **headers: str) -> HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http.request(method, path, headers=named, body=b"")

    yield request
    sys.modules.pop("app", None)


def job_id(number: int) -> str:
    return f"01936b2e-7c1a-7d3e-8f00-{number:012x}"


def entered(settings: Settings, number: int = 0, owner: str = "_", size: int = 3) -> str:
    open_ledger(settings).record(upload_at(f"uploads/{owner}/{job_id(number)}/a.txt", size=size))
    return job_id(number)


def finished(settings: Settings, number: int, status: Status, size: int) -> None:
    ledger = open_ledger(settings)
    entered(settings, number, size=size)
    _, job = ledger.claim("_", job_id(number), "e1")
    assert job is not None
    ledger.finish(job, Ending(status, "k"))


class TestEtag:
    @pytest.mark.parametrize("path", ["/jobs", "/jobs/{}"])
    def test_a_client_that_has_the_answer_gets_no_body(self, aws: Settings, call: Call, path: str) -> None:
        path = path.format(entered(aws))
        first = call("GET", path)
        assert first.headers["Cache-Control"] == "private, no-cache"

        again = call("GET", path, If_None_Match=first.headers["ETag"])

        assert (again.status_code, again.body) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.headers["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize("path", ["/jobs", "/jobs/{}"])
    def test_a_job_that_has_moved_on_is_another_answer(self, aws: Settings, call: Call, path: str) -> None:
        path = path.format(entered(aws))
        first = call("GET", path)

        open_ledger(aws).claim("_", job_id(0), "e1")

        again = call("GET", path, If_None_Match=first.headers["ETag"])
        assert again.status_code == 200
        assert "PROCESSING" in again.body.decode()
        assert again.headers["ETag"] != first.headers["ETag"]

    def test_an_error_has_no_tag_and_is_never_not_modified(self, call: Call) -> None:
        answer = call("GET", f"/jobs/{JOB_ID}", If_None_Match="*")

        assert answer.status_code == 404
        assert "ETag" not in answer.headers


class TestStats:
    def test_jobs_and_bytes_are_counted_by_status(self, aws: Settings, call: Call) -> None:
        finished(aws, 1, Status.COMPLETED, 10)
        finished(aws, 2, Status.COMPLETED, 20)
        finished(aws, 3, Status.FAILED, 5)
        entered(aws, 4, size=7)
        entered(aws, 5, owner="alice", size=1000)

        stats = call("GET", "/stats").json_body

        none = {"jobs": 0, "bytes": 0}
        assert stats == {
            "total": {"jobs": 4, "bytes": 42},
            "byStatus": {
                "QUEUED": {"jobs": 1, "bytes": 7},
                "PROCESSING": none,
                "COMPLETED": {"jobs": 2, "bytes": 30},
                "REJECTED": none,
                "FAILED": {"jobs": 1, "bytes": 5},
            },
        }

    def test_a_deleted_job_counts_no_more(self, aws: Settings, call: Call) -> None:
        call("DELETE", f"/jobs/{entered(aws)}")

        assert call("GET", "/stats").json_body["total"] == {"jobs": 0, "bytes": 0}
        assert call("GET", "/jobs").json_body["jobs"] == []

    def test_it_reads_on_where_a_page_ends(self, aws: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(5):
            entered(aws, number, size=2)
        dynamodb = clients.dynamodb()
        query, seen = dynamodb.query, []

        def two_at_a_time(**given: Any) -> Any:
            seen.append(given)
            return query(**given, Limit=2)

        monkeypatch.setattr(dynamodb, "query", two_at_a_time)

        assert list(partition.sizes(aws, "_")) == [(Status.QUEUED, 2)] * 5
        assert len(seen) == 3
        assert "Scan" not in json.dumps(seen)


class TestLongLists:
    def test_a_page_ends_before_it_is_more_than_lambda_can_answer(
        self, aws: Settings, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listings, "MAX_BYTES", 1_000)
        for number in range(7):
            entered(aws, number)
        pages, cursor = [], ""
        while True:
            answer = call("GET", f"/jobs?limit=5{cursor}")
            pages.append([job["jobId"] for job in answer.json_body["jobs"]])
            if answer.json_body["cursor"] is None:
                break
            cursor = f"&cursor={answer.json_body['cursor']}"

        assert [one for page in pages for one in page] == [job_id(number) for number in reversed(range(7))]
        assert 1 < len(pages[0]) < 5

    def test_it_is_bytes_that_count(self, aws: Settings, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        """In most scripts, a character takes two or three of them."""
        monkeypatch.setattr(listings, "MAX_BYTES", 4_000)
        for number in range(20):
            key = f"uploads/_/{job_id(number)}/{'写真' * 25}.jpg"
            open_ledger(aws).record(upload_at(key))

        answer = call("GET", "/jobs")

        assert len(answer.json_body["jobs"]) > 1
        assert len(answer.body) < 4_200  # the jobs, and what is around them

    def test_a_job_that_is_too_large_by_itself_is_shown_all_the_same(
        self, aws: Settings, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listings, "MAX_BYTES", 10)
        entered(aws, 1)

        assert len(call("GET", "/jobs").json_body["jobs"]) == 1


class TestDeletedJobs:
    def test_a_page_is_filled_past_the_deleted_ones(self, aws: Settings, call: Call) -> None:
        for number in range(6):
            entered(aws, number)
        for number in (5, 4, 2):
            assert call("DELETE", f"/jobs/{job_id(number)}").status_code == 204

        page = call("GET", "/jobs?limit=2").json_body

        assert [job["jobId"] for job in page["jobs"]] == [job_id(3), job_id(1)]
        rest = call("GET", f"/jobs?limit=2&cursor={page['cursor']}").json_body
        assert [job["jobId"] for job in rest["jobs"]] == [job_id(0)]

    def test_deleted_is_no_status_to_ask_for(self, call: Call) -> None:
        assert call("GET", "/jobs?status=DELETED").status_code == 400
