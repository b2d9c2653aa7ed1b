"""The children of this process: as many at work as it has processors for, and warm ones first."""

import atexit
import ctypes
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chalicelib.errors import DecodeFailed, DecodeStalled, NoTurn, Rejected
from chalicelib.once import once
from chalicelib.processors.base import Result, Source
from chalicelib.sandbox.answer import result_of
from chalicelib.sandbox.child import Child
from chalicelib.sandbox.task import Task
from chalicelib.telemetry import log

REGISTRY = "chalicelib.processors:REGISTRY"

MOST_CHILDREN = 4

PR_SET_DUMPABLE = 4

FILES_PER_CHILD = 200
"""Then a new one takes over: what leaks in a decoder does not grow for ever."""


class Pool:
    """At most so many children, made when they are needed; the one that was at work last goes first."""

    def __init__(self, size: int, memory_bytes: int, registry: str = REGISTRY) -> None:
        self._size = size
        self._memory_bytes = memory_bytes
        self._registry = registry
        self._changed = threading.Condition()
        self._at_work = 0
        self._idle: list[Child] = []

    def run(
        self,
        family: str,
        source: Source,
        *,
        owner: str = "",
        cpu_seconds: int,
        wall_seconds: float,
        begin_by: float = math.inf,
        on_progress: Callable[[float], None] | None = None,
    ) -> Result:
        """As `sandbox.run`."""
        with self._turn(begin_by):
            task = Task(family, source, cpu_seconds, wall_seconds, on_progress)
            warm = self._warm_child(owner)
            if warm is not None:
                try:
                    return self._run(warm, task)
                except DecodeFailed as error:
                    if error.code == DecodeStalled.code:
                        raise
                    # It may have been the files before this one, or something while it was idle.
                    log("sandbox.second_try", reason=error.code, files=warm.files)
                    task.begin_again()
            return self._run(Child(self._registry, self._memory_bytes, owner), task)

    def close(self) -> None:
        """End the children that are idle."""
        with self._changed:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    @contextmanager
    def _turn(self, begin_by: float) -> Iterator[None]:
        patience = None if begin_by == math.inf else max(0.0, begin_by - time.monotonic())
        with self._changed:
            if not self._changed.wait_for(lambda: self._at_work < self._size, patience):
                raise NoTurn("All decoders were at work.")
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify()

    def _warm_child(self, owner: str) -> Child | None:
        """Of this owner's; where there is none and no room for one more, another's ends in its favour."""
        with self._changed:
            for child in reversed(self._idle):
                if child.owner == owner:
                    self._idle.remove(child)
                    return child
            full = self._at_work + len(self._idle) > self._size
            oldest = self._idle.pop(0) if full else None
        if oldest:
            oldest.end()
        return None

    def _run(self, child: Child, task: Task) -> Result:
        sound = False
        try:
            result = result_of(task, child.work(task.request(), task.stop_at, task.listener.hear))
            sound = True
            return result
        except Rejected:
            sound = True
            raise
        except DecodeFailed as error:
            lie = str(error.__cause__) if error.__cause__ else None
            log("sandbox.child_ended", reason=error.code, lie=lie, files=child.files)
            raise
        finally:
            if sound and child.files < FILES_PER_CHILD:
                with self._changed:
                    self._idle.append(child)
            else:
                child.end()


@once
def shared(memory_bytes: int) -> Pool:
    """The one of this process."""
    hide()
    pool = Pool(children_at_once(), memory_bytes)
    atexit.register(pool.close)
    os.register_at_fork(after_in_child=shared.cache_clear)  # the children are those of the first process
    return pool


def hide() -> None:
    """Keep this process's memory and environment, with credentials in both, from others of the same user.

    PR_SET_DUMPABLE (prctl(2)): what lies under /proc/<pid> is then root's alone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def children_at_once() -> int:
    """One for each processor, as decoding waits for nothing else; but two, as one of them may hang.

    On Lambda processors come with memory, 1,769 MB each, and so does the room for one child more.
    """
    return min(max(os.cpu_count() or 1, 2), MOST_CHILDREN)
