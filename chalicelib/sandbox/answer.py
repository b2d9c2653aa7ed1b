"""What a child says of a file, checked before any of it is used."""

import json
import logging
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from chalicelib.errors import DecodeFailed, Rejected
from chalicelib.processors.base import Output, Result
from chalicelib.sandbox.eventfile import EventFile
from chalicelib.sandbox.failures import LARGE, lie
from chalicelib.sandbox.task import Task
from chalicelib.telemetry import log

MAX_METADATA_BYTES = 64 * 1024
MAX_DEPTH = 10
MAX_OUTPUTS = 600

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CONTENT_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(?:; charset=[a-z0-9-]+)?")


def result_of(task: Task, answer: Mapping[str, Any]) -> Result:
    """
    Raises:
        Rejected: by the processor.
        DecodeFailed: out of memory, or a lie.
        RuntimeError: an unexpected exception in the processor.
    """
    match answer.get("outcome"):
        case "result":
            return _checked(task, answer)
        case "rejected":
            _reject(answer)
        case "out_of_memory":
            raise DecodeFailed(LARGE, code="decode_out_of_memory")
        case "failed":
            log("sandbox.exception", level=logging.ERROR, family=task.family, note=str(answer.get("note")))
            raise RuntimeError("an unexpected exception in a processor")
    raise lie("no known outcome")


def _checked(task: Task, answer: Mapping[str, Any]) -> Result:
    metadata, listed = answer.get("metadata"), answer.get("outputs")
    if not isinstance(metadata, dict) or not _fits(metadata):
        raise lie("metadata")
    if not isinstance(listed, list) or len(listed) > MAX_OUTPUTS:
        raise lie("outputs")
    outputs = [_output(task, entry) for entry in listed]
    names = {output.name for output in outputs}
    if len(names) != len(outputs):
        raise lie("two outputs of one name")
    try:
        events = EventFile.read(task.made / "events", most=task.source.caps.events, outputs=names)
    except (OSError, ValueError) as error:
        raise lie("events") from error
    return Result(metadata, outputs, events)


def _fits(metadata: Any) -> bool:
    """Whether a job can hold it, which is an item of a table."""
    try:
        text = json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):  # no number, half a character, or nested without end
        return False
    return len(text) <= MAX_METADATA_BYTES and _depth(metadata) <= MAX_DEPTH


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _output(task: Task, entry: Any) -> Output:
    if not isinstance(entry, dict):
        raise lie("an output")
    name, content_type = entry.get("name"), entry.get("contentType")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise lie("the name of an output")
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise lie("the type of an output")
    path = task.made / "outputs" / name
    if not (_is(stat.S_ISDIR, path.parent) and _is(stat.S_ISREG, path)):
        raise lie("an output that is no file")
    return Output(name, content_type, path)


def _is(kind: Any, path: Path) -> bool:
    """Whether it is of a kind by itself, and not by way of a link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return bool(kind(found.st_mode))


def _reject(answer: Mapping[str, Any]) -> NoReturn:
    code, message, details = answer.get("code"), answer.get("message"), answer.get("details")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise lie("a code")
    if not isinstance(message, str) or not 0 < len(message) <= 1_000:
        raise lie("a message")
    if not isinstance(details, dict) or not all(isinstance(v, str | int) for v in details.values()):
        raise lie("details")
    rejected = Rejected(message, code=code)
    rejected.details = details
    raise rejected
