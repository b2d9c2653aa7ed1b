"""What a file is, by its bytes.

Its name decides only between readings of the same bytes: whether text was meant as JSON or CSV, whether a
container that could hold a film holds nothing but sound.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from chalicelib.filetypes import signatures, texts

HEAD_BYTES = 64 * 1024
"""How much of a file's beginning is enough to know it."""


@dataclass(frozen=True, slots=True)
class FileType:
    family: str
    media_type: str


OTHER = FileType("other", "application/octet-stream")

# Only what its family's processor can work on: a Photoshop document is an image and yet `other`.
_FAMILIES = {
    "image": (
        *("image/avif", "image/gif", "image/heic", "image/heif", "image/jpeg"),
        *("image/png", "image/tiff", "image/webp"),
    ),
    "pdf": ("application/pdf",),
    "data": ("application/json", "application/x-ndjson", "text/csv", "text/tab-separated-values"),
    "text": ("text/plain", "text/markdown", "text/html", "text/xml", "image/svg+xml"),
    "audio": (
        *("audio/3gpp", "audio/aac", "audio/aiff", "audio/amr", "audio/basic", "audio/flac", "audio/mp4"),
        *("audio/mpeg", "audio/ogg", "audio/wav", "audio/webm", "audio/x-caf", "audio/x-matroska"),
    ),
    "video": (
        *("video/3gpp", "video/3gpp2", "video/mp2t", "video/mp4", "video/mpeg", "video/ogg"),
        *("video/quicktime", "video/webm", "video/x-flv", "video/x-matroska", "video/x-msvideo"),
        "application/vnd.ms-asf",
    ),
}
_FAMILY_OF = {media_type: family for family, members in _FAMILIES.items() for media_type in members}


def family_of(media_type: str) -> str:
    """The family that works on files of a type that `detect` has found."""
    return _FAMILY_OF.get(media_type, OTHER.family)


def detect(head: bytes, filename: str) -> FileType:
    """The type of a file from its first `HEAD_BYTES` bytes.

    Text whose extension says JSON is JSON, so that a broken document is told so instead of passing as text.
    """
    extension = PurePosixPath(filename).suffix.lower()
    text = texts.read(head)
    media_type = signatures.media_type(head, extension, is_text=text is not None)
    if media_type is None:
        if text is None:
            return OTHER
        media_type = texts.media_type(text, extension)
    return FileType(family_of(media_type), media_type)
