"""Plain text, Markdown, and HTML or SVG as text only: normalised to UTF-8, never rendered."""

import codecs
import re
import unicodedata
from contextlib import suppress

from chalicelib.errors import Rejected
from chalicelib.processors.base import Output, Result, Source

SAMPLE_BYTES = 64 * 1024
"""How much text the guess at an encoding is made from: it costs several passes over all it is given."""

MAX_MARKS = 30
"""Combining marks in a row (UAX #15, section 13): to order them costs the square of their number."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# What files are in that say nothing of it, the likelier of two equals first: the legacy encodings of the
# WHATWG Encoding Standard, and the code page of Western consoles.
_LEGACY = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("iso8859_2", "iso8859_15", "koi8_r", "cp850", "mac_roman"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
)

_WORD = re.compile(r"\S+")
_NOT_ASCII = bytes(range(0x80, 0x100))
_GRAPHEME_JOINER = "\u034f"
_PERHAPS_MARKS = re.compile(rf"[^\w\s\x00-\u02ff]{{{MAX_MARKS + 1},}}")


def process(source: Source) -> Result:
    """`text.txt` in UTF-8 and NFC with `\\n` line ends; encoding and counts.

    Raises:
        Rejected: no encoding makes sense of the bytes (`unknown_encoding`, `broken_encoding`).
    """
    text, encoding = decode(source.read())
    text = _normalised(text.replace("\r\n", "\n").replace("\r", "\n"))
    return Result(
        metadata={
            "encoding": encoding,
            "characters": len(text),
            "words": sum(1 for _ in _WORD.finditer(text)),  # a list of them would take ten times the text
            "lines": text.count("\n") + (text != "" and not text.endswith("\n")),
        },
        outputs=[Output("text.txt", "text/plain; charset=utf-8", text.encode())],
    )


def decode(body: bytes) -> tuple[str, str]:
    """The text and the name of its encoding: byte order mark, then UTF-8, then the likeliest other one.

    Raises:
        Rejected: `unknown_encoding`, `broken_encoding`.
    """
    try:
        return decode_unicode(body)
    except UnicodeDecodeError as error:
        sample = _sample(body, error.start)
    for encoding in _likeliest(sample):
        with suppress(UnicodeDecodeError):
            return body.decode(encoding), encoding.replace("_", "-")
    raise Rejected(
        "The text is in no encoding that could be recognised: save it as UTF-8.", code="unknown_encoding"
    )


def decode_unicode(body: bytes) -> tuple[str, str]:
    """By the byte order mark, else as UTF-8.

    Raises:
        Rejected: there is a mark, and the rest belies it (`broken_encoding`).
        UnicodeDecodeError: there is none, and it is not UTF-8.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return _by_mark(body, encoding), encoding.removesuffix("-sig")
    return body.decode(), "utf-8"


def _by_mark(body: bytes, encoding: str) -> str:
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        raise Rejected(
            f"The byte order mark says {name}, but byte {error.start} does not fit: save it as UTF-8.",
            code="broken_encoding",
        ) from None


def _sample(body: bytes, start: int) -> bytes:
    """Some text around `start`, the first byte that is not UTF-8: all that is before it may be plain ASCII.

    It begins with a line and ends behind an ASCII byte where it can: a character that is cut in two would
    speak against its encoding.
    """
    line = body.rfind(b"\n", 0, start) + 1
    begin = line if start - line < SAMPLE_BYTES // 2 else start
    sample = body[begin : begin + SAMPLE_BYTES]
    if len(sample) < SAMPLE_BYTES:
        return sample
    return sample.rstrip(_NOT_ASCII) or sample


def _likeliest(sample: bytes) -> list[str]:
    """Encodings that may be the sample's, the best first."""
    from charset_normalizer import from_bytes

    ranked = sorted(
        (round(match.chaos, 2), -match.coherence, _LEGACY.index(name), name)
        for match in from_bytes(sample, cp_isolation=list(_LEGACY))
        for name in match.could_be_from_charset
    )
    return [name for *_, name in ranked]


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFC", text if text.isascii() else _PERHAPS_MARKS.sub(_stream_safe, text))


def _stream_safe(run: re.Match[str]) -> str:
    """The Stream-Safe Text Process: a joiner wherever too many marks follow each other."""
    safe: list[str] = []
    marks = 0
    for character in run[0]:
        is_mark = unicodedata.combining(unicodedata.normalize("NFD", character)[0]) != 0
        marks = marks + 1 if is_mark else 0
        if marks > MAX_MARKS:
            safe.append(_GRAPHEME_JOINER)
            marks = 1
        safe.append(character)
    return "".join(safe)
