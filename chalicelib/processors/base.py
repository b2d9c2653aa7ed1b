"""What a processor takes and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """An original, read."""

    filename: str
    media_type: str
    body: bytes
    max_events: int


@dataclass(frozen=True, slots=True)
class Output:
    """A file made from the original; its name is fixed, so that a second run overwrites the first."""

    name: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a data file, for the `events` table.

    `value` is None where an item cannot hold the event; it is then the output that `output` names.
    """

    id: str | None
    index: int
    value: Any
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    metadata: dict[str, Any] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


Processor = Callable[[Source], Result]
"""Raises `errors.Rejected` where the file is not acceptable, with a code and a sentence for the uploader."""
