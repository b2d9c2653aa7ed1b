"""Entity tags: how a client asks whether what it has is still good (RFC 9110, sections 8.8.3 and 13.1.2)."""

import hashlib
import re

_TAG = r'(?:W/)?("[^\x00-\x20"\x7f]*")'


def strong_etag(text: str) -> str:
    """The same for the same bytes, and for no others."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def matches(if_none_match: str, etag: str) -> bool:
    """Whether the header names this tag, or anything at all; compared weakly, as the RFC wants it here."""
    return if_none_match.strip() == "*" or etag in re.findall(_TAG, if_none_match)
