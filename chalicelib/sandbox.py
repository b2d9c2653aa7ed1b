"""Decoders run in child processes, with limits on memory, CPU and wall time.

One that hangs, crashes or eats memory costs its own file, and nobody else's. It is no jail: a decoder that
was taken over still runs as the same user. So a child is started without credentials, and nothing it says is
believed: what comes back is JSON and files, and both are looked at before they are used.

Children stay warm between files. No `multiprocessing`, whose queues and pools need /dev/shm: Lambda has none.

    this process                                    sandbox_child
    Popen, one end of a socket as its input ──────▶ limits itself, imports the processors
                                           ◀────── ready
    one request: where the original lies   ──────▶ process(source)
                                           ◀────── result | rejected | out of memory | failed
    one more …, or the end of the socket   ──────▶ ends
"""

import atexit
import json
import math
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from chalicelib import frames
from chalicelib.errors import DecodeFailed, DecodeStalled, NoTurn, Rejected, Unavailable
from chalicelib.eventfile import EventFile
from chalicelib.once import once
from chalicelib.processors.base import Output, Result, Source
from chalicelib.telemetry import log

REGISTRY = "chalicelib.processors:REGISTRY"

MOST_CHILDREN = 4

FILES_PER_CHILD = 200
"""Then a new one takes over: what leaks in a decoder does not grow for ever."""

MAX_ANSWER_BYTES = 1024 * 1024
MAX_METADATA_BYTES = 64 * 1024

_LOOK_EVERY = 0.5  # seconds: the socket does not end with a child that has left a process of its own behind
_LAST_BREATH = 1.0  # seconds between the end of the socket and that of the process

_ROOT = Path(__file__).parents[1]
_KEPT_VARIABLES = re.compile(r"PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHONHOME|PYTHONUTF8")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CONTENT_TYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(?:; charset=[a-z0-9-]+)?")

_SLOW = "The file takes too long to read: save it again in a simpler form, or split it up."
_LARGE = "The file takes more memory to read than a file may take: make it smaller, or split it up."
_DEADLY = "The program that reads such files breaks over this one: open it yourself and save it anew."


def run(
    family: str, source: Source, *, cpu_seconds: int, memory_bytes: int, begin_by: float = math.inf
) -> Result:
    """What the processor of a family makes of a file; outputs and events lie beside its scratch directory.

    `begin_by` is a moment of `time.monotonic()`.

    Raises:
        Rejected: by the processor.
        DecodeFailed: `decode_timeout`, `decode_out_of_memory`, `decode_crashed`; a `DecodeStalled` may pass.
        NoTurn: all children were at work until `begin_by`.
        RuntimeError: an unexpected exception in the processor; what it was is in the log.
    """
    return _pool(memory_bytes).run(family, source, cpu_seconds=cpu_seconds, begin_by=begin_by)


def wall_seconds(cpu_seconds: int) -> float:
    """How long a file may take by the clock: more than it may compute, as others compute beside it."""
    return max(1.5 * cpu_seconds, cpu_seconds + 2.0)


@once
def _pool(memory_bytes: int) -> "Pool":
    pool = Pool(children_at_once(), memory_bytes)
    atexit.register(pool.close)
    os.register_at_fork(after_in_child=_pool.cache_clear)  # the children are those of the first process
    return pool


def children_at_once() -> int:
    """One for each processor, as decoding waits for nothing else; but two, as one of them may hang.

    On Lambda processors come with memory, 1,769 MB each, and so does the room for one child more.
    """
    return min(max(os.cpu_count() or 1, 2), MOST_CHILDREN)


