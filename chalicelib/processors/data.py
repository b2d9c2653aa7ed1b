"""JSON: each event of a document, an array, or a sequence of documents (NDJSON), with its numbers exact."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal, DecimalException
from typing import Any, NoReturn

from chalicelib.errors import Rejected
from chalicelib.processors.base import Event, Output, Result, Source
from chalicelib.processors.text import decode_unicode

NDJSON = "application/x-ndjson"

MAX_INLINE_BYTES = 190 * 1024
"""An event of more JSON than this is kept by reference: a DynamoDB item takes 400 KB, and an array of small
numbers, each in an array of its own, needs twice as much there as in JSON."""

MAX_NESTING = 30  # an item's attributes nest 32 levels deep; the event sits one level down
MAX_NAME_BYTES = 65_535  # of an attribute, also inside the event
MAX_ID_BYTES = 512  # well inside the 1,024 bytes of a sort key

MAX_BY_REFERENCE = 500
"""Events kept by reference are outputs, and a job lists its outputs in its own item of 400 KB."""

# DynamoDB Developer Guide, "Number": 38 significant digits, from 1E-130 to 9.99E+125. Below 1E-128 boto3 has
# no room for all of the digits.
_MAX_DIGITS, _MIN_EXPONENT, _MAX_EXPONENT = 38, -128, 125
_SPACE = re.compile(r"[ \t\n\r]*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Where the standard library's words do not say what to look for.
_PROBLEMS = {
    "Unterminated string starting at": "a string begins here and never ends",
    "Invalid control character at": "a string holds a control character: write it as \\n, \\t or \\u00XX",
    "Invalid \\escape": "there is no such escape: a backslash itself is written \\\\",
    "Invalid \\uXXXX escape": "\\u takes four hexadecimal digits",
}


def process(source: Source) -> Result:
    """One event for each document, or for each element of a document that is an array.

    Raises:
        Rejected: `invalid_json`, `number_out_of_range`, `too_deep`, each with line and column;
            `too_many_events`; `broken_encoding`.
    """
    events: list[Event] = []
    outputs: list[Output] = []
    documents = _Documents(_text_of(source.read()), by_line=source.media_type == NDJSON)
    for index, (value, raw) in enumerate(documents.events()):
        if index == source.caps.events:
            raise Rejected(
                f"More than {source.caps.events} events in one file: split it up.", code="too_many_events"
            )
        event_id = _id_of(value)
        if len(raw.encode("utf-8", "surrogatepass")) <= MAX_INLINE_BYTES and _fits_an_item(value):
            events.append(Event(event_id, index, raw))
        elif len(outputs) == MAX_BY_REFERENCE:
            raise Rejected(
                f"More than {MAX_BY_REFERENCE} events of one file are beyond what a table's item can hold "
                f"({MAX_INLINE_BYTES // 1024} KiB, {_MAX_DIGITS} digits, {MAX_NESTING} levels): split it up.",
                code="too_many_events",
            )
        else:
            name = f"event-{index}.json"
            outputs.append(Output(name, "application/json", raw.encode("utf-8", "surrogatepass")))
            events.append(Event(event_id, index, None, name))
    return Result(
        metadata={"format": documents.format, "events": len(events), "byReference": len(outputs)},
        outputs=outputs,
        events=events,
    )


def _text_of(body: bytes) -> str:
    """Without a guess at other encodings: a wrong one would be kept as data (RFC 8259, section 8.1)."""
    try:
        return decode_unicode(body)[0]
    except UnicodeDecodeError as error:
        begin = body.rfind(b"\n", 0, error.start) + 1
        line, column = body.count(b"\n", 0, begin) + 1, len(body[begin : error.start].decode()) + 1
    raise _invalid("this is not UTF-8: save the file in that encoding", line, column)


class _Documents:
    """The JSON documents of a text, one after the other, with or without white space between them."""

    def __init__(self, text: str, *, by_line: bool = False) -> None:
        self._text = text
        self._by_line = by_line
        # Decimal for all numbers: exact, and free of the limit on digits that int() has.
        self._decoder = json.JSONDecoder(
            parse_float=_decimal, parse_int=_decimal, parse_constant=_no_such_constant
        )
        self.format = "json"

    def events(self) -> Iterator[tuple[Any, str]]:
        """Each event and its very text."""
        position = self._skip(0)
        if position == len(self._text):
            raise self._broken("expected a document, and found nothing", position)
        if self._text[position] == "[":
            yield from self._elements(position + 1)
            return
        count = 0
        while position < len(self._text):
            value, end = self._decode(position)
            count += 1
            if count == 2:
                self.format = "ndjson"
            yield value, self._text[position:end]
            position = self._skip(end)
            # Brackets and quotes end a document by themselves, but 12 is not 1 and 2.
            if position == end < len(self._text) and self._text[end - 1] not in '}]"':
                raise self._broken("expected white space before the next document", end)

    def _elements(self, position: int) -> Iterator[tuple[Any, str]]:
        position = self._skip(position)
        if self._text[position : position + 1] != "]":
            while True:
                value, end = self._decode(position)
                yield value, self._text[position:end]
                position = self._skip(end)
                if self._text[position : position + 1] != ",":
                    break
                position = self._skip(position + 1)
        if self._text[position : position + 1] != "]":
            raise self._broken("expected ',' or ']'", position)
        if (position := self._skip(position + 1)) != len(self._text):
            raise self._broken("expected the end of the file", position)

    def _decode(self, position: int) -> tuple[Any, int]:
        try:
            return self._decoder.raw_decode(self._text, position)
        except json.JSONDecodeError as error:
            message, at = self._first_error(error, position)
            raise self._broken(_readable(message), at) from None
        except _BadNumber as error:
            raise self._unfit(str(error), error.code, position) from None
        except RecursionError:
            raise self._unfit("is nested too deeply to be read", "too_deep", position) from None

    def _first_error(self, error: json.JSONDecodeError, position: int) -> tuple[str, int]:
        """What is wrong, and where: of a line of NDJSON that is cut off, it is not the next line."""
        line_end = self._text.find("\n", position, error.pos)
        if self._by_line and line_end >= 0:
            try:
                self._decoder.raw_decode(self._text[position:line_end])
            except json.JSONDecodeError as cut_off:
                return cut_off.msg, position + cut_off.pos
        return error.msg, error.pos

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        return match.end() if match else position

    def _place(self, position: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = self._text.count("\n", 0, position) + 1
        return line, position - self._text.rfind("\n", 0, position)

    def _broken(self, problem: str, position: int) -> Rejected:
        return _invalid(problem, *self._place(position))

    def _unfit(self, problem: str, code: str, position: int) -> Rejected:
        """Something inside of the value at `position`: the scanner does not tell where."""
        line, column = self._place(position)
        message = f"The JSON value at line {line}, column {column} {problem}."
        return Rejected(message, code=code, line=line, column=column)


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


def _id_of(value: Any) -> str | None:
    """The event's own `id`, where it has one that can be a key."""
    candidate = value.get("id") if isinstance(value, dict) else None
    if isinstance(candidate, Decimal):
        candidate = str(candidate)
    if not isinstance(candidate, str) or not candidate:
        return None
    try:
        return candidate if len(candidate.encode()) <= MAX_ID_BYTES else None
    except UnicodeEncodeError:
        return None


def _fits_an_item(value: Any, depth: int = 0) -> bool:
    """Whether DynamoDB can hold the value without changing it."""
    if depth > MAX_NESTING:
        return False
    if isinstance(value, Decimal):
        return _is_exact(value)
    if isinstance(value, str):
        return not _LONE_SURROGATE.search(value)
    if isinstance(value, dict):
        return all(_fits_a_name(name) and _fits_an_item(inner, depth + 1) for name, inner in value.items())
    if isinstance(value, list):
        return all(_fits_an_item(inner, depth + 1) for inner in value)
    return True


def _fits_a_name(name: str) -> bool:
    return not _LONE_SURROGATE.search(name) and 1 <= len(name.encode()) <= MAX_NAME_BYTES


def _is_exact(number: Decimal) -> bool:
    if not _MIN_EXPONENT <= number.adjusted() <= _MAX_EXPONENT:
        return False
    digits = "".join(map(str, number.as_tuple().digits))
    return len(digits.strip("0")) <= _MAX_DIGITS
