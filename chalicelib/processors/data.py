"""Data: the events of JSON and NDJSON, exactly as they came; of a table, its shape."""

from typing import Any

from chalicelib.errors import Rejected
from chalicelib.processors import tables
from chalicelib.processors.base import Event, Output, Result, Source
from chalicelib.processors.columns import MAX_COLUMNS, TYPED_CELLS, common, names_of, type_of_value
from chalicelib.processors.documents import Document, Text, lines_of, text_of
from chalicelib.processors.fitting import MAX_DIGITS, MAX_NESTING, fits_an_item, id_of
from chalicelib.processors.sample import Sample

NDJSON = "application/x-ndjson"

MAX_INLINE_BYTES = 190 * 1024
"""An event of more JSON than this is kept by reference: a DynamoDB item takes 400 KB, and an array of small
numbers, each in an array of its own, needs twice as much there as in JSON."""

MAX_BY_REFERENCE = 500
"""Events kept by reference are outputs, and a job lists its outputs in its own item of 400 KB."""

MAX_NAMES = 10_000
"""Of columns that are told from each other."""


def process(source: Source) -> Result:
    """A table's shape; else one event for each document, or for each element of a document that is an array.

    Of NDJSON, each line is an event, whatever it is; it is a table besides, with columns and `sample.json`.

    Raises:
        Rejected: `invalid_json`, `number_out_of_range`, `too_deep`, each with line and column;
            `too_many_events`; `broken_encoding`; and what `tables.process` raises.
    """
    if source.media_type in (tables.CSV, tables.TSV):
        return tables.process(source)
    text = None if source.media_type == NDJSON else Text(text_of(source.path))
    events: list[Event] = []
    outputs: list[Output] = []
    names = _Names()
    sample = Sample()
    for index, document in enumerate(text.events() if text else lines_of(source.path)):
        if index == source.caps.events:
            raise Rejected(
                f"More than {source.caps.events} events in one file: split it up.", code="too_many_events"
            )
        names.add(document.value)
        sample.add(document.raw)
        event, output = _kept(source, index, document)
        events.append(event)
        if output and len(outputs) == MAX_BY_REFERENCE:
            raise Rejected(
                f"More than {MAX_BY_REFERENCE} events of one file are beyond what a table's item can hold "
                f"({MAX_INLINE_BYTES // 1024} KiB, {MAX_DIGITS} digits, {MAX_NESTING} levels): split it up.",
                code="too_many_events",
            )
        if output:
            outputs.append(output)
    metadata: dict[str, Any] = {"format": "json", "events": len(events), "byReference": len(outputs)}
    if text is None or (len(events) > 1 and not text.is_array):
        shape = {"rows": len(events), **names.metadata(), "sampleRows": len(sample)}
        return Result(metadata | {"format": "ndjson"} | shape, [*outputs, sample.output()], events)
    return Result(metadata, outputs, events)


def _kept(source: Source, index: int, document: Document) -> tuple[Event, Output | None]:
    """The event with all that is in it, or the event and the output that holds it."""
    event_id = id_of(document.value)
    raw = document.raw.encode()
    if len(raw) <= MAX_INLINE_BYTES and fits_an_item(document):
        return Event(event_id, index, document.raw), None
    path = source.scratch / f"event-{index}.json"
    path.write_bytes(raw)
    return Event(event_id, index, None, path.name), Output(path.name, "application/json", path)


class _Names:
    """The names that objects have in common, as columns."""

    def __init__(self) -> None:
        self._types: dict[str, set[str]] = {}
        self._objects = self._cells = 0

    def add(self, value: Any) -> None:
        if not isinstance(value, dict) or self._cells >= TYPED_CELLS:
            return
        self._objects += 1
        self._cells += len(value)
        for name, inner in value.items():
            if name in self._types or len(self._types) < MAX_NAMES:
                self._types.setdefault(name, set()).add(type_of_value(inner))

    def metadata(self) -> dict[str, Any]:
        shown = list(self._types.values())[:MAX_COLUMNS]
        return {
            "columns": len(self._types),
            "columnTypes": [
                {"name": name, "type": common(types)}
                for name, types in zip(names_of(self._types), shown, strict=False)
            ],
            "typesFrom": self._objects,
        }
