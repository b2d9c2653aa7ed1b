"""JSON text that keeps every digit of a `Decimal`, which `json` can only write by way of binary floats."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_SCALAR = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_WHOLE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_LONE_SURROGATE = "[\ud800-\udfff]"


def to_json(value: Any) -> str:
    """Compact JSON (RFC 8259) of strings, numbers, booleans, None, lists and mappings; never unfit for UTF-8.

    Raises:
        TypeError: a value of any other kind.
        ValueError: NaN or an infinity, which JSON cannot express.
    """
    try:
        text = _WHOLE.encode(value)  # in C, and so six times as fast
    except TypeError:
        text = _encoded(value)
    if text.isascii():
        return text
    return re.sub(_LONE_SURROGATE, lambda half: f"\\u{ord(half[0]):04x}", text)


def _encoded(value: Any) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} has no form in JSON.")
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_SCALAR.encode(str(k))}:{_encoded(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_encoded, value)) + "]"
    return _SCALAR.encode(value)
