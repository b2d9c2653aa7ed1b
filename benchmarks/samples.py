"""Files to work on, made by code from a seed and kept under `build/`: as hard to read as those of users.

Flat colours would flatter every decoder, and so would lines that are all the same.
"""

import csv
import io
import random
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from ops.state import CHECKOUT

SAMPLES = CHECKOUT / "build" / "bench-samples"
VERSION = 1
"""Of the code below: a sample of another one is made anew."""

MEGAPIXELS_12, MEGAPIXELS_24, MEGAPIXELS_4 = (4000, 3000), (6000, 4000), (2400, 1700)


def sample(name: str, make: Callable[[Path], None]) -> Path:
    """The file, made if it is not there yet, and never half of it."""
    path = SAMPLES / f"{VERSION}-{name}"
    if not path.exists():
        SAMPLES.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"unfinished-{path.name}")
        make(unfinished)
        unfinished.rename(path)
    return path


def photo(width: int, height: int, seed: int = 1) -> Any:
    """Detail at every scale as in nature (1/f), colours that change slowly, edges, and a sensor's noise."""
    quarter = _textured(seed)
    half = quarter.join(quarter.fliphor(), "horizontal")
    picture = half.join(half.flipver(), "vertical").crop(0, 0, width, height).copy_memory()
    chance = random.Random(seed)
    for _ in range(80):
        ink = [float(chance.randrange(256)) for _ in range(3)]
        x, y = chance.randrange(width), chance.randrange(height)
        if chance.random() < 0.5:
            picture = picture.draw_rect(ink, x, y, width // 40, height // 15, fill=True)
        else:
            picture = picture.draw_line(ink, x, y, chance.randrange(width), chance.randrange(height))
    return picture


@cache
def _textured(seed: int) -> Any:
    """A quarter of the largest photo, which the others are cut from as well: this takes the time."""
    import pyvips

    size = (MEGAPIXELS_24[0] // 2, MEGAPIXELS_24[1] // 2)

    def waves(cell: int, strength: float, number: int) -> Any:
        return pyvips.Image.perlin(*size, cell_size=cell, seed=100 * seed + number) * strength

    light = pyvips.Image.sum(
        [waves(cell, strength, number) for number, (cell, strength) in enumerate(_DETAIL)]
        + [pyvips.Image.gaussnoise(*size, mean=0, sigma=3, seed=seed)]
    )
    bands = [light + waves(600, 70, 50 + band) + 128 for band in range(3)]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb").copy_memory()


_DETAIL = ((512, 110), (128, 60), (32, 34), (8, 20), (4, 12))
"""Size in pixels, strength in steps of 256."""


def jpeg(size: tuple[int, int]) -> Path:
    width, height = size
    return sample(f"photo-{width}x{height}.jpg", lambda path: photo(*size).jpegsave(str(path), Q=88))


def png(size: tuple[int, int]) -> Path:
    width, height = size
    return sample(f"photo-{width}x{height}.png", lambda path: photo(*size).pngsave(str(path)))


def webp(size: tuple[int, int]) -> Path:
    width, height = size
    return sample(f"photo-{width}x{height}.webp", lambda path: photo(*size).webpsave(str(path), Q=82))


def words(seed: int = 1) -> Callable[[int], str]:
    """Sentences of so many words, of which few come often and most seldom (Zipf's law)."""
    chance = random.Random(seed)
    syllables = [
        "har",
        "bor",
        "ship",
        "load",
        "ment",
        "cran",
        "e",
        "o",
        "tel",
        "ver",
        "in",
        "quay",
        "ta",
        "lo",
    ]
    known = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(4000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(known) + 1)))
    return lambda count: " ".join(chance.choices(known, cum_weights=weights, k=count))


def pdf(pages: int = 60) -> Path:
    """Pages of forty lines with an embedded font and kerning, each line placed on its own, packed."""

    def make(path: Path) -> None:
        from matplotlib import rc_context
        from matplotlib.backends.backend_pdf import PdfPages
        from matplotlib.figure import Figure

        write = words()
        with rc_context({"pdf.fonttype": 42}), PdfPages(path) as report:
            for number in range(pages):
                page = Figure(figsize=(8.27, 11.69))
                lines = [f"Page {number + 1}", *(write(11)[:85] for _ in range(40))]
                for at, line in enumerate(lines):
                    page.text(0.1, 0.93 - at * 0.02, line, fontsize=11)
                report.savefig(page)

    return sample(f"report-{pages}.pdf", make)


def table(rows: int = 100_000) -> Path:
    """Orders: numbers, prices, days, moments, flags, names, and cells that are quoted or empty."""

    def make(path: Path) -> None:
        chance, write = random.Random(1), words()
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["order", "customer", "price", "day", "moment", "paid", "note", "weight"])
        for number in range(rows):
            day = f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
            moment = f"{day}T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}Z"
            writer.writerow(
                [
                    100_000 + number,
                    f"{write(2).title()}, {write(1)}",
                    f"{chance.random() * 1000:.2f}",
                    day,
                    moment,
                    chance.choice(["true", "false"]),
                    write(6) if chance.random() < 0.7 else "",
                    f"{chance.lognormvariate(2, 1):.3f}",
                ]
            )
        path.write_text(text.getvalue(), encoding="utf-8", newline="")

    return sample(f"orders-{rows}.csv", make)
