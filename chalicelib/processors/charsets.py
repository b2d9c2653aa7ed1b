"""Charsets: the encoding that a text on disk is in, read piece by piece, whatever its size."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from chalicelib.errors import Rejected

SAMPLE_BYTES = 64 * 1024
"""How much text the guess at an encoding is made from: it costs several passes over all it is given."""

MAX_GUESSES = 5
"""Each is checked against the whole file; after the best of them, what still fits is hardly meant."""

ZEROS_SAMPLE_BYTES = 4096
"""Where zero bytes are looked for: what follows may be in another script."""

MIN_ZEROS = 3
"""Fewer, and less than one byte in a hundred, may be in a text by accident."""

_PIECE_BYTES = 1024 * 1024

# The mark of UTF-32 begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
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

_NOT_ASCII = bytes(range(0x80, 0x100))


@dataclass(frozen=True, slots=True)
class Charset:
    name: str
    """As a person calls it."""
    codec: str
    """As Python does. To this one, a byte order mark is no part of the text."""


class NotUnicode(Exception):
    """There is no byte order mark, and the byte at `offset` is not UTF-8, the first that is not."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def charset_of(path: Path) -> Charset:
    """By byte order mark or zero bytes, then UTF-8, then the likeliest other one. All of the file is in it.

    Raises:
        Rejected: `unknown_encoding`, `broken_encoding`.
    """
    try:
        return unicode_of(path)
    except NotUnicode as error:
        sample = _sample(path, error.offset)
    for codec in _likeliest(sample)[:MAX_GUESSES]:
        if _misfit(path, codec) is None:
            return Charset(codec.replace("_", "-"), codec)
    raise Rejected(
        "The text is in no encoding that could be recognised: save it as UTF-8.", code="unknown_encoding"
    )


def unicode_of(path: Path) -> Charset:
    """Without a guess: by byte order mark or zero bytes, else UTF-8. All of the file is in it.

    Raises:
        Rejected: there is a mark, and the rest belies it (`broken_encoding`).
        NotUnicode: it is none of these.
    """
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    for mark, codec in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _marked(path, codec)
    unmarked = _utf_16_without_mark(head)
    if unmarked and _misfit(path, unmarked) is None:
        return Charset("utf-16", unmarked)
    misfit = _misfit(path, "utf-8")
    if misfit is not None:
        raise NotUnicode(misfit)
    return Charset("utf-8", "utf-8")


def _marked(path: Path, codec: str) -> Charset:
    name = codec.removesuffix("-sig")
    misfit = _misfit(path, codec)
    if misfit is not None:
        raise Rejected(
            f"The byte order mark says {name.upper()}, but byte {misfit} does not fit: save it as UTF-8.",
            code="broken_encoding",
        )
    return Charset(name, codec)


def _utf_16_without_mark(head: bytes) -> str | None:
    """By its zero bytes: they are one half of each space, digit and line end, and mostly the same half.

    The other half of some characters is zero as well, such as U+4E00, and of no more than one in four where
    `filetypes` takes a text for UTF-16: that is one here, too.
    """
    sample = head[:ZEROS_SAMPLE_BYTES]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    zeros = even + odd
    if 3 * min(even, odd) > max(even, odd) or zeros < MIN_ZEROS or zeros * 100 < len(sample):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _misfit(path: Path, codec: str) -> int | None:
    """The offset of the first byte that is not in that encoding."""
    decoder = codecs.getincrementaldecoder(codec)()
    end = 0
    with path.open("rb") as file:
        while True:
            piece = file.read(_PIECE_BYTES)
            end += len(piece)
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                return end - len(error.object) + error.start
            if not piece:
                return None


def _sample(path: Path, offset: int) -> bytes:
    """Some text around `offset`, the first byte that is not UTF-8: all before it may be plain ASCII.

    It begins with a line and ends behind an ASCII byte where it can: a character that is cut in two would
    speak against its encoding.
    """
    earliest = max(0, offset - SAMPLE_BYTES // 2)
    with path.open("rb") as file:
        file.seek(earliest)
        line_end = file.read(offset - earliest).rfind(b"\n")
        begins_here = earliest + line_end + 1 if line_end >= 0 or earliest == 0 else offset
        file.seek(begins_here)
        sample = file.read(SAMPLE_BYTES)
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
