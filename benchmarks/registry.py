"""Every comparison, in the order of the table."""

from collections.abc import Sequence

from benchmarks import batch, cold, documents, ledger, memory, pipeline, presign, sandbox, tables, thumbnails
from benchmarks.comparison import Comparison

ALL: tuple[Comparison, ...] = (
    *presign.COMPARISONS,
    *cold.COMPARISONS,
    *batch.COMPARISONS,
    *thumbnails.COMPARISONS,
    *documents.COMPARISONS,
    *tables.COMPARISONS,
    *sandbox.COMPARISONS,
    *pipeline.COMPARISONS,
    *memory.COMPARISONS,
    *ledger.COMPARISONS,
)


def chosen(parts: Sequence[str]) -> list[Comparison]:
    """Those whose names begin with any of the parts; all, where none is named.

    Raises:
        ValueError: a part is the beginning of no name.
    """
    for part in parts:
        if not any(comparison.name.startswith(part) for comparison in ALL):
            names = ", ".join(comparison.name for comparison in ALL)
            raise ValueError(f"no comparison begins with {part!r}; there are {names}")
    return [c for c in ALL if not parts or c.name.startswith(tuple(parts))]
