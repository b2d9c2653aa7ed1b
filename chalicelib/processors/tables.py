"""CSV and TSV: the shape of a table, the types of its columns, and a sample of its rows.

A table is read row by row: its size costs time, and no memory. Cells are shown as they are: that one may
begin like a formula is nothing to JSON, and no spreadsheet is written here.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from chalicelib.processors.base import Result, Source
from chalicelib.processors.charsets import charset_of
from chalicelib.processors.columns import MAX_COLUMNS, TYPED_CELLS, common, names_of, type_of_cell
from chalicelib.processors.rows import Rows, too_many_rows
from chalicelib.processors.sample import MAX_ROWS, Sample

CSV = "text/csv"
TSV = "text/tab-separated-values"

SHOWN_CHARACTERS = 500
"""Of a cell, in the sample: the rows of any table fit."""

_HEAD_CHARACTERS = 64 * 1024
_AT_ONCE = 1024 * 1024
"""Characters and cells, together, of the rows that are kept in memory."""

_DELIMITERS = "\t|;,"
"""Where they part the lines equally well, the one that is less likely in prose and numbers was meant."""

# Excel takes the delimiter from such a line, and other programs write one for it.
_DELIMITER_LINE = re.compile(r'("?)sep=([\t!#-/:-@\[-`{-~])\1(?:[\r\n]|\Z)', re.IGNORECASE)


def process(source: Source) -> Result:
    """Counts of rows and columns, the columns' types, and `sample.json`: objects, or arrays without a header.

    Raises:
        Rejected: `invalid_csv`, `field_too_large`, `row_too_large`, `too_many_columns`, `too_many_rows`;
            `unknown_encoding`, `broken_encoding`.
    """
    charset = charset_of(source.path)
    with source.path.open(encoding=charset.codec, newline="") as file:
        head = file.read(_HEAD_CHARACTERS)
    told = _DELIMITER_LINE.match(head)
    delimiter = told[2] if told else delimiter_of(head) or ("\t" if source.media_type == TSV else ",")
    rows = iter(Rows(source.path, charset.codec, delimiter, source.caps.rows))
    if told:
        next(rows)
    first = list(first_of(rows))
    table = Table(first)
    for row in chain(first[table.has_header :], rows):
        table.add(row)
        if table.rows > source.caps.rows:
            raise too_many_rows(source.caps.rows)
    sample = table.sample()
    return Result(
        metadata={
            "format": "csv",
            "encoding": charset.name,
            "delimiter": delimiter,
            **table.metadata(),
            "sampleRows": len(sample),
        },
        outputs=[sample.output()],
    )


def first_of(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """As many as a sample and its header take, or fewer where they are large."""
    size = 0
    for row in islice(rows, 1 + MAX_ROWS):
        yield row
        size += _size(row)
        if size > _AT_ONCE:
            return


def _size(row: list[str]) -> int:
    return len(row) + sum(map(len, row))


def delimiter_of(head: str) -> str | None:
    """What parts the lines of the head most evenly into more than one cell, its quotes in good order."""
    lines = list(io.StringIO(head, newline=""))
    if len(head) == _HEAD_CHARACTERS and len(lines) > 1:
        lines.pop()  # it is cut off, more likely than not
    best, score = None, (False, 0.0)
    for delimiter in _DELIMITERS:
        widths: Counter[int] = Counter()
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        with suppress(csv.Error):
            widths.update(len(row) for row in reader if row)
        width, count = widths.most_common(1)[0] if widths else (0, 0)
        in_order = reader.line_num == len(lines)
        if width > 1 and (in_order, count / widths.total()) > score:
            best, score = delimiter, (in_order, count / widths.total())
    return best


def has_header(rows: list[list[str]]) -> bool:
    """Whether the first of the rows names the columns.

    It does when it is as wide as most of them, holds words and no values (numbers, dates, booleans), and none
    of its words comes again below: what does is a value. Where nothing tells, it does: most tables have one.
    """
    if not rows:
        return False
    first, *others = rows
    kinds = {type_of_cell(cell) for cell in first}
    if "text" not in kinds or not kinds <= {"text", "empty"} or len(first) < usual_width(rows):
        return False
    return not any(
        cell and any(len(row) > at and row[at] == cell for row in others) for at, cell in enumerate(first)
    )


def usual_width(rows: Iterable[list[str]]) -> int:
    """Of equally frequent ones, the first."""
    return Counter(map(len, rows)).most_common(1)[0][0]


class Table:
    """What is known of a table so far, from its first rows on."""

    def __init__(self, first: list[list[str]]) -> None:
        self.has_header = has_header(first)
        self.rows = 0
        header = first[0] if self.has_header else []
        self._columns = max(len(header), usual_width(first) if first else 0)
        self._ragged = 0
        self._first = first[self.has_header :][:MAX_ROWS]
        shown = min(MAX_COLUMNS, max(map(len, first), default=0))
        self._names = list(names_of((header + [""] * shown)[:shown]))
        self._types: list[set[str]] = [set() for _ in self._names[: self._columns]]
        self._typed_rows = self._typed_cells = 0
        self._untyped: list[list[str]] = []
        self._untyped_size = 0

    def add(self, row: list[str]) -> None:
        self.rows += 1
        if len(row) != self._columns:
            self._ragged += 1
        if self._typed_cells < TYPED_CELLS:
            self._typed_cells += len(row)
            self._untyped.append(row)
            self._untyped_size += _size(row)
            if self._untyped_size > _AT_ONCE:
                self._infer()

    def _infer(self) -> None:
        """Column by column: a value that comes often is looked at once, and text is text whatever follows."""
        for at, types in enumerate(self._types):
            if "text" not in types:
                types.update(map(type_of_cell, {row[at] for row in self._untyped if len(row) > at}))
        self._typed_rows += len(self._untyped)
        self._untyped.clear()
        self._untyped_size = 0

    def metadata(self) -> dict[str, Any]:
        self._infer()
        types = [common(types) for types in self._types]
        return {
            "header": self.has_header,
            "rows": self.rows,
            "columns": self._columns,
            "raggedRows": self._ragged,
            "columnTypes": [
                {"name": name, "type": "text" if kind == "mixed" else kind}  # a cell is text, if nothing else
                for name, kind in zip(self._names, types, strict=False)
            ],
            "typesFrom": self._typed_rows,
        }

    def sample(self) -> Sample:
        sample = Sample()
        for row in self._first:
            cells = [_shown(cell) for cell in row[:MAX_COLUMNS]]
            value = dict(zip(self._names, cells, strict=False)) if self.has_header else cells
            sample.add(json.dumps(value, ensure_ascii=False))
        return sample


def _shown(cell: str) -> str:
    return cell if len(cell) <= SHOWN_CHARACTERS else cell[: SHOWN_CHARACTERS - 1] + "…"
