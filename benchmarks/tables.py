"""CSV: rows a second, with all columns' types and a sample."""

import time

from benchmarks import samples
from benchmarks.bench import Bench
from benchmarks.comparison import Comparison, Rounds, by_turns
from chalicelib.processors import Caps, Source, tables

CAPS = Caps(events=1, rows=5_000_000, pixels=1, pages=1)
ROWS = 100_000
ROUNDS = 7


def _compare(bench: Bench) -> Rounds:
    from benchmarks.baselines import csv_inference

    path = samples.table(ROWS)
    source = Source(path, path.name, tables.CSV, bench.scratch, CAPS)
    columns = tables.process(source).metadata["columnTypes"]
    assert (ROWS, {c["name"]: c["type"] for c in columns}) == csv_inference.types_of(path)

    def ours() -> float:
        begun = time.process_time()
        tables.process(source)
        return ROWS / (time.process_time() - begun)

    def theirs() -> float:
        begun = time.process_time()
        csv_inference.types_of(path)
        return ROWS / (time.process_time() - begun)

    return by_turns(bench, ours, theirs, rounds=ROUNDS)


COMPARISONS = (
    Comparison(
        "csv_rows",
        ours="the table processor, 100,000 rows of 8 columns",
        theirs="the csv module, the same types inferred cell by cell",
        unit="rows per CPU s",
        compare=_compare,
        goal="≥ 1",
    ),
)
