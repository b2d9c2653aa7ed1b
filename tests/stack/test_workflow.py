"""Heavy work as its user sees it: the whole way through the state machine, and what may happen on it."""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.heavy import (
    at_work,
    eager_stack,
    executions,
    held,
    item_of,
    kill,
    nudge,
    process_function,
    slow_table,
)
from tests.stack.test_least_privilege import without
from tests.stack.user import User, eventually, http_call, subscribed
from tests.unit.recordings import recording

KiB = 1024


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with eager_stack(tmp_path_factory.mktemp("heavy")) as running:
        yield running


@pytest.fixture
def user(stack: LocalStack) -> User:
    return User(stack)


def ended_well(user: User, signed: Any, body: bytes) -> Any:
    job = user.ended(signed["jobId"])
    assert (job["status"], job["stage"], job["progress"]) == ("COMPLETED", "finished", 100), job
    assert user.object(job["key"]) == body
    eventually(lambda: user.keys(signed["s3Key"]) == [], "its open object is gone")
    assert "verdict" not in item_of(user, signed["jobId"])
    return job


def test_a_heavy_file_is_completed_like_a_light_one(user: User, stack: LocalStack) -> None:
    body = bytes(range(256)) * 2048
    with subscribed(stack, "heavy-ends") as published:
        signed = user.upload(body, filename="much.bin")
        job = ended_well(user, signed, body)
        assert job["metadata"] == {"sha256": hashlib.sha256(body).hexdigest()}
        assert executions(stack, signed["jobId"]).keys() == {"1"}
        assert [event["data"]["jobId"] for event in published()] == [signed["jobId"]]


def test_a_heavy_table_and_heavy_events_get_what_light_ones_get(user: User) -> None:
    table = slow_table(rows=50)
    entries = [{"id": f"heavy-{n}", "total": 1.10} for n in range(100)]
    events = json.dumps(entries).encode()

    of_table = ended_well(user, user.upload(table, filename="table.csv"), table)
    of_events = ended_well(user, user.upload(events, filename="events.json"), events)

    assert (of_table["metadata"]["rows"], [o["name"] for o in of_table["outputs"]]) == (50, ["sample.json"])
    assert of_events["detectedType"] == "application/json"
    assert {item["pk"]["S"] for item in user.items("EventsTable")} >= {e["id"] for e in entries}


def test_sound_and_films_are_heavy_whatever_their_size(user: User) -> None:
    film = recording("mp4", seconds=2.0)
    words = (CHECKOUT / "tests" / "files" / "speech" / "harbor.flac").read_bytes()

    of_film = ended_well(user, user.upload(film, filename="film.mp4"), film)
    of_words = ended_well(user, user.upload(words, filename="words.flac"), words)

    assert {"video.mp4", "poster.jpg"} <= {output["name"] for output in of_film["outputs"]}
    assert of_film["metadata"]["duration"] == pytest.approx(2.0, abs=0.2)
    assert {"audio.m4a", "waveform.png", "transcript.txt"} <= {o["name"] for o in of_words["outputs"]}
    (text,) = (o["key"] for o in of_words["outputs"] if o["name"] == "transcript.txt")
    assert b"harbor" in user.object(text)


def test_a_light_file_starts_no_execution(user: User, stack: LocalStack) -> None:
    signed = user.upload(b"light", filename="light.txt")

    assert user.ended(signed["jobId"])["status"] == "COMPLETED"
    assert executions(stack, signed["jobId"]) == {}


def test_a_bad_file_is_rejected_with_its_reason(user: User, stack: LocalStack) -> None:
    signed = user.upload(b"\x89PNG\r\n\x1a\n" + bytes(4 * KiB), filename="photo.png")

    job = user.ended(signed["jobId"])

    assert (job["status"], job["error"]["code"]) == ("REJECTED", "corrupt_image"), job
    assert job["key"].startswith("rejected/")
    eventually(lambda: executions(stack, signed["jobId"]) == {"1": "SUCCEEDED"}, "the execution has ended")


def test_a_step_that_fails_is_tried_again(user: User, stack: LocalStack) -> None:
    body = bytes(4 * KiB)
    with without(stack, "process", "s3:PutObject"):
        signed = user.upload(body, filename="much.bin")
        eventually(lambda: "error" in (user.job(signed["jobId"]) or {}), "a try has failed")

    assert ended_well(user, signed, body)["attempts"] == 1


