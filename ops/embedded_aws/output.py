"""What functions print: collected as soon as they have answered."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

CHUNK = 65536


def collect_output_at_once() -> None:
    """MiniStack waits for what a function has printed, as it does not know when it has all of it.

    It looks a thousand times a second until nothing has come for 5 ms, or for 50 ms where nothing comes at
    all. But a function has printed before it answers, so that all of it lies in the pipe by then: it is read
    from there, and nobody waits. On AWS an invocation does not take longer for what it logs either.
    """
    from ministack.core.lambda_runtime import Worker

    making = threading.Lock()

    def output_of(worker: Any, process: Any) -> Output:
        with making:
            if not hasattr(process, "output"):
                process.output = Output(process.stderr, worker._stderr_queue.put)
            output: Output = process.output
            return output

    def read(worker: Any) -> None:
        process = worker._proc
        if process is not None:
            output_of(worker, process).read()

    def collect(worker: Any, *_: float) -> str:
        if worker._proc is not None:
            output_of(worker, worker._proc).take()
        collected: str = worker._drain_stderr()
        return collected

    Worker._read_stderr = read
    Worker._drain_stderr_bounded = collect


class Output:
    """The reading end of a pipe that a function prints into, of which two threads may read, line by line."""

    def __init__(self, pipe: IO[str], put: Callable[[str], None]) -> None:
        self._pipe = pipe  # which stays open for as long as somebody reads here
        self._put = put
        self._begun = b""
        self._reading = threading.Lock()
        os.set_blocking(pipe.fileno(), False)

    def read(self) -> None:
        """Take whatever comes until nobody is left who could print: a full pipe would stop them."""
        coming = select.poll()
        coming.register(self._pipe.fileno(), select.POLLIN)
        while self.take():
            coming.poll()

    def take(self) -> bool:
        """Take what is there by now; False where no more will ever come."""
        with self._reading, suppress(BlockingIOError):
            while piece := os.read(self._pipe.fileno(), CHUNK):
                *lines, self._begun = (self._begun + piece).split(b"\n")
                for line in lines:
                    self._put(line.decode(errors="replace"))
            return False
        return True
