"""Rows: a CSV file, row by row (RFC 4180, with any delimiter and line end), and what is wrong with one."""

import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from chalicelib.errors import Rejected

MAX_WIDTH = 16_384
"""Cells of a row; spreadsheets take no more."""

MAX_CELL = 128 * 1024
"""Characters. A quote that is missing makes one cell of all that follows."""

MAX_ROW = 4 * 1024 * 1024
"""Characters, of a row and of a line. A limit for memory: it is kept to within a piece."""

_PIECE = 1024 * 1024
_CLOSED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"')


class Rows:
    """The rows of a file, once. Lines with nothing on them are none."""

    def __init__(self, path: Path, codec: str, delimiter: str, max_rows: int) -> None:
        self._path = path
        self._codec = codec
        self._delimiter = delimiter
        self._max_rows = max_rows
        self._read = 0
        """Lines that belong to a row which is complete."""

    def __iter__(self) -> Iterator[list[str]]:
        """
        Raises:
            Rejected: `invalid_csv`, `field_too_large`, `row_too_large`, `too_many_columns`, each with its
                line; `too_many_rows`.
        """
        csv.field_size_limit(MAX_CELL)
        with self._open() as file:
            lines = chain.from_iterable(self._pieces(file))
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            full = empty = 0
            try:
                for row in reader:
                    self._read = reader.line_num
                    if len(row) > MAX_WIDTH:
                        raise self._too_wide(len(row))
                    if row:
                        full += 1
                        yield row
                    else:
                        empty += 1
                    # One may be the header, and one before it tell the delimiter.
                    if full > self._max_rows + 2 or empty > self._max_rows:
                        raise too_many_rows(self._max_rows)
            except csv.Error:
                raise self._what_is_wrong(reader.line_num) from None

    def _open(self) -> TextIO:
        return self._path.open(encoding=self._codec, newline="")

    def _pieces(self, file: TextIO) -> Iterator[TextIO]:
        """The file in pieces of whole lines: a file that is one line, or one row, is not read to its end."""
        row_began = self._read
        row_size = 0
        while piece := file.read(_PIECE):
            rest_of_line = file.readline(MAX_ROW)
            row_size = row_size + len(piece) if row_began == self._read else 0
            row_began = self._read
            if row_size > MAX_ROW:
                raise _too_large(self._read + 1)
            if len(rest_of_line) == MAX_ROW:
                yield io.StringIO(piece[: max(piece.rfind("\n"), piece.rfind("\r")) + 1], newline="")
                raise _too_large(self._read + 1)
            yield io.StringIO(piece + rest_of_line, newline="")

    def _too_wide(self, cells: int) -> Rejected:
        return Rejected(
            f"The row that ends on line {self._read} has {cells} cells; at most {MAX_WIDTH} are allowed.",
            code="too_many_columns",
            line=self._read,
        )

    def _what_is_wrong(self, last_line: int) -> Rejected:
        """Of the row that could be read as far as that line: which cell is broken, and where it begins."""
        with self._open() as file:
            row = "".join(islice(file, self._read, last_line))
            begin = self._broken_cell(row)
            closed = _CLOSED.match(row, begin)
            is_quoted = row.startswith('"', begin)
            is_open = is_quoted and not closed and not any('"' in piece for piece in _rest(file))
        line = self._read + max(1, _lines_in(row[:begin]))
        if is_open:
            problem = f"A quote opens a cell on line {line} and never closes it."
        elif closed and _length(closed[0]) <= MAX_CELL:
            problem = f"The quoted cell on line {line} goes on behind its closing quote."
        else:
            hint = " Is its closing quote missing?" if is_quoted else ""
            return Rejected(
                f"The cell that begins on line {line} has more than {MAX_CELL} characters.{hint}",
                code="field_too_large",
                line=line,
            )
        return Rejected(
            f"{problem} Inside of a quoted cell, a quote is written twice.", code="invalid_csv", line=line
        )

    def _broken_cell(self, row: str) -> int:
        """Where the first cell begins that does not end at a delimiter, or not soon enough."""
        end = re.escape(self._delimiter) + r"\r\n"
        cell = re.compile(rf'(?:{_CLOSED.pattern}(?=[{end}]|\Z)|(?!")[^{end}]*+)')
        begin = 0
        while match := cell.match(row, begin):
            if _length(match[0]) > MAX_CELL or not row.startswith(self._delimiter, match.end()):
                break
            begin = match.end() + 1
        return begin


def too_many_rows(max_rows: int) -> Rejected:
    return Rejected(f"More than {max_rows} rows in one file: split it up.", code="too_many_rows")


def _too_large(line: int) -> Rejected:
    return Rejected(
        f"The row on line {line} has more than {MAX_ROW} characters: is the file a table?",
        code="row_too_large",
        line=line,
    )


def _length(cell: str) -> int:
    """Of what is in a cell, as it is written."""
    return len(cell[1:-1].replace('""', '"')) if cell.startswith('"') else len(cell)


def _lines_in(text: str) -> int:
    return sum(1 for _ in io.StringIO(text, newline=""))


def _rest(file: TextIO) -> Iterator[str]:
    return iter(partial(file.read, _PIECE), "")
