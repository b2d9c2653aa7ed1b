"""The worker as a process of its own: what runs in the container, without one."""

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.stack import LocalStack
from tests.stack.heavy import (
    Worker,
    at_work,
    configure,
    eager_stack,
    executions,
    held,
    kill,
    nudge,
    slow_table,
    start,
    waiting,
)
from tests.stack.test_least_privilege import without
from tests.stack.user import User, eventually
from tests.unit import recordings
from tests.unit.test_template import FARGATE, Stack

KiB = 1024
MiB = 1024 * KiB


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with eager_stack(tmp_path_factory.mktemp("worker")) as running:
        yield running


@pytest.fixture
def user(stack: LocalStack) -> User:
    return User(stack)


@pytest.fixture
def worker(stack: LocalStack, tmp_path: Path) -> Worker:
    return Worker(stack, tmp_path)


def test_its_exit_status_and_the_ledger_say_how_it_went(user: User, worker: Worker) -> None:
    body = slow_table(rows=50)
    with waiting(user, body, filename="table.csv") as signed:
        status, said = worker.run("_", signed["jobId"], "1")
        assert (status, worker.leftovers(), worker.decoders()) == (0, [], []), said
        assert signed["jobId"] in said
        assert "table.csv" not in said

        # It is done however often it is asked, and another run's worker has no business here.
        assert worker.run("_", signed["jobId"], "1")[0] == 0
        assert worker.run("_", signed["jobId"], "2")[0] == 0
        assert user.job(signed["jobId"])["status"] == "PROCESSING"

    job = user.ended(signed["jobId"])
    assert (job["status"], job["metadata"]["rows"]) == ("COMPLETED", 50)


def broken_index() -> bytes:
    """An MP4 whose table of places points behind its end."""
    film = bytearray(recordings.recording("mp4", seconds=2.0))
    places = film.index(b"stco")
    for place in range(places + 12, places + 12 + 4 * int.from_bytes(film[places + 8 : places + 12]), 4):
        film[place : place + 4] = b"\x7f\xff\xff\xff"
    return bytes(film)


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n" + "#EXTINF:9,\nfile:///etc/passwd\n" * 64
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.mp4": (lambda: recordings.recording("mp4", seconds=2.0)[:-1000], "corrupt_media"),
    "broken index.mp4": (broken_index, "corrupt_media"),
    "text.mp4": (lambda: b"No film at all.\n" * 128, ""),
    "silence.aac": (lambda: recordings.silence(8 * 3600), "too_long"),
    "list.m3u8": (PLAYLIST.encode, ""),
}
"""Name to content, and the code with which it is refused; what is text is worked on as what it is."""


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_recording_leaves_nothing_behind(user: User, worker: Worker, name: str) -> None:
    make, code = BAD[name]
    with waiting(user, make(), filename=name) as signed:
        status, said = worker.run("_", signed["jobId"], "1")
        assert (status, worker.leftovers(), worker.decoders()) == (0, [], []), said

    job = user.ended(signed["jobId"])
    assert job.get("error", {}).get("code", "") == code
    assert job["status"] == ("REJECTED" if code else "COMPLETED")
    if not code:
        assert job["detectedType"].startswith("text/")
        (text,) = (user.object(output["key"]) for output in job["outputs"])
        assert b"root:" not in text


def test_it_is_told_its_job_as_a_container_is(user: User, worker: Worker) -> None:
    with waiting(user, b"\x89PNG\r\n\x1a\n" + bytes(4 * KiB), filename="photo.png") as signed:
        status, said = worker.run(WAYBILL_OWNER="_", WAYBILL_JOB_ID=signed["jobId"], WAYBILL_RUN="1")
        assert status == 0, said

    assert user.ended(signed["jobId"])["status"] == "REJECTED"


def test_a_try_that_failed_asks_for_another(user: User, worker: Worker) -> None:
    with waiting(user, bytes(4 * KiB), filename="much.bin") as signed:
        status, said = worker.run("_", signed["jobId"], "1", AWS_SECRET_ACCESS_KEY="wrong")
        assert status == 75, said

    assert user.ended(signed["jobId"])["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("arguments", "env", "status", "words"),
    [
        ([], {}, 64, "usage: python -m worker OWNER JOB_ID RUN"),
        (["_", "a-job", "first"], {}, 64, "usage"),
        (["_", "a-job", "1"], {"BUCKET_NAME": ""}, 78, "BUCKET_NAME is not set"),
    ],
)
def test_what_no_other_try_can_help_is_said(
    worker: Worker, arguments: list[str], env: dict[str, str], status: int, words: str
) -> None:
    answered, said = worker.run(*arguments, **env)

    assert answered == status
    assert words in said


def test_a_worker_that_is_stopped_leaves_nothing_behind_and_its_job_goes_on(
    user: User, worker: Worker
) -> None:
    body = slow_table()
    with waiting(user, body, filename="table.csv") as signed, worker.started("_", signed["jobId"], "1") as at:
        at_work(user, signed["jobId"])
        eventually(worker.decoders, "the file is being decoded")
        at.send_signal(signal.SIGTERM)
        assert at.wait(30) == 128 + signal.SIGTERM
        assert (worker.leftovers(), worker.decoders()) == ([], [])
        assert user.job(signed["jobId"])["stage"] == "waiting"

    assert user.ended(signed["jobId"])["status"] == "COMPLETED"


