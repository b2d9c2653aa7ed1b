"""Pictures: what the image processor makes of one, beside the same two files made by sharp and by Pillow.

The processor always makes a thumbnail and a preview, and looks for the main colour; the others make the two
files, of the same sizes and qualities. sharp has one thread, as a function has hardly more than one
processor. It is written in the way that costs it least: the original is decoded once, for both.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import node, samples
from benchmarks.bench import Bench
from benchmarks.comparison import CPU, Comparison, Rounds, by_turns
from chalicelib.processors import Caps, Source, image

CAPS = Caps(events=1, rows=1, pixels=200_000_000, pages=1)
ROUNDS = 9


def _ours(path: Path, media_type: str) -> float:
    source = Source(path, path.name, media_type, path.parent, CAPS)
    begun = time.process_time()
    made = image.process(source)
    spent = time.process_time() - begun
    assert [output.name for output in made.outputs] == ["thumbnail.webp", "preview.jpg"]
    return spent * 1000


def _beside_sharp(make: Callable[[], Path], media_type: str, bench: Bench) -> Rounds:
    path = make()
    sharp = bench.shared("sharp", partial(node.running, "thumbnails.mjs"))

    def theirs(way: str) -> float:
        spent: float = sharp.ask(path=str(path), way=way)["ms"]
        return spent

    rounds = by_turns(bench, partial(_ours, path, media_type), partial(theirs, "once"), rounds=ROUNDS)
    each, alone = (min(theirs(way) for _ in range(3)) for way in ("each", "thumbnail"))
    note = f"sharp decoding for each file: {each:.0f} ms; its thumbnail alone: {alone:.0f} ms"
    return Rounds(rounds.ours, rounds.theirs, note)


def _beside_pillow(bench: Bench) -> Rounds:
    from benchmarks.baselines import pillow_thumbnails

    path = samples.jpeg(samples.MEGAPIXELS_12)

    def theirs() -> float:
        begun = time.process_time()
        pillow_thumbnails.thumbnail(str(path))
        pillow_thumbnails.preview(str(path))
        return (time.process_time() - begun) * 1000

    def knowing() -> float:
        begun = time.process_time()
        pillow_thumbnails.shrunk_on_load(str(path))
        return (time.process_time() - begun) * 1000

    rounds = by_turns(bench, partial(_ours, path, "image/jpeg"), theirs, rounds=ROUNDS)
    least = min(knowing() for _ in range(3))
    note = f"with thumbnail() before all else, so that it shrinks on load: {least:.0f} ms"
    return Rounds(rounds.ours, rounds.theirs, note)


def _row(name: str, what: str, make: Callable[[], Path], media_type: str) -> Comparison:
    return Comparison(
        name,
        ours=f"the image processor, {what}: thumbnail and preview",
        theirs="sharp, one thread, the same files",
        unit=CPU,
        compare=partial(_beside_sharp, make, media_type),
        goal="≤ 1.15",
    )


COMPARISONS = (
    _row("thumb_jpeg12", "JPEG of 12 MP", lambda: samples.jpeg(samples.MEGAPIXELS_12), "image/jpeg"),
    _row("thumb_jpeg24", "JPEG of 24 MP", lambda: samples.jpeg(samples.MEGAPIXELS_24), "image/jpeg"),
    _row("thumb_png4", "PNG of 4 MP", lambda: samples.png(samples.MEGAPIXELS_4), "image/png"),
    _row("thumb_webp12", "WebP of 12 MP", lambda: samples.webp(samples.MEGAPIXELS_12), "image/webp"),
    Comparison(
        "thumb_vs_usual",
        ours="the image processor, JPEG of 12 MP: thumbnail and preview",
        theirs="Pillow as commonly written, the same files",
        unit=CPU,
        compare=_beside_pillow,
        goal="≤ 0.6",
    ),
)
