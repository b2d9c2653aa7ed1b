"""Disk space for the jobs of a batch: each has a directory of its own, until it has ended."""

import fcntl
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from chalicelib.budget import Budget
from chalicelib.once import once
from chalicelib.settings import MiB

PREFIX = "waybill-job-"
LARGE_PREFIX = "waybill-large-"
"""Of directories that are locked (flock(2)) as long as their process lives, and nobody's once it does not."""

ROOM = 120 * MiB
"""For originals; what is made of them may take three times as much again. Lambda has 512 MiB by default."""

SETTLING = 5
"""Seconds, many times more than lie between the making of such a directory and its lock."""

CHUNK = MiB


class Stream(Protocol):
    def read(self, amount: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Place:
    """A job's directory: the original, and what is made of it."""

    original: Path
    scratch: Path

    def receive(self, head: bytes, rest: Stream) -> None:
        """Write the original, of which `head` has been read already."""
        with self.original.open("xb") as file:
            file.write(head)
            while chunk := rest.read(CHUNK):
                file.write(chunk)


@contextmanager
def place(size: int, begin_by: float = math.inf) -> Iterator[Place]:
    """A directory for an original of so many bytes, as soon as there is room for it.

    Raises:
        NoTurn: there was none until `begin_by`, a moment of `time.monotonic()`.
    """
    with _room().hold(size, begin_by), _directory(PREFIX) as place, _locked(place.original.parent):
        yield place


@contextmanager
def large_place() -> Iterator[Place]:
    """A directory for an original of any size; what killed workers have left of theirs goes first."""
    remove_leftovers(LARGE_PREFIX)
    with _directory(LARGE_PREFIX) as place, _locked(place.original.parent):
        yield place


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """
    Raises:
        BlockingIOError: by another process.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _directory(prefix: str) -> Iterator[Place]:
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as made:
        scratch = Path(made, "scratch")
        scratch.mkdir()
        yield Place(Path(made, "original"), scratch)


@once
def _room() -> Budget:
    remove_leftovers(PREFIX)
    return Budget(ROOM)


def remove_leftovers(prefix: str) -> None:
    """Delete what processes have left behind that were killed.

    At once, and not after a while: who comes next is on the same disk, and has to find room on it. A function
    that runs out of time or memory begins anew where it was, with all that lies in /tmp (Lambda Developer
    Guide, "Failures during the invoke phase").
    """
    for path in Path(tempfile.gettempdir()).glob(prefix + "*"):
        with suppress(OSError):
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and time.time() - found.st_mtime > SETTLING:
                with _locked(path):
                    shutil.rmtree(path)
