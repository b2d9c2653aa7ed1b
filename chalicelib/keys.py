"""The S3 key grammar: build, parse, sanitise.

    uploads/<owner>/<jobId>/<filename>         signed by /presign
    incoming/<source>/….json                   dropped by machines
    processed/<owner>/<jobId>/<filename>       an ended original; rejected/ and failed/ alike
    processed/<owner>/<jobId>/outputs/<name>   what processing made

`<owner>` is the form in which an owner is known everywhere (key, ledger, message, event): the caller's `sub`
as one safe path segment, so that no code has to remember which form it holds.
"""

import hashlib
import os
import re
import string
import time
import unicodedata
from datetime import datetime
from typing import NamedTuple

from chalicelib.errors import BadRequest
from chalicelib.settings import Settings

NOBODY = "_"
"""The owner of files that have none, and of callers where nobody has to say who they are."""

INCOMING_SUFFIX = ".json"
"""What is dropped into incoming/ is work only if it is called so, for the event as for the sweep."""

DEFAULT_FILENAME = "file"
MAX_FILENAME_BYTES = 150
MAX_OWNER_BYTES = 400  # leaves room for the rest of a key within S3's 1,024 bytes

_PLAIN = frozenset(string.ascii_letters + string.digits + "-@.")
# As text: a cold start compiles those alone that it needs.
_OWNER = r"(?!\.)(?:[A-Za-z0-9@.-]|=[0-9A-F]{2})+"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_EXTENSION = r"\.[A-Za-z0-9]{1,16}"
_BIDI_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, lone surrogates (which have no UTF-8 form), line and paragraph separators; and what no
# XML can hold (Extensible Markup Language 1.0, section 2.2), in which S3 is told what to delete.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DROPPED = _BIDI_MARKS | frozenset("\ufffe\uffff")
_BEFORE_THE_NAME = re.compile(r"^[\s.]+")
_CUT_OFF = r"[\s\u200d]+$"  # a joiner with nothing left to join


class OpenKey(NamedTuple):
    """Where an object under an open prefix belongs; `job_id` is None when the key itself carries none."""

    owner: str
    job_id: str | None
    filename: str


def upload_key(settings: Settings, owner: str, job_id: str, filename: str) -> str:
    return f"{settings.upload_prefix}{owner}/{job_id}/{filename}"


def ended_key(prefix: str, owner: str, job_id: str, filename: str) -> str:
    return f"{prefix}{owner}/{job_id}/{filename}"


def job_folder(prefix: str, owner: str, job_id: str) -> str:
    """What the keys of all objects of a job under a prefix begin with, and no others."""
    return f"{prefix}{owner}/{job_id}/"


def output_key(settings: Settings, owner: str, job_id: str, name: str) -> str:
    return f"{settings.processed_prefix}{owner}/{job_id}/outputs/{name}"


def parse(settings: Settings, key: str) -> OpenKey | None:
    """What an object key under an open prefix says of its owner, job and name.

    Returns None for what is no work: keys outside the open prefixes, folder markers, which end in `/` and
    which consoles make, and anything under `incoming/` that is not called `.json`.
    """
    prefix = next((p for p in settings.open_prefixes if key.startswith(p)), None)
    if prefix is None or key.endswith("/"):
        return None
    if prefix == settings.incoming_prefix and not key.endswith(INCOMING_SUFFIX):
        return None
    segments = key[len(prefix) :].split("/")
    if prefix == settings.upload_prefix and _is_presigned(segments):
        owner, job_id, filename = segments
        return OpenKey(owner, job_id, filename)
    return OpenKey(_owner_of_drop(segments), None, safe_filename(segments[-1]))


def _owner_of_drop(segments: list[str]) -> str:
    """The first folder names the owner; one that has not been made by us is escaped like a subject."""
    first = segments[0] if len(segments) > 1 else ""
    if not first or first == NOBODY:
        return NOBODY
    if _is_owner(first):
        return first
    try:
        return owner_segment(first)
    except BadRequest:
        return NOBODY  # longer than any caller's: shortened, it could be somebody else's


def _is_presigned(segments: list[str]) -> bool:
    if len(segments) != 3:
        return False
    owner, job_id, filename = segments
    return (
        (owner == NOBODY or _is_owner(owner))
        and is_job_id(job_id)
        and bool(filename)
        and safe_filename(filename) == filename
    )


def _is_owner(segment: str) -> bool:
    return bool(re.fullmatch(_OWNER, segment)) and len(segment) <= MAX_OWNER_BYTES


def owner_segment(sub: str) -> str:
    """A token's subject as one safe path segment; no two subjects share one.

    Letters, digits, `-`, `@` and inner dots stand for themselves; every other byte of the UTF-8 form becomes
    `=XX`, as in quoted-printable (RFC 2045, section 6.7). `_` is escaped as well, so that no subject is ever
    `NOBODY`.

    Raises:
        BadRequest: the subject is empty or too long to be part of a key.
    """
    encoded = "".join(
        chr(byte) if chr(byte) in _PLAIN else f"={byte:02X}" for byte in sub.encode("utf-8", "surrogatepass")
    )
    if encoded.startswith("."):
        encoded = "=2E" + encoded[1:]
    if not _is_owner(encoded):
        raise BadRequest(f"An owner has 1 to {MAX_OWNER_BYTES} bytes when encoded.", code="bad_owner")
    return encoded


def safe_filename(name: str | None) -> str:
    """The last path segment of what a client calls its file, made safe to store, show and download.

    NFC; control characters, separators, bidirectional marks and leading dots are gone; at most 150 bytes,
    with the extension kept. Never empty.
    """
    if not name:
        return DEFAULT_FILENAME
    last = name.replace("\\", "/").rpartition("/")[2]
    normal = last if last.isascii() and last.isprintable() else _normal(last)
    return _shortened(_BEFORE_THE_NAME.sub("", normal).rstrip()) or DEFAULT_FILENAME


def _normal(name: str) -> str:
    kept = "".join(c for c in name if unicodedata.category(c) not in _UNSAFE_CATEGORIES and c not in _DROPPED)
    # Last, as what was between a letter and its accent is gone by now.
    return unicodedata.normalize("NFC", kept)


def _shortened(name: str) -> str:
    if len(name.encode()) <= MAX_FILENAME_BYTES:
        return name
    stem, dot, tail = name.rpartition(".")
    extension = dot + tail if stem and re.fullmatch(_EXTENSION, dot + tail) else ""
    room = MAX_FILENAME_BYTES - len(extension)
    body = (stem if extension else name).encode()[:room].decode("utf-8", "ignore")
    return (re.sub(_CUT_OFF, "", body) or DEFAULT_FILENAME) + extension


def is_job_id(text: str) -> bool:
    return bool(re.fullmatch(_UUID, text))


def new_job_id() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): sorts by the millisecond in which it was made."""
    return _uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def derived_job_id(bucket: str, key: str, etag: str, last_modified: datetime) -> str:
    """The job id of an object whose key carries none, in the form of a UUIDv7.

    Made from what an event's receiver and a listing both can see, so that a redelivered event and the sweep
    arrive at the same job, while a new object on the same key is a new one. S3 keeps `last_modified` to the
    second.
    """
    seconds = int(last_modified.timestamp())
    digest = hashlib.sha256("\0".join((bucket, key, etag, str(seconds))).encode("utf-8", "surrogatepass"))
    return _uuid7(seconds * 1000, digest.digest()[:10])


def _uuid7(milliseconds: int, random: bytes) -> str:
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(random)
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    digits = f"{value:032x}"  # by hand: to import `uuid` would be a part of every cold start
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