def test_a_step_that_fails_every_time_ends_the_job(user: User, stack: LocalStack) -> None:
    with without(stack, "process", "s3:PutObject"):
        signed = user.upload(bytes(5 * KiB), filename="much.bin")
        job = user.ended(signed["jobId"])

    assert (job["status"], job["error"]["code"]) == ("FAILED", "processing_failed")
    assert job["key"].startswith("failed/")
    eventually(lambda: executions(stack, signed["jobId"]) == {"1": "FAILED"}, "the execution has failed")

    assert user.retry(signed["jobId"]).status == 200
    assert eventually(
        lambda: (job := user.job(signed["jobId"])) and job["status"] == "COMPLETED", "the retry has ended"
    )
    assert executions(stack, signed["jobId"]).keys() == {"1", "2"}


def test_a_message_that_comes_again_starts_nothing_twice(user: User, stack: LocalStack) -> None:
    body = slow_table()
    before = messages_of(stack)
    signed = user.upload(body, filename="table.csv")
    held(user, signed["jobId"])
    for _ in range(3):
        nudge(user, signed["jobId"])

    assert ended_well(user, signed, body)["attempts"] == 1
    assert executions(stack, signed["jobId"]).keys() == {"1"}
    eventually(lambda: messages_of(stack) <= before, "no message is left")


def messages_of(stack: LocalStack) -> int:
    """In the jobs queue, out with a worker or not; other tests may have left some that come again later."""
    counts = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["QueueUrl"], AttributeNames=["All"]
    )["Attributes"]
    return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])


def test_a_worker_that_is_killed_is_followed_by_another(user: User, stack: LocalStack) -> None:
    body = slow_table()
    signed = user.upload(body, filename="table.csv")
    at_work(user, signed["jobId"])
    kill(*eventually(lambda: process_function(stack), "the worker runs"))

    ended_well(user, signed, body)


def test_progress_is_shown_while_it_is_made(user: User) -> None:
    body = slow_table()
    signed = user.upload(body, filename="table.csv")
    seen: list[tuple[str, int]] = []
    deadline = time.monotonic() + 60
    while (not seen or seen[-1][0] != "finished") and time.monotonic() < deadline:
        if job := user.job(signed["jobId"]):
            seen.append((job["stage"], job["progress"]))

    steps = [progress for _, progress in seen]
    assert steps == sorted(steps)
    assert {"processing", "finished"} <= {stage for stage, _ in seen}


def test_a_newer_upload_takes_over_from_work_on_the_older_one(user: User, stack: LocalStack) -> None:
    signed = user.upload(slow_table(), filename="table.csv")
    at_work(user, signed["jobId"])
    newer = slow_table(rows=60)
    assert http_call("PUT", signed["uploadUrl"], newer, signed["headers"]).status == 200

    def second_run() -> bool:
        item = item_of(user, signed["jobId"])
        return bool((item["run"]["N"], item["status"]["S"]) == ("2", "COMPLETED"))

    eventually(second_run, "the newer upload has been processed")
    eventually(
        lambda: executions(stack, signed["jobId"]) == {"1": "SUCCEEDED", "2": "SUCCEEDED"},
        "the older execution has stepped aside",
    )
    job = ended_well(user, signed, newer)
    assert job["metadata"]["rows"] == 60


def test_a_deletion_in_the_middle_leaves_nothing(user: User, stack: LocalStack) -> None:
    signed = user.upload(slow_table(), filename="table.csv")
    at_work(user, signed["jobId"])
    assert user.call("DELETE", f"/jobs/{signed['jobId']}").status == 204

    eventually(
        lambda: executions(stack, signed["jobId"]) == {"1": "SUCCEEDED"}, "the execution has stepped aside"
    )
    assert user.job(signed["jobId"]) is None
    assert [key for key in user.keys("") if signed["jobId"] in key] == []


def test_an_execution_that_was_stopped_ends_its_job_when_it_is_looked_for(
    user: User, stack: LocalStack
) -> None:
    signed = user.upload(slow_table(), filename="table.csv")
    item = held(user, signed["jobId"])
    arn = stack.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
    at_work(user, signed["jobId"])
    stack.client("stepfunctions").stop_execution(executionArn=f"{arn}:{item['lease']['S']}")
    nudge(user, signed["jobId"])

    job = user.ended(signed["jobId"])

    assert (job["status"], job["error"]["code"]) == ("FAILED", "worker_lost")
