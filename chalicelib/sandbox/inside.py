"""The inner side of the sandbox: a process that decodes one file after the other, within limits.

Started by `child` as `python -m chalicelib.sandbox.inside <registry> <bytes of memory>`, with a socket as its
standard input. It ends when the socket does, and so never outlives a parent while idle; and at work, when
a timer of its own runs out, so that it does not for long outlive a parent that was killed.
"""

import gc
import importlib
import json
import math
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from chalicelib.errors import Rejected
from chalicelib.processors import memory
from chalicelib.processors.base import Caps, Event, Output, Processor, Result, Source
from chalicelib.sandbox import frames
from chalicelib.sandbox.reports import Reports

MAX_REQUEST_BYTES = 64 * 1024

MAX_OPEN_FILES = 128

GRACE = 2.0
"""Seconds behind the wall time: at its end it is the parent that acts, if there still is one."""

_LONGEST_NOTE = 4_000


def main(registry_name: str, memory_bytes: int) -> None:
    confine(memory_bytes)
    channel = socket.socket(fileno=os.dup(0))
    registry = _registry(registry_name)
    frames.send(channel, {"outcome": "ready"})
    # Until here an error shows in the parent's log. A decoder has nothing to say there, nor on the socket.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    # A large document is millions of objects, and to look for garbage among them takes most of its time.
    gc.disable()
    gc.freeze()
    while True:
        try:
            request = frames.receive(channel.recv, MAX_REQUEST_BYTES)
        except EOFError:
            return
        _limit_job(request["cpuSeconds"], request["wallSeconds"], request["fileBytes"])
        answer = _work_on(registry, request, Reports(partial(frames.send, channel)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            frames.send(channel, answer)
        except (TypeError, ValueError) as error:  # metadata that JSON has no words for
            frames.send(channel, _failed(error))
        del answer
        gc.collect()


def confine(memory_bytes: int) -> None:
    """Limits for the whole life of the process, which it cannot raise again."""
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        with suppress(ValueError, OSError):  # macOS knows the limit on memory by name only
            resource.setrlimit(limit, (_allowed(limit, value),) * 2)


def _limit_job(cpu_seconds: int, wall_seconds: float, file_bytes: int) -> None:
    """Limits for one file: SIGXCPU and SIGALRM kill the process that goes beyond, wherever in C it is."""
    _lower(resource.RLIMIT_CPU, math.ceil(time.process_time() + cpu_seconds))
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    for number in (signal.SIGXCPU, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, wall_seconds + GRACE)


def _lower(limit: int, value: int) -> None:
    resource.setrlimit(limit, (_allowed(limit, value), resource.getrlimit(limit)[1]))


def _allowed(limit: int, value: int) -> int:
    """What this process may still ask for, under a limit that it was itself started with."""
    _, hard = resource.getrlimit(limit)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _registry(name: str) -> Mapping[str, Processor]:
    module, _, attribute = name.partition(":")
    registry: Mapping[str, Processor] = getattr(importlib.import_module(module), attribute)
    return registry


def _work_on(
    registry: Mapping[str, Processor], request: Mapping[str, Any], report: Reports
) -> dict[str, Any]:
    source = Source(
        path=Path(request["path"]),
        filename=request["filename"],
        media_type=request["mediaType"],
        scratch=Path(request["scratch"]),
        caps=Caps(**request["caps"]),
        transcriber=request["transcriber"],
        report=report,
    )
    try:
        return _handed_over(registry[request["family"]](source), Path(request["made"]))
    except Rejected as error:
        return {"outcome": "rejected", "code": error.code, "message": error.message, "details": error.details}
    except Exception as error:
        if memory.ran_out(error):
            return {"outcome": "out_of_memory"}
        return _failed(error)


def _failed(error: Exception) -> dict[str, Any]:
    """Its kind and where it was raised; its words may quote the file, and the note goes to the log."""
    where = "".join(traceback.format_tb(error.__traceback__))
    number = error.errno if isinstance(error, OSError) else None
    kind = type(error).__name__ + (f": {os.strerror(number)}" if number else "")
    return {"outcome": "failed", "note": (where + kind)[-_LONGEST_NOTE:]}


def _handed_over(result: Result, made: Path) -> dict[str, Any]:
    """What was made, laid out in `made` as the parent looks for it."""
    for output in result.outputs:
        _put(output, made / "outputs" / output.name)
    _write_events(result.events, made / "events")
    return {
        "outcome": "result",
        "metadata": result.metadata,
        "outputs": [{"name": output.name, "contentType": output.content_type} for output in result.outputs],
    }


def _put(output: Output, place: Path) -> None:
    if isinstance(output.body, Path):
        output.body.replace(place)
    else:
        place.write_bytes(output.body)


def _write_events(events: Sequence[Event], place: Path) -> None:
    with place.open("w", encoding="ascii") as lines:
        for event in events:
            lines.write(json.dumps([event.id, event.index, event.json, event.output]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
