"""`python -m ops upload`, as its user meets it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ops import tokens
from ops.stack import LocalStack
from ops.state import CHECKOUT
from ops.transfer import PART_BYTES, Note, Source
from tests.stack.user import User, eventually, http_call

MiB = 1024 * 1024

# A shell starts what runs in its background with Ctrl-C ignored, and that is inherited.
OPS = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("ops", run_name="__main__", alter_sys=True)
"""


def command(
    stack: LocalStack, state: Path, *arguments: str | Path, **variables: str
) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("WAYBILL_")}
    return subprocess.Popen(
        [sys.executable, "-c", OPS, "upload", *map(str, arguments)],
        cwd=CHECKOUT,
        env={**env, "WAYBILL_API": stack.api_url, "XDG_STATE_HOME": str(state), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def upload(stack: LocalStack, state: Path, *arguments: str | Path, **variables: str) -> tuple[int, str, str]:
    process = command(stack, state, *arguments, **variables)
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def large_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for number in range(-(-size // MiB)):
            file.write(bytes([number % 251]) * min(MiB, size - number * MiB))
    return path


@contextmanager
def slow_api(stack: LocalStack, last: int) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """An API that passes on everything, but not what asks it to sign a part beyond `last`: that it keeps.

    Yields its URL, an event after which it keeps such a request no longer and drops it, and one after which
    it passes on all.
    """
    dropping, willing = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            part = re.match(r"/s3/multipart/[^/]+/(\d+)\?", self.path)
            if part and int(part[1]) > last and not willing.is_set():
                dropping.wait()
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name != "Host"}
            answer = http_call(self.command, stack.api_url + self.path, body or None, kept)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("connection", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", dropping, willing
        finally:
            dropping.set()
            server.shutdown()
            thread.join()


def job_of(line: str) -> str:
    found = re.search(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", line)
    assert found, line
    return found[0]


def test_several_files_at_once_small_and_in_parts(stack: LocalStack, tmp_path: Path) -> None:
    small = tmp_path / "Fête 100% + [bold]café 🎉.txt"
    small.write_text("hello\n")
    large = large_file(tmp_path / "large.bin", 2 * PART_BYTES + 5)

    code, stdout, stderr = upload(
        stack, tmp_path, small, large, "--watch", "--multipart-above", str(PART_BYTES)
    )

    assert (code, stderr) == (0, ""), stdout
    assert re.search(r"^ +text\.txt  text/plain; charset=utf-8  6 bytes$", stdout, re.M)
    user = User(stack)
    for path in (small, large):
        (line,) = (line for line in stdout.splitlines() if path.name in line)
        assert line.startswith("COMPLETED")
        job = user.job(job_of(line))
        assert job["filename"] == path.name
        assert user.object(job["key"]) == path.read_bytes()
        kept = stack.client("s3").head_object(Bucket=user.bucket, Key=job["key"], ChecksumMode="ENABLED")
        assert "ChecksumSHA256" in kept
    assert not list((tmp_path / "waybill" / "uploads").glob("*"))


def test_without_watch_it_prints_the_job_s_id(stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")

    code, stdout, _ = upload(stack, tmp_path, tmp_path / "a.txt")

    assert (code, stdout.split()[0]) == (0, "UPLOADED")
    assert User(stack).ended(job_of(stdout))["status"] == "COMPLETED"


def test_one_file_that_fails_does_not_stop_the_others_and_shows_in_the_exit_status(
    stack: LocalStack, tmp_path: Path
) -> None:
    for name, text in (("good.json", '{"id": 1}'), ("broken.json", '{"id": }'), ("empty.txt", "")):
        (tmp_path / name).write_text(text)
    names = ("good.json", "broken.json", "empty.txt", "absent.txt")

    code, stdout, _ = upload(stack, tmp_path, *(tmp_path / name for name in names), "--watch")

    assert code == 1
    lines = [line for line in stdout.splitlines() if line[0] != " "]
    said = {name: next(line for line in lines if f"/{name}" in line) for name in names}
    assert said["good.json"].startswith("COMPLETED")
    assert said["broken.json"].startswith("REJECTED")
    assert "invalid_json" in said["broken.json"]
    assert said["empty.txt"].startswith("NOT SENT")
    assert said["absent.txt"].startswith("NOT SENT")
    assert "No such file" in said["absent.txt"]


def test_after_ctrl_c_the_same_command_goes_on(stack: LocalStack, tmp_path: Path) -> None:
    """A part that had arrived is swapped for another of its size: only if it is not sent again, it stays."""
    large = large_file(tmp_path / "large.bin", 4 * PART_BYTES)
    s3, user = stack.client("s3"), User(stack)

    def begun() -> Any:
        noted = [json.loads(note.read_text()) for note in tmp_path.glob("waybill/uploads/*.json")]
        return noted and arrived(noted[0]) and noted[0]

    def arrived(noted: dict[str, Any]) -> list[int]:
        listed = s3.list_parts(Bucket=user.bucket, Key=noted["key"], UploadId=noted["uploadId"])
        return [part["PartNumber"] for part in listed.get("Parts", [])]

    with slow_api(stack, last=2) as (api, dropping, willing):
        arguments = (large, "--watch", "--jobs", "1", "--multipart-above", "1", "--api", api)
        first = command(stack, tmp_path, *arguments)
        noted = eventually(begun, "a part has arrived")
        first.send_signal(signal.SIGINT)
        dropping.set()
        stdout, stderr = first.communicate(timeout=60)
        assert (first.returncode, stdout) == (130, "")
        assert stderr == "Interrupted. The same command goes on where this one stopped.\n"
        assert set(arrived(noted)) <= {1, 2}
        swapped = b"\0x" * (PART_BYTES // 2)
        s3.upload_part(
            Bucket=user.bucket, Key=noted["key"], UploadId=noted["uploadId"], PartNumber=1, Body=swapped
        )
        willing.set()

        code, stdout, stderr = upload(stack, tmp_path, *arguments)

    assert (code, stderr) == (0, ""), stdout
    assert job_of(stdout) == noted["jobId"]
    whole = user.object(user.job(noted["jobId"])["key"])
    assert whole[:PART_BYTES] == swapped
    assert whole[PART_BYTES:] == large.read_bytes()[PART_BYTES:]
    assert not list(tmp_path.glob("waybill/uploads/*"))


def test_an_upload_that_was_given_up_on_the_server_begins_anew(stack: LocalStack, tmp_path: Path) -> None:
    large = large_file(tmp_path / "large.bin", PART_BYTES + 1)
    arguments = (large, "--multipart-above", "1")
    notes = tmp_path / "waybill" / "uploads"
    user = User(stack)
    begun = user.call("POST", "/s3/multipart", {"filename": "large.bin"}).json

    note = Note.of(notes, stack.api_url, Source.look(large))
    note.write({**begun, "partBytes": PART_BYTES})
    stack.client("s3").abort_multipart_upload(
        Bucket=user.bucket, Key=begun["key"], UploadId=begun["uploadId"]
    )

    code, stdout, _ = upload(stack, tmp_path, *arguments)

    assert code == 0
    assert job_of(stdout) != begun["jobId"]
    assert user.ended(job_of(stdout))["size"] == PART_BYTES + 1


@pytest.mark.parametrize("token", [None, "not.a.token"])
def test_without_a_good_token_it_says_what_is_missing(
    guarded_stack: LocalStack, tmp_path: Path, token: str | None
) -> None:
    (tmp_path / "a.txt").write_text("hello")

    code, stdout, stderr = upload(
        guarded_stack, tmp_path, tmp_path / "a.txt", **({"WAYBILL_TOKEN": token} if token else {})
    )

    assert (code, stderr) == (1, "")
    assert stdout.startswith("NOT SENT")
    assert ("token_invalid" if token else "token_missing") in stdout


def test_with_a_token_files_arrive_under_their_owner(guarded_stack: LocalStack, tmp_path: Path) -> None:
    secret = tokens.find_secret(guarded_stack.state_dir, {})
    assert secret
    token = tokens.make("uma", secret)
    (tmp_path / "a.txt").write_text("hello")
    large = large_file(tmp_path / "large.bin", PART_BYTES + 1)

    code, stdout, _ = upload(
        guarded_stack,
        tmp_path,
        *(tmp_path / "a.txt", large, "--watch", "--multipart-above", str(MiB)),
        WAYBILL_TOKEN=token,
    )

    assert code == 0
    jobs = User(guarded_stack, token=token).all_jobs()
    assert {job["jobId"] for job in jobs} == {job_of(line) for line in stdout.splitlines() if line[0] != " "}
    assert all(job["owner"] == "uma" for job in jobs)


def test_an_api_that_is_no_url_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    done = subprocess.run(
        [sys.executable, "-m", "ops", "upload", str(tmp_path / "a.txt"), "--api", "ftp://127.0.0.1"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "--api" in done.stderr
