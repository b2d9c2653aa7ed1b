"""2 GiB by the command line, with what both ends take of memory printed.

    WAYBILL_LARGE_UPLOAD=1 python -m pytest tests/stack/test_large_upload.py

It takes minutes and 8 GB of disk, so it is only run when asked for.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.stack import LocalStack
from ops.state import CHECKOUT
from tests.stack.user import User

MiB = 1024 * 1024
SIZE = 2048 * MiB
DISK_NEEDED = 4 * SIZE  # the file, its upload, and the copy that is made before the upload is deleted

pytestmark = [
    pytest.mark.skipif(not os.environ.get("WAYBILL_LARGE_UPLOAD"), reason="WAYBILL_LARGE_UPLOAD is not set"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc"),
]


class Peaks:
    """The most memory that each process has held (VmHWM, proc_pid_status(5)), in MB, by what it is."""

    def __init__(self, stack: LocalStack) -> None:
        self._state_dir = str(stack.state_dir / "aws")
        self.peaks: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peaks":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for process in Path("/proc").iterdir():
                try:
                    self._look(process)
                except (OSError, IndexError, ValueError):
                    continue  # it has ended, or is no process

    def _look(self, process: Path) -> None:
        command = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
        if name := self._name(command):
            found = re.search(r"VmHWM:\s+(\d+) kB", process.joinpath("status").read_text())
            # One that is just being born still has the memory of its parent, and its command.
            parent_command = self._parent_of(process).joinpath("cmdline").read_bytes()
            if found and parent_command.decode(errors="replace").split("\0") != command:
                self.peaks[name] = max(self.peaks.get(name, 0), int(found[1]) // 1024)

    @staticmethod
    def _parent_of(process: Path) -> Path:
        found = re.search(r"PPid:\s+(\d+)", process.joinpath("status").read_text())
        return Path("/proc") / (found[1] if found else "0")

    def _name(self, command: list[str]) -> str | None:
        if "ops.embedded_aws" in command and self._state_dir in command:
            return "embedded AWS"
        if command[2:4] == ["ops", "upload"]:
            return "command line"
        if len(command) > 1 and command[1].startswith(self._state_dir):
            function = re.search(r"waybill-local-([a-z_]+)", command[1])
            return f"function {function[1]}" if function else None
        return None


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that is gone afterwards: pytest keeps its own for the next three runs."""
    if shutil.disk_usage(tempfile.gettempdir()).free < DISK_NEEDED:
        pytest.skip(f"needs {DISK_NEEDED // MiB:,} MiB of disk in {tempfile.gettempdir()}")
    with tempfile.TemporaryDirectory(prefix="waybill-large-") as made:
        yield Path(made)


def sparse_file(path: Path) -> Path:
    """No two MiB of it are the same, and hardly any of it takes room."""
    with path.open("wb") as file:
        for number in range(SIZE // MiB):
            file.seek(number * MiB)
            file.write(number.to_bytes(8, "big"))
        file.truncate(SIZE)
    return path


def test_two_gigabytes_arrive_whole_in_little_memory(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = sparse_file(directory / "large.bin")
    with LocalStack(state_dir=directory / "stack") as stack, Peaks(stack) as watched:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "ops", "upload", str(file), "--watch"],
            cwd=CHECKOUT,
            env={**os.environ, "WAYBILL_API": stack.api_url, "XDG_STATE_HOME": str(directory / "notes")},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        seconds = time.monotonic() - begun
        peaks = dict(watched.peaks)
        with capsys.disabled():
            print(f"\n{SIZE // MiB:,} MiB in {seconds:.0f} s; the most memory of each process:")
            for name, peak in sorted(peaks.items()):
                print(f"{peak:>6,} MB  {name}")

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("COMPLETED")
        user = User(stack)
        (job,) = user.all_jobs()
        assert (job["size"], job["attempts"]) == (SIZE, 1)
        assert peaks["command line"] < 64
        assert peaks["function consume"] < 256
        body = stack.client("s3").get_object(Bucket=user.bucket, Key=job["key"])["Body"]
        arrived = hashlib.sha256()
        for block in body.iter_chunks(MiB):
            arrived.update(block)
        with file.open("rb") as sent:
            assert arrived.digest() == hashlib.file_digest(sent, "sha256").digest()
        assert user.keys("uploads/") == []
