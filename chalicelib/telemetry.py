"""Structured logs: one JSON object a line.

What identifies a person or opens a door stays out of them: no token, no signed URL, no file name or content;
owners appear as a short hash that still tells two of them apart.
"""

import hashlib
import json
import logging
import sys
from functools import lru_cache


@lru_cache(maxsize=1)
def _logger() -> logging.Logger:
    logger = logging.getLogger("waybill.telemetry")  # "waybill" is the one that Chalice formats for itself
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Lambda's own handler would print every line a second time
    return logger


def log(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write `{"level", "event", **fields}`; fields that are None are left out."""
    line = {"level": logging.getLevelName(level).lower(), "event": event}
    known = {name: value for name, value in fields.items() if value is not None}
    # All ASCII: half a surrogate pair would not go out, and a line separator would make two lines of one.
    _logger().log(level, "%s", json.dumps(line | known, default=str))


def owner_hash(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:12]
