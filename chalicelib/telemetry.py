"""Structured logs: one JSON object a line, on standard output, which Lambda keeps.

What identifies a person or opens a door stays out of them: no token, no signed URL, no file name or content;
owners appear as a short hash that still tells two of them apart.

What a piece of work is about (its invocation, its job, its owner) is said once, where it begins, and every
line that is written within carries it: `with about(jobId=…): …`.

Not by way of `logging`: Chalice and Lambda hang handlers there, each of which would print the line again.
"""

import hashlib
import json
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PACKAGE = __file__.rpartition("/")[0]  # without `pathlib`, which a cold start would have to wait for

_LEVELS = {
    level: logging.getLevelName(level).lower() for level in (logging.INFO, logging.WARNING, logging.ERROR)
}
_encode = json.JSONEncoder(default=str).encode

_known: ContextVar[dict[str, object] | None] = ContextVar("known", default=None)


class about:
    """Have every line that is written within carry these fields, and those that are known here already.

    Not by `contextlib`, which costs as much as the line: this is around every request.
    """

    __slots__ = ("_before", "_fields")

    def __init__(self, **fields: object) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        known = _known.get()
        self._before = _known.set({**known, **self._fields} if known else self._fields)

    def __exit__(self, *_: object) -> None:
        _known.reset(self._before)


def note(**fields: object) -> None:
    """More that the rest of the work at hand is about; forgotten with the innermost `about`."""
    known = _known.get()
    if known is not None:
        known.update(fields)


def noted() -> Mapping[str, object]:
    """What the lines that are written here carry."""
    return _known.get() or {}


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """The same work for other threads: their lines then carry what is known in this one."""
    known = dict(noted())

    def knowing(*args: P.args, **kwargs: P.kwargs) -> T:
        with about(**known):
            return work(*args, **kwargs)

    return knowing


def log(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write `{"level", "event", **noted(), **fields}`; fields that are None are left out.

    What metrics there are among the fields, `_aws` (see `metrics`), is JSON already.
    """
    aws = fields.pop("_aws", None)
    line = {"level": _LEVELS[level], "event": event, **(_known.get() or {}), **fields}
    # All ASCII: half a surrogate pair would not go out, and a line separator would make two lines of one.
    text = _encode({name: value for name, value in line.items() if value is not None})
    if aws is not None:
        text = f'{text[:-1]}, "_aws": {aws}}}'
    out = sys.stdout
    out.write(text + "\n")  # in one piece, as threads write side by side
    out.flush()


def cause(error: BaseException) -> str:
    """What went wrong and where, without its words: those of an SDK quote whole URLs, owner and name in them.

    Such as `ClientError SlowDown of GetObject at storage.py:91`.
    """
    said = [type(error).__name__]
    answer = getattr(error, "response", None)  # of botocore's ClientError
    code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else getattr(error, "code", None)
    if isinstance(code, str):
        said.append(code)
    if operation := getattr(error, "operation_name", None):
        said.append(f"of {operation}")
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in frame.filename]
    if ours:
        said.append(f"at {ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}")
    return " ".join(said)


@lru_cache(maxsize=256)
def owner_hash(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:12]
