"""What Amazon Transcribe answers, as a transcript.

    {"results": {"language_code": "en-US", "items": [
        {"type": "pronunciation", "start_time": "0.0", "end_time": "0.41",
         "alternatives": [{"confidence": "0.998", "content": "Welcome"}]},
        {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": "."}]}, …]}, …}

Amazon Transcribe Developer Guide, "Data input and output". Whatever is missing there is done without.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from chalicelib.errors import DecodeFailed
from chalicelib.transcription.transcript import UNKNOWN_LANGUAGE, Transcript, Word

SOURCE = "amazon"

_OPENING = ("¿", "¡")
"""Marks that are written before a word; all others follow one."""


def read(raw: bytes, language: str | None = None) -> Transcript:
    """`language` is the one that was asked for, as the answer may not name it.

    Raises:
        DecodeFailed: this is no answer of Amazon Transcribe's (`transcript_unreadable`).
    """
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise DecodeFailed("Amazon Transcribe's result cannot be read.", code="transcript_unreadable")
    results = _mapping(answer.get("results"))
    spoken = _language(results) or language or UNKNOWN_LANGUAGE
    return Transcript(spoken, tuple(_words(results)), SOURCE)


def _language(results: Mapping[str, Any]) -> str | None:
    """As named, or as found out: the most likely one comes first."""
    found = [_mapping(guess).get("code") for guess in _list(results.get("language_identification"))]
    return next((code for code in (results.get("language_code"), *found) if _is_text(code)), None)


def _words(results: Mapping[str, Any]) -> Iterator[Word]:
    last: Word | None = None
    opening = ""
    for item in map(_mapping, _list(results.get("items"))):
        best = _mapping(next(iter(_list(item.get("alternatives"))), None))
        content = best.get("content")
        if not _is_text(content):
            continue
        text = " ".join(content.split())
        if item.get("type") == "pronunciation":
            if last is not None:
                yield last
            last = _word(opening + text, item, best, last.end if last else 0.0)
            opening = ""
        elif text in _OPENING:
            opening += text
        elif last is not None:
            last = replace(last, text=last.text + text)
    if last is not None:
        yield last


def _word(text: str, item: Mapping[str, Any], best: Mapping[str, Any], earliest: float) -> Word:
    start = _number(item.get("start_time"), math.inf)
    end = _number(item.get("end_time"), math.inf)
    begin = earliest if start is None else start
    confidence = _number(best.get("confidence"), 1.0)
    return Word(text, begin, begin if end is None else max(begin, end), confidence)


def _number(value: Any, highest: float) -> float | None:
    """Numbers come as text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and 0 <= number <= highest else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