class Pool:
    """At most so many children, made when they are needed; the one that was at work last goes first."""

    def __init__(self, size: int, memory_bytes: int, registry: str = REGISTRY) -> None:
        self._size = size
        self._memory_bytes = memory_bytes
        self._registry = registry
        self._changed = threading.Condition()
        self._at_work = 0
        self._idle: list[Child] = []

    def run(self, family: str, source: Source, *, cpu_seconds: int, begin_by: float = math.inf) -> Result:
        with self._turn(begin_by):
            job = _Job(family, source, cpu_seconds)
            warm = self._warm_child()
            if warm is not None:
                try:
                    return self._run(warm, job)
                except DecodeFailed as error:
                    if error.code == DecodeStalled.code:
                        raise
                    # It may have been the files before this one, or something while it was idle.
                    log("sandbox.second_try", reason=error.code, files=warm.files)
                    job.begin_again()
            return self._run(Child(self._registry, self._memory_bytes), job)

    def close(self) -> None:
        """End the children that are idle."""
        with self._changed:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    @contextmanager
    def _turn(self, begin_by: float) -> Iterator[None]:
        patience = None if begin_by == math.inf else max(0.0, begin_by - time.monotonic())
        with self._changed:
            if not self._changed.wait_for(lambda: self._at_work < self._size, patience):
                raise NoTurn("All decoders were at work.")
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._changed.notify()

    def _warm_child(self) -> "Child | None":
        with self._changed:
            return self._idle.pop() if self._idle else None

    def _run(self, child: "Child", job: "_Job") -> Result:
        sound = False
        try:
            answer = child.work(job.request(), job.stop_at)
            result = job.result_of(answer)
            sound = True
            return result
        except Rejected:
            sound = True
            raise
        except DecodeFailed as error:
            lie = str(error.__cause__) if error.__cause__ else None
            log("sandbox.child_ended", reason=error.code, lie=lie, files=child.files)
            raise
        finally:
            if sound and child.files < FILES_PER_CHILD:
                with self._changed:
                    self._idle.append(child)
            else:
                child.end()


