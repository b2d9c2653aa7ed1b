"""A processor for the sandbox's child that does what its file says: what decoders do at their worst.

The file is the name of a behaviour, and, after a space, what that takes.
"""

import ctypes
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chalicelib.errors import Rejected
from chalicelib.processors import Event, Output, Processor, Result, Source
from chalicelib.sandbox.reports import PAUSE

# A child that reached for shared memory would fail here, as it would on Lambda.
for module in ("multiprocessing", "_multiprocessing", "_posixshmem"):
    sys.modules[module] = None  # type: ignore[assignment]  # what makes an import of it fail

seen: list[str] = []
"""What this process has worked on before."""


def behave(source: Source) -> Result:
    name, _, argument = source.read().decode().strip().partition(" ")
    seen.append(name)
    behaviour: Any = BEHAVIOURS[name]
    made = behaviour(source, argument) if argument else behaviour(source)
    return made if isinstance(made, Result) else Result(metadata={"pid": os.getpid(), "said": made})


def tell(source: Source) -> dict[str, Any]:
    return {
        "environ": dict(os.environ),
        "filename": source.filename,
        "mediaType": source.media_type,
        "rows": source.caps.rows,
        "scratch": [path.name for path in source.scratch.iterdir()],
        "seen": seen,
        "stdin": sys.stdin.read(),
        "session": os.getsid(0),
    }


def sleep(source: Source) -> None:
    source.path.with_name("pid").write_text(str(os.getpid()))
    time.sleep(3600)


def spin(_: Source) -> None:
    while True:
        pass


def compute(_: Source, seconds: str) -> None:
    end = time.process_time() + float(seconds)
    while time.process_time() < end:
        pass


def spin_in_c(_: Source) -> None:
    sum(range(10**15))


def ignore_alarms(source: Source) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    sleep(source)


def segfault(_: Source) -> None:
    ctypes.string_at(0)


def abort(_: Source) -> None:
    os.abort()


def leave(_: Source) -> None:
    os._exit(0)


def leave_politely(_: Source) -> None:
    sys.exit(0)


def be_killed(_: Source) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def eat(_: Source) -> int:
    return len(bytearray(8 << 30))


def nibble(_: Source) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


def eat_in_c(_: Source) -> None:
    raise RuntimeError("VipsRegion: unable to allocate 8 GiB")  # as libraries put it


def advance(source: Source, fractions: str) -> str:
    for fraction in fractions.split(","):
        source.report(float(fraction))
    return "done"


def advance_slowly(source: Source) -> None:
    for step in range(1, 4):
        source.report(step / 4)
        time.sleep(PAUSE + 0.05)


def advance_and_hang(source: Source) -> None:
    source.path.with_name("pid").write_text(str(os.getpid()))
    source.report(0.5)
    time.sleep(3600)


def claim_progress(_: Source, said: str) -> None:
    """Say of the progress what no processor's report says, and as often as there are words."""
    frames = [json.dumps({"outcome": "progress", "fraction": json.loads(word)}) for word in said.split()]
    _write_to_parent(b"".join(struct.pack(">I", len(frame)) + frame.encode() for frame in frames))


def claim_progress_for_ever(_: Source) -> None:
    frame = json.dumps({"outcome": "progress", "fraction": 0.1})
    _write_to_parent((struct.pack(">I", len(frame)) + frame.encode()) * 100_000)


def crash_when_warm(source: Source) -> dict[str, Any]:
    if len(seen) > 1:
        (source.scratch / "half-done").touch()
        os.abort()
    return tell(source)


def shout(_: Source) -> str:
    for descriptor in (0, 1, 2):
        os.write(descriptor, b"\x00\x00\x00\x02{}" * 100_000)
    print("noise " * 100_000)
    print("noise " * 100_000, file=sys.stderr)
    return "done"


def breed(source: Source, then: str) -> None:
    """Leave a process behind that holds the socket open and tells of itself."""
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(3600)
    source.path.with_name("grandchild").write_text(str(pid))
    {"sleep": sleep, "abort": abort}[then](source)


