"""Functions' processes are forked from one that has loaded the AWS SDK, instead of each loading it anew.

No bridge but a saving: an interpreter that imports boto3 costs a third of a second of CPU, and a stack starts
dozens. What a process may do, where its code lies and how it ends stays as MiniStack has it.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

NURSERY = Path(__file__).with_name("nursery.py")
ROOM = "-" * 400


def fork_functions() -> None:
    """Where the system can tell of a process that is another's child; elsewhere each is started as before."""
    if not hasattr(os, "pidfd_open"):
        return
    from ministack.core import lambda_runtime

    nursery = Nursery()

    def start(arguments: Sequence[str], **options: Any) -> Any:
        if arguments[0] != sys.executable:
            return subprocess.Popen(arguments, **options)
        return nursery.fork(arguments, options["cwd"], options["env"])

    lambda_runtime.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": start})


class Nursery:
    """The process that forks them; another one when it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: socket.socket | None = None

    def fork(self, arguments: Sequence[str], directory: str, environment: Mapping[str, str]) -> "Forked":
        request = json.dumps(
            {"arguments": list(arguments), "directory": directory, "environment": dict(environment)}
        ).encode()
        pipes = [os.pipe() for _ in range(3)]
        (its_input, our_input), (our_output, its_output), (our_errors, its_errors) = pipes
        try:
            with self._lock:
                pid = self._ask(request, [its_input, its_output, its_errors])
                process = os.pidfd_open(pid)
        except BaseException:
            for descriptor in (our_input, our_output, our_errors):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (its_input, its_output, its_errors):
                os.close(descriptor)
        return Forked(pid, process, our_input, our_output, our_errors)

    def _ask(self, request: bytes, streams: list[int]) -> int:
        if self._asked is not None:
            try:
                return _answer(self._asked, request, streams)
            except (OSError, ValueError):
                self._asked.close()
        self._asked = _started()
        return _answer(self._asked, request, streams)


def _answer(asked: socket.socket, request: bytes, streams: list[int]) -> int:
    socket.send_fds(asked, [request], streams)
    return int(asked.recv(32))


def _started() -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        subprocess.Popen(
            [sys.executable, "-P", str(NURSERY), str(its.fileno()), ROOM],
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )
    return ours


class Forked:
    """As much of `subprocess.Popen` as MiniStack uses; only how the process ended is not known."""

    def __init__(self, pid: int, process: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: IO[str] = os.fdopen(stdin, "w", buffering=1)
        self.stdout: IO[str] = os.fdopen(stdout)
        self.stderr: IO[str] = os.fdopen(stderr)
        self._process = process

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._wait(None if timeout is None else timeout * 1000)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._process, number)

    def _wait(self, milliseconds: float | None) -> int | None:
        """A descriptor of a process is readable once that has ended (pidfd_open(2))."""
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._process, select.POLLIN)
            if waiting.poll(milliseconds):
                self.returncode = 0
        return self.returncode

    def __del__(self) -> None:
        os.close(self._process)
