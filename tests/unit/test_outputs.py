"""Outputs on their way into the bucket: side by side, from memory or from disk."""

import threading
from pathlib import Path
from typing import Any

import pytest

from chalicelib import outputs, storage
from chalicelib.jobs import Job
from chalicelib.processors import Output
from chalicelib.settings import Settings
from tests.unit.flow import Flow


@pytest.fixture
def flow(aws: Settings, monkeypatch: pytest.MonkeyPatch) -> Flow:
    return Flow(aws, monkeypatch)


@pytest.fixture
def job(flow: Flow) -> Job:
    key = flow.new_key("a.txt")
    flow.upload(key, b"a")
    return flow.job(key)


def replace_put(monkeypatch: pytest.MonkeyPatch, put: Any) -> None:
    monkeypatch.setattr(storage, "put_output", put)


def made(count: int) -> list[Output]:
    return [Output(f"{n}.txt", "text/plain", str(n).encode()) for n in range(count)]


def test_they_are_written_and_described_in_their_order(flow: Flow, job: Job, tmp_path: Path) -> None:
    (path := tmp_path / "b").write_bytes(b"from disk")
    there = [Output("a.txt", "text/plain", b"from memory"), Output("b.txt", "text/html", path)]
    folder = f"processed/_/{job.job_id}/outputs/"
    assert outputs.store(flow.settings, job, there) == [
        {"name": "a.txt", "contentType": "text/plain", "size": 11, "key": folder + "a.txt"},
        {"name": "b.txt", "contentType": "text/html", "size": 9, "key": folder + "b.txt"},
    ]
    assert flow.objects(folder) == {folder + "a.txt": b"from memory", folder + "b.txt": b"from disk"}


def test_none_is_nothing(flow: Flow, job: Job) -> None:
    assert outputs.store(flow.settings, job, []) == []


def test_more_than_there_are_writers_all_arrive(flow: Flow, job: Job) -> None:
    described = outputs.store(flow.settings, job, made(3 * outputs.WRITERS + 1))
    assert [output["name"] for output in described] == [f"{n}.txt" for n in range(3 * outputs.WRITERS + 1)]
    assert len(flow.objects("processed/")) == 3 * outputs.WRITERS + 1


def test_they_go_side_by_side(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(outputs.WRITERS, timeout=20)

    def put(_settings: Settings, _job: Any, output: Output) -> dict[str, Any]:
        meeting.wait()  # nobody gets on before all are here
        return {"name": output.name}

    replace_put(monkeypatch, put)
    job: Any = None
    assert len(outputs.store(settings, job, made(outputs.WRITERS))) == outputs.WRITERS


def test_when_one_fails_the_others_are_over_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files go when this raises: nobody may still be reading them."""
    begun, over = threading.Semaphore(0), threading.Event()
    at_work: list[str] = []

    def put(_settings: Settings, _job: Any, output: Output) -> dict[str, Any]:
        if output.name == "0.txt":
            begun.acquire()
            raise OSError("the very error")
        at_work.append(output.name)
        begun.release()
        over.wait(0.2)
        at_work.remove(output.name)
        return {}

    replace_put(monkeypatch, put)
    job: Any = None
    with pytest.raises(OSError, match="the very error"):
        outputs.store(settings, job, made(100))
    assert at_work == []


def test_a_link_is_not_followed(flow: Flow, job: Job, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    (link := tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        outputs.store(flow.settings, job, [Output("a.txt", "text/plain", link)])
    assert flow.objects("processed/") == {}
