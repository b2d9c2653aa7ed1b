"""Plain text, Markdown, and HTML or SVG as text only: normalised to UTF-8, never rendered.

A text is read, normalised and written piece by piece: its size costs time, and no memory.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Any

from chalicelib.processors.base import Output, Result, Source
from chalicelib.processors.charsets import charset_of

PIECE_CHARACTERS = 256 * 1024

MAX_MARKS = 30
"""Combining marks in a row (UAX #15, section 13): to order them costs the square of their number."""

_LOOK_BACK = 1_000
_GRAPHEME_JOINER = "\u034f"


def process(source: Source) -> Result:
    """`text.txt` in UTF-8 and NFC with `\\n` line ends; encoding and counts.

    Raises:
        Rejected: no encoding makes sense of the bytes (`unknown_encoding`, `broken_encoding`).
    """
    charset = charset_of(source.path)
    counts = _Counts()
    path = source.scratch / "text.txt"
    with (
        source.path.open(encoding=charset.codec) as original,
        path.open("w", encoding="utf-8", newline="") as clean,
    ):
        for piece in normalised(iter(partial(original.read, PIECE_CHARACTERS), "")):
            counts.add(piece)
            clean.write(piece)
    return Result(
        metadata={"encoding": charset.name, **counts.metadata()},
        outputs=[Output("text.txt", "text/plain; charset=utf-8", path)],
    )


class _Counts:
    def __init__(self) -> None:
        self._characters = self._words = self._line_ends = 0
        self._last = "\n"

    def add(self, piece: str) -> None:
        if not piece:
            return
        goes_on = not self._last.isspace() and not piece[0].isspace()
        self._characters += len(piece)
        self._words += len(piece.split()) - goes_on
        self._line_ends += piece.count("\n")
        self._last = piece[-1]

    def metadata(self) -> dict[str, Any]:
        lines = self._line_ends + (self._last != "\n")
        return {"characters": self._characters, "words": self._words, "lines": lines}


def normalised(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a text in NFC, cut anew: where one ends, the next may begin with an accent for it."""
    held = ""
    for piece in pieces:
        held += piece
        tail = range(len(held) - 1, max(0, len(held) - _LOOK_BACK), -1)
        cut = next((at for at in tail if _stands_alone(held[at])), 0)
        if cut == 0 and len(held) > _LOOK_BACK:
            # In no language do so many marks follow each other; a joiner parts them as well.
            held += _GRAPHEME_JOINER
            cut = len(held)
        yield nfc(held[:cut])
        held = held[cut:]
    yield nfc(held)


def _stands_alone(character: str) -> bool:
    """Whether nothing before it can become one with it: it is no mark, and no later part of a syllable."""
    if character < "\u0300":
        return True
    return unicodedata.category(character)[0] != "M" and not "\u1160" <= character <= "\u11ff"


def nfc(text: str) -> str:
    """The whole of a text in NFC, in time that grows with its length."""
    return text if text.isascii() else unicodedata.normalize("NFC", _stream_safe(text))


def _stream_safe(text: str) -> str:
    """The Stream-Safe Text Process: a joiner wherever too many marks follow each other."""
    perhaps, exactly = _too_many_marks()
    return exactly.sub(rf"\g<0>{_GRAPHEME_JOINER}", text) if perhaps.search(text) else text


@lru_cache(maxsize=1)
def _too_many_marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Marks, and one more than may stand in a row.

    In a set that reaches beyond the Basic Multilingual Plane, `re` looks a character up twenty times slower.
    So there is a pattern that takes all in there for marks, and one that is only tried where that one found.
    """
    every = map(chr, range(0x300, 0x20000))
    marks = "".join(mark for mark in every if unicodedata.combining(unicodedata.normalize("NFD", mark)[0]))
    inside = "".join(mark for mark in marks if mark <= "\uffff")
    beyond = marks[len(inside) :]
    mark = rf"(?:[{inside}]|(?=[\U00010000-{marks[-1]}])[{beyond}])"
    return (
        re.compile(rf"[{inside}\U00010000-{marks[-1]}]{{{MAX_MARKS + 1}}}"),
        re.compile(rf"{mark}{{{MAX_MARKS}}}(?={mark})"),
    )
