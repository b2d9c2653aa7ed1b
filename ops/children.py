"""Processes that do not outlive the one that started them.

Each child leads its own process group, so that Ctrl-C in the terminal reaches only the parent, which then
stops its children in order. Its standard input is a pipe that only the parent holds: when the parent is gone,
even by kill -9, the pipe ends and the child stops by itself.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


class Child:
    """A running Python process, `python -m <module> …`, whose output goes to a log file."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        env: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=cwd,
                env=env,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait()

    def stop(self, grace: float = 5.0) -> None:
        """Ask it to end, and after `grace` seconds end its whole process group."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        # The group may hold what the child started and left behind when it was killed itself.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        stdin: IO[bytes] | None = self._process.stdin
        if stdin is not None:
            stdin.close()

    def last_lines(self, count: int) -> list[str]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-count:]


@contextmanager
def signals_held(*numbers: signal.Signals) -> Iterator[None]:
    """These signals wait until what is done inside is whole: a child, and the note that it has to be stopped.

    They are not blocked, as a child would inherit that. Elsewhere than in the main thread Python runs no
    handlers, and nothing has to be held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for first in came[:1]:
            signal.raise_signal(first)


def when_parent_is_gone(act: Callable[[], object]) -> None:
    """In a child: call `act`, from another thread, as soon as standard input ends."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        act()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