def reject(_: Source) -> None:
    raise Rejected("Line 3 is no good: mend it.", code="broken_line", line=3)


def stumble(_: Source) -> None:
    quoted = "nobody expected this"
    raise KeyError(quoted)


def speak_no_json(_: Source, what: str) -> Result:
    return Result(metadata={"number": {"nan": float("nan"), "object": object(), "bytes": b""}[what]})


def write_much(source: Source) -> None:
    with (source.scratch / "much").open("wb") as file:
        for _ in range(1024):
            file.write(b"x" * (1 << 20))


def make(source: Source) -> Result:
    (source.scratch / "big").write_bytes(b"from a file")
    return Result(
        metadata={"é": [1, 2.5, None, True, {"a": "b"}]},
        outputs=[
            Output("small.txt", "text/plain; charset=utf-8", b"from memory"),
            Output("big.bin", "application/octet-stream", source.scratch / "big"),
        ],
        events=[Event("a", 0, '{"n": 1.10, "t": "é\u2028"}'), Event(None, 1, None, "big.bin")],
    )


def link(source: Source) -> Result:
    (source.scratch / "link").symlink_to("/etc/passwd")
    return Result(outputs=[Output("made.txt", "text/plain", source.scratch / "link")])


def pipe(source: Source) -> Result:
    os.mkfifo(source.scratch / "pipe")
    return Result(outputs=[Output("made.txt", "text/plain", source.scratch / "pipe")])


def answer(source: Source, message: str) -> None:
    """Forge an answer, as one would who has taken the decoder over. Whatever it names is there."""
    made = next(source.scratch.parent.glob("made-*"))
    with suppress(FileExistsError):
        (made / "events").touch(exist_ok=False)
    (made / "outputs" / "a").mkdir(exist_ok=True)
    for name in ("a.txt", "a/b", ".hidden", "b\n", "é", "a" * 101):
        (made / "outputs" / name).write_text("[]")
    body = message.encode()
    _write_to_parent(struct.pack(">I", len(body)) + body)


def answer_raw(_: Source, hexadecimal: str) -> None:
    _write_to_parent(bytes.fromhex(hexadecimal))


def answer_from_elsewhere(source: Source, what: str) -> None:
    """Where outputs are looked for there are links that lead elsewhere."""
    made = next(source.scratch.parent.glob("made-*"))
    elsewhere = source.scratch / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "events").touch()
    if what == "outputs":
        (made / "outputs").rmdir()
        (made / "outputs").symlink_to(elsewhere)
    elif what == "events":
        (made / "events").symlink_to(elsewhere / "events")
    elif what == "pipe":
        os.mkfifo(made / "events")
    outputs = [{"name": "a.txt" if what != "nothing" else "no.txt", "contentType": "text/plain"}]
    answer(source, json.dumps({"outcome": "result", "metadata": {}, "outputs": outputs}))


def answer_with_events(source: Source, lines: str) -> None:
    made = next(source.scratch.parent.glob("made-*"))
    (made / "events").write_text(lines.replace("|", "\n"))
    answer(source, json.dumps({"outcome": "result", "metadata": {}, "outputs": []}))


def _write_to_parent(raw: bytes) -> None:
    for descriptor in range(100):
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as channel:
            channel.sendall(raw)
    time.sleep(3600)


BEHAVIOURS: dict[str, Callable[..., object]] = {
    behaviour.__name__: behaviour
    for behaviour in (
        tell,
        sleep,
        spin,
        compute,
        spin_in_c,
        ignore_alarms,
        segfault,
        abort,
        leave,
        leave_politely,
        be_killed,
        eat,
        nibble,
        eat_in_c,
        advance,
        advance_slowly,
        advance_and_hang,
        claim_progress,
        claim_progress_for_ever,
        crash_when_warm,
        shout,
        breed,
        reject,
        stumble,
        speak_no_json,
        write_much,
        make,
        link,
        pipe,
        answer,
        answer_raw,
        answer_from_elsewhere,
        answer_with_events,
    )
}

REGISTRY: dict[str, Processor] = {"text": behave}
