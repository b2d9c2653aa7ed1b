"""A child as its parent sees it: started, given work, listened to, ended."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from chalicelib.errors import DecodeFailed, DecodeStalled, Unavailable
from chalicelib.sandbox import frames
from chalicelib.sandbox.failures import DEADLY, LARGE, SLOW
from chalicelib.sandbox.reports import PROGRESS

MAX_ANSWER_BYTES = 1024 * 1024

_LOOK_EVERY = 0.5  # seconds: the socket does not end with a child that has left a process of its own behind
_LAST_BREATH = 1.0  # seconds between the end of the socket and that of the process

_ROOT = Path(__file__).parents[2]
_KEPT_VARIABLES = re.compile(r"PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHONHOME|PYTHONUTF8")


class Child:
    """A process that decodes, and the socket to it."""

    def __init__(self, registry: str, memory_bytes: int, owner: str = "") -> None:
        self.owner = owner
        self.files = 0
        """How many it has been given."""
        self._ready = False
        try:
            self._socket, theirs = socket.socketpair()
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    [sys.executable, "-P", "-m", "chalicelib.sandbox.inside", registry, str(memory_bytes)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment(),
                    start_new_session=True,
                )
        except OSError as error:  # too many processes, or too many open files
            raise no_child() from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def work(
        self,
        request: Mapping[str, Any],
        stop_at: float,
        on_progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Its answer to a request; what it says of its progress meanwhile goes to `on_progress`.

        Raises:
            DecodeFailed: there is none; the process has ended, or must.
            Unavailable: it could not even start.
        """
        self.files += 1
        self._ask(request, stop_at)
        while (message := self._hear(stop_at)).get("outcome") == PROGRESS:
            on_progress(message)
        return message

    def _ask(self, request: Mapping[str, Any], stop_at: float) -> None:
        try:
            if not self._ready:
                self._begin(stop_at)
            frames.send(self._socket, request)
        except TimeoutError:
            raise DecodeStalled(SLOW) from None
        except OSError:
            raise self._death() from None

    def _hear(self, stop_at: float) -> dict[str, Any]:
        try:
            return frames.receive(lambda count: self._recv(count, stop_at), MAX_ANSWER_BYTES)
        except TimeoutError:
            raise DecodeStalled(SLOW) from None
        except (EOFError, OSError):
            raise self._death() from None
        except frames.BadFrame as error:
            raise DecodeFailed(DEADLY) from error

    def _begin(self, stop_at: float) -> None:
        try:
            frames.receive(lambda count: self._recv(count, stop_at), MAX_ANSWER_BYTES)
        except (EOFError, OSError, frames.BadFrame):
            raise no_child() from None
        self._ready = True

    def end(self) -> None:
        """End it, and whatever it has started, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()

    def _recv(self, count: int, stop_at: float) -> bytes:
        while (left := stop_at - time.monotonic()) > 0:
            self._socket.settimeout(min(left, _LOOK_EVERY))
            with suppress(TimeoutError):
                return self._socket.recv(count)
            if not self.is_alive():
                raise EOFError
        raise TimeoutError

    def _death(self) -> DecodeFailed:
        """What it died of."""
        try:
            status = self._process.wait(_LAST_BREATH)
        except subprocess.TimeoutExpired:
            return DecodeFailed(DEADLY)
        if status == -signal.SIGXCPU:
            return DecodeFailed(SLOW, code="decode_timeout")
        if status == -signal.SIGALRM:
            return DecodeStalled(SLOW)
        if status == -signal.SIGKILL:  # by the kernel, for all of the machine's memory
            return DecodeStalled(LARGE, code="decode_out_of_memory")
        return DecodeFailed(DEADLY)


def no_child() -> Unavailable:
    return Unavailable("No decoder could be started. Try again.", code="sandbox_unavailable")


def environment() -> dict[str, str]:
    """What a child is told: where Python and its libraries are, and nothing that opens a door."""
    kept = {name: value for name, value in os.environ.items() if _KEPT_VARIABLES.fullmatch(name)}
    paths = [str(_ROOT), *(str(Path(path).absolute()) for path in sys.path)]
    return kept | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "VIPS_CONCURRENCY": "1",
        "MALLOC_ARENA_MAX": "2",  # each would reserve 64 MiB of the memory that the limit counts
    }
