"""What the doctor finds: one line of the table each, and for what is not well why, and what to do."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ops.columns import printable, table


class Level(StrEnum):
    WELL = "well"
    NOTE = "note"
    """Worth knowing; it mends itself, or is for others to mend."""
    BAD = "bad"
    """Needs a hand."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


MARKS = {Level.WELL: "✓", Level.NOTE: "!", Level.BAD: "✗", Level.UNKNOWN: "?"}


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    check: str
    what: str
    since: str = ""
    """How long it has been so, as far as that is known."""
    why: str = ""
    do: str = ""

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when all is well, 1 when something needs a hand, 2 when something could not be looked at."""
    levels = {finding.level for finding in findings}
    return 1 if Level.BAD in levels else 2 if Level.UNKNOWN in levels else 0


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    found = list(findings)
    rows = table(
        [
            (MARKS[f.level], f.check, printable(f.what) + (f", since {f.since}" if f.since else ""))
            for f in found
        ]
    )
    for finding, row in zip(found, rows, strict=True):
        yield row
        for name, said in (("why", finding.why), ("do", finding.do)):
            if said:
                yield f"     {name:<3}  {printable(said)}"
