"""The events of one file, kept on disk and read one at a time, as all of them may be too many for memory."""

import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import overload

from chalicelib import files
from chalicelib.processors.base import Event

MAX_LINE_BYTES = 2 * 1024 * 1024
"""What an item can hold, in JSON inside of JSON, where a letter may take six times its place."""


class EventFile(Sequence[Event]):
    """Lines of `[id, index, json, output]`, each of them seen to be an event before any is used."""

    def __init__(self, path: Path, begins: Sequence[int]) -> None:
        self._path = path
        self._begins = begins

    @classmethod
    def read(cls, path: Path, *, most: int, outputs: Collection[str]) -> "EventFile":
        """
        Raises:
            OSError: there is no such file; a link is none.
            ValueError: it holds something else, or more than `most` events.
        """
        begins = array("q")
        with files.open_plain(path) as lines:
            begin = 0
            while line := lines.readline(MAX_LINE_BYTES):
                output = _event(line).output
                if output is not None and output not in outputs:
                    raise ValueError("an event in an output that there is not")
                if len(begins) == most:
                    raise ValueError(f"more than {most} events")
                begins.append(begin)
                begin += len(line)
        return cls(path, begins)

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, position: int) -> Event: ...
    @overload
    def __getitem__(self, position: slice) -> list[Event]: ...
    def __getitem__(self, position: int | slice) -> Event | list[Event]:
        if isinstance(position, slice):
            return [self[number] for number in range(len(self))[position]]
        with files.open_plain(self._path) as lines:
            lines.seek(self._begins[position])
            return _event(lines.readline(MAX_LINE_BYTES))

    def __iter__(self) -> Iterator[Event]:
        with files.open_plain(self._path) as lines:
            for line in lines:
                yield _event(line)


def _event(line: bytes) -> Event:
    try:
        fields = json.loads(line.decode("ascii"))
    except RecursionError:
        raise ValueError("nested like no event") from None
    if not isinstance(fields, list):
        raise ValueError("no event")
    event_id, index, text, output = fields
    if not (event_id is None or isinstance(event_id, str)) or type(index) is not int or index < 0:
        raise ValueError("an event without identity")
    if not isinstance(text if output is None else output, str) or (text is not None and output is not None):
        raise ValueError("an event that is nowhere, or in two places")
    return Event(event_id, index, text, output)