def test_a_worker_that_is_killed_leaves_no_process_and_its_job_goes_on(user: User, worker: Worker) -> None:
    with (
        waiting(user, slow_table(), filename="table.csv") as signed,
        worker.started("_", signed["jobId"], "1") as at,
    ):
        at_work(user, signed["jobId"])
        eventually(worker.decoders, "the file is being decoded")
        kill(at.pid)
        eventually(lambda: worker.decoders() == [], "its decoder is gone as well")

    assert user.ended(signed["jobId"])["status"] == "COMPLETED"


# --- Fargate ------------------------------------------------------------------------------------------------


@pytest.fixture
def on_fargate(stack: LocalStack) -> Iterator[None]:
    """The state machine as it is under Worker=fargate, where a task's end is whatever a test case says."""
    states, arn = stack.client("stepfunctions"), stack.outputs["StateMachineArn"]
    definition = states.describe_state_machine(stateMachineArn=arn)["definition"]
    resolved = Stack(Stage="local", **FARGATE).resources["StateMachine"]["DefinitionString"]
    states.update_state_machine(stateMachineArn=arn, definition=resolved)
    machine = {
        "StateMachines": {
            arn.rsplit(":", 1)[-1]: {
                "TestCases": {
                    "Stopped": {"Detect": "goes-on", "Process": "stopped"},
                    "Lost": {"Process": "lost"},
                }
            }
        },
        "MockedResponses": {
            "goes-on": {"0": {"Return": {"next": "on"}}},
            "stopped": {"0": {"Return": {"Containers": [{"Name": "worker", "ExitCode": 0}]}}},
            "lost": {"0": {"Throw": {"Error": "States.TaskFailed", "Cause": "Essential container exited"}}},
        },
    }
    configure(stack, {"stepfunctions._sfn_mock_config": machine})
    yield
    configure(stack, {"stepfunctions._sfn_mock_config": {}})
    states.update_state_machine(stateMachineArn=arn, definition=definition)


@pytest.mark.usefixtures("on_fargate")
def test_a_container_that_has_done_its_work_is_followed_by_the_end(user: User, worker: Worker) -> None:
    with waiting(user, slow_table(rows=70), filename="table.csv") as signed:
        assert worker.run("_", signed["jobId"], "1")[0] == 0
        start(user.stack, "Stopped", signed["jobId"])
        job = user.ended(signed["jobId"])

    assert (job["status"], job["metadata"]["rows"]) == ("COMPLETED", 70)
    eventually(lambda: executions(user.stack, signed["jobId"]) == {"1": "SUCCEEDED"}, "the execution ended")


@pytest.mark.usefixtures("on_fargate")
def test_a_container_that_fails_every_time_ends_the_job(user: User) -> None:
    with waiting(user, bytes(4 * KiB), filename="much.bin") as signed:
        start(user.stack, "Lost", signed["jobId"])
        job = user.ended(signed["jobId"])

    assert (job["status"], job["error"]["code"]) == ("FAILED", "worker_lost")
    eventually(lambda: executions(user.stack, signed["jobId"]) == {"1": "FAILED"}, "the execution has failed")


@pytest.mark.usefixtures("on_fargate")
def test_a_container_that_says_it_is_done_and_has_left_nothing_is_not_believed(user: User) -> None:
    with waiting(user, bytes(4 * KiB), filename="much.bin") as signed:
        start(user.stack, "Stopped", signed["jobId"])
        job = user.ended(signed["jobId"])

    assert (job["status"], job["error"]["code"]) == ("FAILED", "worker_lost")


# --- Memory -------------------------------------------------------------------------------------------------


def peak(worker: Worker, job_id: str) -> int:
    """The most memory that the worker has held for a job (VmHWM, proc_pid_status(5)), in MiB."""
    most = 0
    with worker.started("_", job_id, "1") as at:
        status = Path(f"/proc/{at.pid}/status")
        while at.poll() is None:
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            except OSError:
                break
            most = max(most, int(found[1]) // KiB if found else 0)
            time.sleep(0.02)
        assert at.wait() == 0
    return most


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
@pytest.mark.parametrize(
    "size",
    [
        2 * MiB,
        pytest.param(
            2048 * MiB,
            marks=pytest.mark.skipif(
                not os.environ.get("WAYBILL_LARGE_UPLOAD"), reason="WAYBILL_LARGE_UPLOAD is not set"
            ),
        ),
    ],
)
def test_memory_does_not_grow_with_the_file(
    stack: LocalStack, worker: Worker, figure: Callable[[str], None], size: int
) -> None:
    user = User(stack)
    if shutil.disk_usage(tempfile.gettempdir()).free < 4 * size:
        pytest.skip(f"needs {4 * size // MiB:,} MiB of disk")
    with without(stack, "consume", "states:StartExecution"):
        signed = user.presign(filename="much.bin")
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            stack.client("s3").upload_fileobj(file, user.bucket, signed["s3Key"])
        held(user, signed["jobId"])
        begun = time.monotonic()
        most = peak(worker, signed["jobId"])
        figure(f"worker, {size // MiB:,} MiB of family other: {most} MiB, {time.monotonic() - begun:.1f} s")
    nudge(user, signed["jobId"])
    assert user.ended(signed["jobId"])["status"] == "COMPLETED"
    assert most < 150
