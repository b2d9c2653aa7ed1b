"""What an item of a DynamoDB table can hold without changing it, and what can be its key."""

import re
from decimal import Decimal
from typing import Any

from chalicelib.processors.documents import Document

MAX_NESTING = 30  # an item's attributes nest 32 levels deep; the event sits one level down
MAX_NAME_BYTES = 65_535  # of an attribute, also inside the event
MAX_ID_BYTES = 512  # well inside the 1,024 bytes of a sort key

# DynamoDB Developer Guide, "Number": 38 significant digits, from 1E-130 to 9.99E+125. Below 1E-128 boto3 has
# no room for all of the digits.
MAX_DIGITS, _MIN_EXPONENT, _MAX_EXPONENT = 38, -128, 125

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character, which JSON can escape and UTF-8 cannot write."""


def id_of(value: Any) -> str | None:
    """The event's own `id`, where it has one that can be a key."""
    candidate = value.get("id") if isinstance(value, dict) else None
    if isinstance(candidate, int | Decimal) and not isinstance(candidate, bool):
        candidate = str(candidate)
    if not isinstance(candidate, str) or not candidate:
        return None
    try:
        return candidate if len(candidate.encode()) <= MAX_ID_BYTES else None
    except UnicodeEncodeError:
        return None


def fits_an_item(document: Document) -> bool:
    """Most documents show by their text alone that they do; to walk through the values takes far longer."""
    raw = document.raw
    return not (
        document.is_delicate
        or '""' in raw  # a name may be empty, or too long
        or len(raw) > MAX_NAME_BYTES // 4
        or raw.count("[") + raw.count("{") > MAX_NESTING
        or "\\u" in raw
    ) or _fits(document.value)


def _fits(value: Any, depth: int = 0) -> bool:
    if depth > MAX_NESTING:
        return False
    if isinstance(value, Decimal):
        return _is_exact(value)
    if isinstance(value, str):
        return not LONE_SURROGATE.search(value)
    if isinstance(value, dict):
        return all(_fits_a_name(name) and _fits(inner, depth + 1) for name, inner in value.items())
    if isinstance(value, list):
        return all(_fits(inner, depth + 1) for inner in value)
    return True


def _fits_a_name(name: str) -> bool:
    return not LONE_SURROGATE.search(name) and 1 <= len(name.encode()) <= MAX_NAME_BYTES


def _is_exact(number: Decimal) -> bool:
    if not _MIN_EXPONENT <= number.adjusted() <= _MAX_EXPONENT:
        return False
    digits = "".join(map(str, number.as_tuple().digits))
    return len(digits.strip("0")) <= MAX_DIGITS
