"""Plain text in columns, for a terminal as for a pipe."""

import unicodedata
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines in which every column is as wide as its widest cell; the last one is as long as it likes."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)] if rows else []
    return [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """Names and bodies may hold anything, and nothing in them shall move the cursor or begin a line."""
    return "".join(c if c.isprintable() else "�" for c in text)


def age(seconds: float) -> str:
    """Such as `40 s`, `3 min`, `5 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and unit == "min"):
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
