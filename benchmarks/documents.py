"""PDF: the text of a report of 60 pages. The processor cleans it and counts its words as well."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.comparison import CPU, Comparison, Rounds, by_turns
from chalicelib.processors import Caps, Source, pdf

CAPS = Caps(events=1, rows=1, pixels=1, pages=5_000)
ROUNDS = 7


def _beside(theirs: Callable[[Path, Path], None], bench: Bench) -> Rounds:
    from pypdfium2 import PdfDocument

    path = samples.pdf()

    def our_time() -> float:
        begun = time.process_time()
        with closing(PdfDocument(path)) as document:
            pdf.Text(bench.scratch / "ours.txt").write(document)
        return (time.process_time() - begun) * 1000

    def their_time() -> float:
        begun = time.process_time()
        theirs(path, bench.scratch / "theirs.txt")
        return (time.process_time() - begun) * 1000

    rounds = by_turns(bench, our_time, their_time, rounds=ROUNDS)
    words = [(bench.scratch / name).read_text().split() for name in ("ours.txt", "theirs.txt")]
    assert len(words[0]) > 0.9 * len(words[1]) > 1_000
    begun = time.process_time()
    pdf.process(Source(path, path.name, "application/pdf", bench.scratch, CAPS))
    whole = (time.process_time() - begun) * 1000
    return Rounds(rounds.ours, rounds.theirs, f"with two pictures of page 1: {whole:.0f} ms")


def _by_pypdfium2(bench: Bench) -> Rounds:
    from benchmarks.baselines import pdf_text

    return _beside(pdf_text.by_pypdfium2, bench)


def _by_pypdf(bench: Bench) -> Rounds:
    from benchmarks.baselines import pdf_text

    return _beside(pdf_text.by_pypdf, bench)


def _row(name: str, theirs: str, compare: Callable[[Bench], Rounds], goal: str) -> Comparison:
    ours = "the PDF processor, the text of 60 pages"
    return Comparison(name, ours=ours, theirs=theirs, unit=CPU, compare=compare, goal=goal)


COMPARISONS = (
    _row("pdf_text", "bare pypdfium2", _by_pypdfium2, "≤ 1.2"),
    _row("pdf_text_pypdf", "pypdf", _by_pypdf, "≤ 0.15"),
)
