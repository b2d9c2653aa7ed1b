"""A comparison: two things that do the same work, measured by turns, and what came of it.

By turns (A B A B …), as a machine is never the same for long: what slows it down slows both. No figure of
one run means anything beside one of another run; only their ratio does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from statistics import median, quantiles
from typing import Any, Literal

from benchmarks.bench import Bench

CPU = "CPU ms"
"""What a processor is busy with; the clock would count what other programs of the machine do as well."""

WALL = "ms"
"""By the clock, where waiting is the point."""

Measure = Callable[[], float]


class NotHere(Exception):
    """This machine lacks what a comparison needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the ratio is to be: `≤ 1/15`, `≥ 0.5`."""

    sign: Literal["≤", "≥"]
    bound: Fraction

    @classmethod
    def parse(cls, text: str) -> "Goal":
        """
        Raises:
            ValueError: it says neither `≤` nor `≥`, or no number.
        """
        sign, _, bound = text.partition(" ")
        match sign:
            case "≤" | "≥":
                return cls(sign, Fraction(bound))
        raise ValueError(f"{text!r} is no goal: write ≤ 1/15, or ≥ 0.5.")

    def is_met_by(self, ratio: float) -> bool:
        return ratio <= self.bound if self.sign == "≤" else ratio >= self.bound


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured, round by round: the same number of figures for both."""

    ours: list[float]
    theirs: list[float]
    note: str = ""
    """What a reader has to know beside the figures."""


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    ours: float
    theirs: float
    ratio: float
    """Of the medians."""
    spread: tuple[float, float]
    """The quartiles of the ratios of the rounds."""
    rounds: int
    unit: str
    goal: str | None
    met: bool | None
    """None where there is no goal: it is only reported."""
    note: str = ""

    def written(self) -> dict[str, Any]:
        """As `results.json` holds it, under its name."""
        return {
            "ours": _figures(self.ours),
            "theirs": _figures(self.theirs),
            "ratio": _figures(self.ratio),
            "spread": [_figures(ratio) for ratio in self.spread],
            "rounds": self.rounds,
            "unit": self.unit,
            "goal": self.goal,
            "met": self.met,
            **({"note": self.note} if self.note else {}),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row of the table."""

    name: str
    ours: str
    theirs: str
    unit: str
    compare: Callable[[Bench], Rounds]
    goal: str | None = None

    def result(self, bench: Bench) -> Result:
        return summary(self, self.compare(bench))


def by_turns(bench: Bench, ours: Measure, theirs: Measure, *, rounds: int = 9, warm_up: int = 1) -> Rounds:
    """Both, one after the other, so many times; who goes first changes from round to round."""
    for _ in range(warm_up):
        ours(), theirs()
    found: dict[Measure, list[float]] = {ours: [], theirs: []}
    for number in range(rounds):
        for measure in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            found[measure].append(measure())
        bench.progress(number + 1, rounds)
    return Rounds(found[ours], found[theirs])


def summary(comparison: Comparison, rounds: Rounds) -> Result:
    """
    Raises:
        ValueError: the two were not measured equally often.
    """
    ours, theirs = median(rounds.ours), median(rounds.theirs)
    ratios = [mine / other for mine, other in zip(rounds.ours, rounds.theirs, strict=True)]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [ratios[0]] * 3
    ratio = ours / theirs
    return Result(
        name=comparison.name,
        ours=ours,
        theirs=theirs,
        ratio=ratio,
        spread=(low, high),
        rounds=len(ratios),
        unit=comparison.unit,
        goal=comparison.goal,
        met=Goal.parse(comparison.goal).is_met_by(ratio) if comparison.goal else None,
        note=rounds.note,
    )


def _figures(number: float) -> float:
    """Three of them: what comes behind is chance."""
    return float(f"{number:.3g}")
