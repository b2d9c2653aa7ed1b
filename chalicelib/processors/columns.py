"""Columns: what the values of a table are, as far as all in a column agree."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from chalicelib.processors.fitting import LONE_SURROGATE

MAX_COLUMNS = 200
"""So many are named in the metadata and shown in a sample; the others are counted."""

MAX_NAME = 60
"""Characters of a column's name in the metadata, which are part of the job's own item."""

TYPED_CELLS = 2_000_000
"""So many the types are inferred from: to look at a cell costs several times as much as to read it."""

_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_YEAR = r"\d{4}"
_MARKS = ("-", "/", r"\.")
_ORDERS = (
    *((_YEAR, mark, _MONTH, mark, _DAY) for mark in _MARKS),
    *((_DAY, mark, _MONTH, mark, _YEAR) for mark in _MARKS),
    (_MONTH, "/", _DAY, "/", _YEAR),
)
_DATE = f"(?:{'|'.join(map(''.join, _ORDERS))})"
_TIME = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?(?:Z| ?[+-]\d{2}:?\d{2})?"

# A number that begins with a zero is a code, of a place or an article: it would lose the zero.
_WHOLE = r"(?:0|[1-9]\d*)"
_KINDS = re.compile(
    rf"(?P<integer>[+-]?{_WHOLE})"
    rf"|(?P<number>[+-]?(?:{_WHOLE}(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)"
    rf"|(?P<datetime>{_DATE}[T ]{_TIME})"
    rf"|(?P<date>{_DATE})"
    r"|(?P<boolean>(?i:true|false|yes|no))"
    r"|(?P<empty>)",
    re.ASCII,
)
_LONGEST = 64  # of anything but text

_WIDER = {frozenset({"integer", "number"}): "number", frozenset({"date", "datetime"}): "datetime"}
_IN_WORDS = frozenset({"text", "date", "datetime"})


def type_of_cell(cell: str) -> str:
    """`integer`, `number`, `boolean`, `date`, `datetime`, `empty` or `text`."""
    cell = cell.strip()
    match = _KINDS.fullmatch(cell) if len(cell) <= _LONGEST else None
    return (match.lastgroup if match else None) or "text"


def type_of_value(value: Any) -> str:
    """Of a JSON value: as of a cell, or `object` or `array`."""
    match value:
        case None:
            return "empty"
        case bool():
            return "boolean"
        case str():
            written = type_of_cell(value)
            return written if written in _IN_WORDS else "text"
        case int():
            return "integer"
        case float():
            return "number"
        case Decimal():
            return "integer" if value.as_tuple().exponent == 0 else "number"
        case dict():
            return "object"
    return "array"


def common(types: Iterable[str]) -> str:
    """The one type that all of these are, or `mixed`."""
    found = frozenset(types) - {"empty"}
    if len(found) <= 1:
        return next(iter(found), "empty")
    if found <= _IN_WORDS and "text" in found:
        return "text"
    return _WIDER.get(found, "mixed")


def names_of(cells: Iterable[str]) -> Iterator[str]:
    """A name for each column, none of them empty, too long, or the same as another one."""
    taken: set[str] = set()
    for number, cell in enumerate(cells, 1):
        wanted = LONE_SURROGATE.sub("\ufffd", cell.strip()[:MAX_NAME]) or f"column_{number}"
        name, again = wanted, 1
        while name in taken:
            again += 1
            name = f"{wanted}_{again}"
        taken.add(name)
        yield name
