"""What a processor takes and what it returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of one file is worked on. What is beyond is refused with a code, or cut, and then said so."""

    events: int
    rows: int
    pixels: int
    """Of one frame, before anything is decoded."""
    pages: int
    seconds: int = 4 * 3600
    """Of sound or of a film."""
    transcript_seconds: int = 3600
    """Of sound, how much is listened to for what is said."""


def _unheard(_: float) -> None:
    """Nobody has asked."""


@dataclass(frozen=True, slots=True)
class Source:
    """An original, on disk."""

    path: Path
    filename: str
    media_type: str
    scratch: Path
    """A directory for what is made of it, empty at first; all of it is deleted when the job has ended."""
    caps: Caps
    transcriber: str = "none"
    """What turns speech into text, where that is wanted: `pocketsphinx`, or `none`."""
    report: Callable[[float], None] = _unheard
    """Says how much of the work is done, from 0 to 1. It may be called as often as is easy."""

    def read(self) -> bytes:
        """All of it, for who cannot work on a file piece by piece."""
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Output:
    """A file made from the original; its name is fixed, so that a second run overwrites the first."""

    name: str
    content_type: str
    body: bytes | Path
    """Its bytes, or a file in the scratch directory that holds them."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a data file, for the `events` table.

    `json` is its very text, and None where an item cannot hold it; it is then the output that `output` names.
    """

    id: str | None
    index: int
    json: str | None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    metadata: dict[str, Any] = field(default_factory=dict)
    """What JSON can say, numbers as `int` or `float`; it becomes part of the job."""
    outputs: list[Output] = field(default_factory=list)
    events: Sequence[Event] = field(default_factory=list)


Processor = Callable[[Source], Result]
"""Raises `errors.Rejected` where the file is not acceptable, with a code and a sentence for the uploader."""
