"""What a file is, by its bytes.

Its name decides only between readings of the same bytes: whether text was meant as JSON or CSV.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

HEAD_BYTES = 64 * 1024
"""How much of a file's beginning is enough to know it."""


@dataclass(frozen=True, slots=True)
class FileType:
    family: str
    media_type: str


OTHER = FileType("other", "application/octet-stream")
JSON = FileType("data", "application/json")
PLAIN = FileType("text", "text/plain")

# Signatures as registered with IANA and in the formats' own specifications: (offset, bytes) → media type.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "application/ogg"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
)

# Signatures that prose may have in the same place ("A TIDAL WAVE"): they count where the rest is no text.
_WORDS = frozenset(
    (b"GIF87a", b"GIF89a", b"WEBP", b"MZ", b"ID3", b"fLaC", b"OggS", b"WAVE", b"AVI ", b"ftyp"),
)

_BY_EXTENSION = {
    ".csv": FileType("text", "text/csv"),
    ".htm": FileType("text", "text/html"),
    ".html": FileType("text", "text/html"),
    ".json": JSON,
    ".jsonl": FileType("data", "application/x-ndjson"),
    ".markdown": FileType("text", "text/markdown"),
    ".md": FileType("text", "text/markdown"),
    ".ndjson": FileType("data", "application/x-ndjson"),
    ".svg": FileType("text", "image/svg+xml"),
    ".tsv": FileType("text", "text/tab-separated-values"),
    ".xml": FileType("text", "text/xml"),
}

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_JSON_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\]])")


def detect(head: bytes, filename: str) -> FileType:
    """The type of a file from its first `HEAD_BYTES` bytes.

    Text without an extension is JSON when it starts like it; text whose extension says JSON is JSON, so that
    a broken document is told so instead of passing as text.
    """
    is_text = _is_text(head)
    for offset, signature, media_type in _SIGNATURES:
        if head.startswith(signature, offset) and not (is_text and signature in _WORDS):
            return FileType("other", media_type)
    if not is_text:
        return OTHER
    extension = PurePosixPath(filename).suffix.lower()
    if known := _BY_EXTENSION.get(extension):
        return known
    return JSON if not extension and _JSON_START.match(head) else PLAIN


def _is_text(head: bytes) -> bool:
    return head.startswith(_UTF16_MARKS) or not _CONTROL.search(head)
