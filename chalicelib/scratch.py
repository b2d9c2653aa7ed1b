"""Disk space for the jobs of a batch: each has a directory of its own, until it has ended."""

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

ROOM = 120 * MiB
"""For originals; what is made of them may take three times as much again. Lambda has 512 MiB by default."""

LARGE_PREFIX = "waybill-large-"

LEFT_BEHIND = 3600
"""Seconds after which a directory is nobody's any more: no job takes as long."""

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
    with _room().hold(size, begin_by), _directory(PREFIX) as place:
        yield place


@contextmanager
def large_place(left_behind: int) -> Iterator[Place]:
    """A directory for an original of any size; others that are older than so many seconds are nobody's."""
    remove_leftovers(LARGE_PREFIX, left_behind)
    with _directory(LARGE_PREFIX) as place:
        yield place


@contextmanager
def _directory(prefix: str) -> Iterator[Place]:
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as made:
        scratch = Path(made, "scratch")
        scratch.mkdir()
        yield Place(Path(made, "original"), scratch)


@once
def _room() -> Budget:
    remove_leftovers()
    return Budget(ROOM)


def remove_leftovers(prefix: str = PREFIX, left_behind: int = LEFT_BEHIND) -> None:
    """Delete what processes have left behind that were killed."""
    for path in Path(tempfile.gettempdir()).glob(prefix + "*"):
        with suppress(OSError):
            found = path.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and time.time() - found.st_mtime > left_behind:
                shutil.rmtree(path)