class Child:
    """A process that decodes, and the socket to it."""

    def __init__(self, registry: str, memory_bytes: int) -> None:
        self.files = 0
        """How many it has been given."""
        self._ready = False
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-P", "-m", "chalicelib.sandbox_child", registry, str(memory_bytes)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment(),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def work(self, request: Mapping[str, Any], stop_at: float) -> dict[str, Any]:
        """Its answer to a request.

        Raises:
            DecodeFailed: there is none; the process has ended, or must.
            Unavailable: it could not even start.
        """
        self.files += 1
        try:
            if not self._ready:
                self._begin(stop_at)
            frames.send(self._socket, request)
            return frames.receive(lambda count: self._recv(count, stop_at), MAX_ANSWER_BYTES)
        except TimeoutError:
            raise DecodeStalled(_SLOW) from None
        except (EOFError, OSError):
            raise self._death() from None
        except frames.BadFrame as error:
            raise DecodeFailed(_DEADLY) from error

    def _begin(self, stop_at: float) -> None:
        try:
            frames.receive(lambda count: self._recv(count, stop_at), MAX_ANSWER_BYTES)
        except (EOFError, OSError, frames.BadFrame):
            raise Unavailable("No decoder could be started. Try again.", code="sandbox_unavailable") from None
        self._ready = True

    def end(self) -> None:
        """End it, and whatever it has started, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._socket.close()

    def _recv(self, count: int, stop_at: float) -> bytes:
        while (left := stop_at - time.monotonic()) > 0:
            self._socket.settimeout(min(left, _LOOK_EVERY))
            with suppress(TimeoutError):
                return self._socket.recv(count)
            if not self.is_alive():
                raise EOFError
        raise TimeoutError

    def _death(self) -> DecodeFailed:
        """What it died of."""
        try:
            status = self._process.wait(_LAST_BREATH)
        except subprocess.TimeoutExpired:
            return DecodeFailed(_DEADLY)
        if status == -signal.SIGXCPU:
            return DecodeFailed(_SLOW, code="decode_timeout")
        if status == -signal.SIGALRM:
            return DecodeStalled(_SLOW)
        if status == -signal.SIGKILL:  # by the kernel, for all of the machine's memory
            return DecodeStalled(_LARGE, code="decode_out_of_memory")
        return DecodeFailed(_DEADLY)


class _Job:
    """One file on its way through a child, and what is checked of what comes back."""

    def __init__(self, family: str, source: Source, cpu_seconds: int) -> None:
        self._family = family
        self._source = source
        self._cpu_seconds = cpu_seconds
        self.stop_at = time.monotonic() + wall_seconds(cpu_seconds)
        """Also of a second try: the next one in the queue has been told how long this one takes."""
        self._made = self._new_place()

    def begin_again(self) -> None:
        shutil.rmtree(self._source.scratch)
        self._source.scratch.mkdir()
        self._made = self._new_place()

    def _new_place(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="made-", dir=self._source.scratch.parent))
        (place / "outputs").mkdir()
        return place

    def request(self) -> dict[str, Any]:
        return {
            "family": self._family,
            "path": str(self._source.path),
            "filename": self._source.filename,
            "mediaType": self._source.media_type,
            "scratch": str(self._source.scratch),
            "caps": asdict(self._source.caps),
            "made": str(self._made),
            "size": self._source.path.stat().st_size,
            "cpuSeconds": self._cpu_seconds,
            "wallSeconds": max(0.0, self.stop_at - time.monotonic()),
        }

    def result_of(self, answer: Mapping[str, Any]) -> Result:
        match answer.get("outcome"):
            case "result":
                return self._checked(answer)
            case "rejected":
                _reject(answer)
            case "out_of_memory":
                raise DecodeFailed(_LARGE, code="decode_out_of_memory")
            case "failed":
                log("sandbox.exception", family=self._family, note=str(answer.get("note")))
                raise RuntimeError("an unexpected exception in a processor")
        raise _lie("no known outcome")

    def _checked(self, answer: Mapping[str, Any]) -> Result:
        metadata, listed = answer.get("metadata"), answer.get("outputs")
        if not isinstance(metadata, dict) or len(json.dumps(metadata)) > MAX_METADATA_BYTES:
            raise _lie("metadata")
        if not isinstance(listed, list):
            raise _lie("outputs")
        outputs = [self._output(entry) for entry in listed]
        names = {output.name for output in outputs}
        if len(names) != len(outputs):
            raise _lie("two outputs of one name")
        try:
            events = EventFile.read(self._made / "events", most=self._source.caps.events, outputs=names)
        except (OSError, ValueError) as error:
            raise _lie("events") from error
        return Result(metadata, outputs, events)

    def _output(self, entry: Any) -> Output:
        if not isinstance(entry, dict):
            raise _lie("an output")
        name, content_type = entry.get("name"), entry.get("contentType")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _lie("the name of an output")
        if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
            raise _lie("the type of an output")
        path = self._made / "outputs" / name
        if not (_is(stat.S_ISDIR, path.parent) and _is(stat.S_ISREG, path)):
            raise _lie("an output that is no file")
        return Output(name, content_type, path)


def environment() -> dict[str, str]:
    """What a child is told: where Python and its libraries are, and nothing that opens a door."""
    kept = {name: value for name, value in os.environ.items() if _KEPT_VARIABLES.fullmatch(name)}
    paths = [str(_ROOT), *(str(Path(path).absolute()) for path in sys.path)]
    return kept | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "VIPS_CONCURRENCY": "1",
        "MALLOC_ARENA_MAX": "2",  # each would reserve 64 MiB of the memory that the limit counts
    }


def _is(kind: Any, path: Path) -> bool:
    """Whether it is of a kind by itself, and not by way of a link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return bool(kind(found.st_mode))


def _lie(what: str) -> DecodeFailed:
    """Of a child whose answer no processor of ours would give."""
    error = DecodeFailed(_DEADLY)
    error.__cause__ = ValueError(what)
    return error


def _reject(answer: Mapping[str, Any]) -> NoReturn:
    code, message, details = answer.get("code"), answer.get("message"), answer.get("details")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise _lie("a code")
    if not isinstance(message, str) or not 0 < len(message) <= 1_000:
        raise _lie("a message")
    if not isinstance(details, dict) or not all(isinstance(v, str | int) for v in details.values()):
        raise _lie("details")
    rejected = Rejected(message, code=code)
    rejected.details = details
    raise rejected
