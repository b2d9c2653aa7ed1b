"""The sandbox: what it costs a small picture to be decoded in a warm process of its own."""

import time
from pathlib import Path

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.comparison import WALL, Comparison, Rounds, by_turns
from chalicelib import sandbox
from chalicelib.processors import Caps, Source, image

CAPS = Caps(events=1, rows=1, pixels=200_000_000, pages=1)
SIZE = (640, 480)
PICTURES = 8
ROUNDS = 15
MEMORY = 1024 * 1024 * 1024


def _compare(bench: Bench) -> Rounds:
    path = samples.jpeg(SIZE)

    def source(scratch: str) -> Source:
        place = bench.scratch / scratch
        place.mkdir(exist_ok=True)
        for left in place.iterdir():
            left.unlink()
        return Source(path, path.name, "image/jpeg", Path(place), CAPS)

    def sandboxed() -> None:
        sandbox.run("image", source("ours"), owner="_", cpu_seconds=30, memory_bytes=MEMORY)

    def in_process() -> None:
        image.process(source("theirs"))

    def ours() -> float:
        begun = time.perf_counter()
        for _ in range(PICTURES):
            sandboxed()
        return (time.perf_counter() - begun) * 1000 / PICTURES

    def theirs() -> float:
        begun = time.perf_counter()
        for _ in range(PICTURES):
            in_process()
        return (time.perf_counter() - begun) * 1000 / PICTURES

    return by_turns(bench, ours, theirs, rounds=ROUNDS)


COMPARISONS = (
    Comparison(
        "sandbox_cost",
        ours="a JPEG of 640 by 480 through the sandbox, warm",
        theirs="the same processor in this process",
        unit=WALL,
        compare=_compare,
        goal="≤ 1.3",
    ),
)
