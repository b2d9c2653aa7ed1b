"""Decoders run in child processes, with limits on memory, CPU and wall time.

One that hangs, crashes or eats memory costs its own file, and nobody else's. It is no jail: a decoder that
was taken over still runs as the same user. So a child is started without credentials, and nothing it says is
believed: what comes back is JSON and files, and both are looked at before they are used.

Children stay warm between the files of one owner: whatever somebody else's file has left behind in a child,
were it a program that waits, gets none of this one's. No `multiprocessing`, whose queues and pools need
/dev/shm: Lambda has none.

    this process                                    inside
    Popen, one end of a socket as its input ──────▶ limits itself, imports the processors
                                           ◀────── ready
    one request: where the original lies   ──────▶ process(source)
                                           ◀────── progress, any number of times
                                           ◀────── result | rejected | out of memory | failed
    one more …, or the end of the socket   ──────▶ ends

`pool` finds a `child` for the file, `task` is what the child is asked, and `answer` and `progress` check what
it says.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalicelib.processors.base import Result, Source


def run(
    family: str,
    source: "Source",
    *,
    owner: str,
    cpu_seconds: int,
    memory_bytes: int,
    begin_by: float = math.inf,
    on_progress: Callable[[float], None] | None = None,
) -> "Result":
    """What the processor of a family makes of a file; outputs and events lie beside its scratch directory.

    `begin_by` is a moment of `time.monotonic()`. `on_progress` is told the part that is done, from 0 to 1,
    now and then and never a smaller one; what it raises ends the work.

    Raises:
        Rejected: by the processor.
        DecodeFailed: `decode_timeout`, `decode_out_of_memory`, `decode_crashed`; a `DecodeStalled` may pass.
        NoTurn: all children were at work until `begin_by`.
        RuntimeError: an unexpected exception in the processor; what it was is in the log.
    """
    from chalicelib.sandbox.pool import shared  # a child passes here on its way inside, and has no use for it

    return shared(memory_bytes).run(
        family,
        source,
        owner=owner,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds(cpu_seconds),
        begin_by=begin_by,
        on_progress=on_progress,
    )


def wall_seconds(cpu_seconds: int) -> float:
    """How long a file may take by the clock: more than it may compute, as others compute beside it."""
    return max(1.5 * cpu_seconds, cpu_seconds + 2.0)
