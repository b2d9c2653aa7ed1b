"""Documents: JSON as it stands in a file, one value after the other, and the place where it is broken."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from chalicelib.errors import Rejected
from chalicelib.processors.charsets import NotUnicode, unicode_of

_SPACE = re.compile(r"[ \t\n\r]*")
_DELICATE = re.compile(r"[0-9](?:[eE]|[0-9.]{37})")
"""A number with an exponent, or with more digits than most; or what looks like one, in a string."""

# Where the standard library's words do not say what to look for.
_PROBLEMS = {
    "Unterminated string starting at": "a string begins here and never ends",
    "Invalid control character at": "a string holds a control character: write it as \\n, \\t or \\u00XX",
    "Invalid \\escape": "there is no such escape: a backslash itself is written \\\\",
    "Invalid \\uXXXX escape": "\\u takes four hexadecimal digits",
}


class Document(NamedTuple):
    value: Any
    """Its numbers as `int` and `float`, or all of them as `Decimal` where that makes a difference."""
    raw: str
    """Its very text."""
    is_delicate: bool
    """Not every one of its numbers is so short and plain that anything can hold it."""


class Text:
    """JSON documents, one after the other, with or without white space between them."""

    def __init__(self, text: str, *, line: int = 1) -> None:
        self._text = text
        self._line = line
        """The number of its first line in the file."""
        self.is_array = text.startswith("[", self._skip(0))

    def events(self) -> Iterator[Document]:
        """The elements of an array, else the documents.

        Raises:
            Rejected: `invalid_json`, `number_out_of_range`, `too_deep`.
        """
        return self._elements() if self.is_array else self.documents()

    def documents(self) -> Iterator[Document]:
        position = self._skip(0)
        if position == len(self._text):
            raise self._broken("expected a document, and found nothing", position)
        while position < len(self._text):
            document, end = self._decode(position)
            yield document
            position = self._skip(end)
            # Brackets and quotes end a document by themselves, but 12 is not 1 and 2.
            if position == end < len(self._text) and self._text[end - 1] not in '}]"':
                raise self._broken("expected white space before the next document", end)

    def _elements(self) -> Iterator[Document]:
        position = self._skip(self._skip(0) + 1)
        if self._text[position : position + 1] != "]":
            while True:
                document, end = self._decode(position)
                yield document
                position = self._skip(end)
                if self._text[position : position + 1] != ",":
                    break
                position = self._skip(position + 1)
        if self._text[position : position + 1] != "]":
            raise self._broken("expected ',' or ']'", position)
        if (position := self._skip(position + 1)) != len(self._text):
            raise self._broken("expected the end of the file", position)

    def _decode(self, position: int) -> tuple[Document, int]:
        try:
            try:
                value, end = _QUICK.raw_decode(self._text, position)
                raw = self._text[position:end]
                is_delicate = _DELICATE.search(raw) is not None
            except json.JSONDecodeError:
                raise
            except ValueError:  # int() takes 4,300 digits and no more
                is_delicate = True
            if is_delicate or (isinstance(value, dict) and isinstance(value.get("id"), float)):
                value, end = _EXACT.raw_decode(self._text, position)
            return Document(value, self._text[position:end], is_delicate), end
        except json.JSONDecodeError as error:
            raise self._broken(_readable(error.msg), error.pos) from None
        except _BadNumber as error:
            raise self._unfit(str(error), error.code, position) from None
        except RecursionError:
            raise self._unfit("is nested too deeply to be read", "too_deep", position) from None

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def _place(self, position: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = self._line + self._text.count("\n", 0, position)
        return line, position - self._text.rfind("\n", 0, position)

    def _broken(self, problem: str, position: int) -> Rejected:
        return _invalid(problem, *self._place(position))

    def _unfit(self, problem: str, code: str, position: int) -> Rejected:
        """Something inside of the value at `position`: the scanner does not tell where."""
        line, column = self._place(position)
        message = f"The JSON value at line {line}, column {column} {problem}."
        return Rejected(message, code=code, line=line, column=column)


def text_of(path: Path) -> str:
    """
    Raises:
        Rejected: `broken_encoding`, `invalid_json`.
    """
    with path.open(encoding=_codec_of(path), newline="") as file:
        return file.read()


def lines_of(path: Path) -> Iterator[Document]:
    """The documents of NDJSON, read line by line: what is wrong with one is not looked for in the next.

    Raises:
        Rejected: `broken_encoding`, `invalid_json`, `number_out_of_range`, `too_deep`.
    """
    number, is_empty = 1, True
    with path.open(encoding=_codec_of(path), newline="\n") as file:
        for number, line in enumerate(file, 1):
            if line.strip(" \t\r\n"):
                is_empty = False
                yield from Text(line.removesuffix("\n"), line=number).documents()
    if is_empty:
        raise _invalid("expected a document, and found nothing", number, 1)


def _codec_of(path: Path) -> str:
    """Without a guess at other encodings: a wrong one would be kept as data (RFC 8259, section 8.1)."""
    try:
        return unicode_of(path).codec
    except NotUnicode as error:
        line, column = _place_of(path, error.offset)
    raise _invalid("this is not UTF-8: save the file in that encoding", line, column)


def _place_of(path: Path, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of a byte with nothing but UTF-8 before it."""
    begin = number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if begin + len(line) > offset:
                return number, len(line[: offset - begin].decode()) + 1
            begin += len(line)
    raise ValueError(f"{path} has no byte {offset}.")


class _BadNumber(Exception):
    def __init__(self, problem: str, code: str) -> None:
        super().__init__(problem)
        self.code = code


def _invalid(problem: str, line: int, column: int) -> Rejected:
    return Rejected(
        f"The JSON is broken at line {line}, column {column}: {problem}.",
        code="invalid_json",
        line=line,
        column=column,
    )


def _readable(message: str) -> str:
    if message.startswith("Expecting "):
        return "expected " + message.removeprefix("Expecting ")
    return _PROBLEMS.get(message, message.lower())


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except DecimalException:
        problem = f"holds the number {digits[:40]}, which is beyond any range"
        raise _BadNumber(problem, "number_out_of_range") from None


def _no_such_constant(name: str) -> NoReturn:
    raise _BadNumber(f"holds {name}, which is no JSON (RFC 8259, section 6): use null", "invalid_json")


_QUICK = json.JSONDecoder(parse_constant=_no_such_constant)
_EXACT = json.JSONDecoder(parse_float=_decimal, parse_int=_decimal, parse_constant=_no_such_constant)
