"""A burst of files, simulated: how much waits where, and how long a file takes.

    python -m benchmarks.burst             # the scenarios of docs/cost-and-scale.md, as a table
    python -m benchmarks.burst --write     # into the page, and the plot beside it (needs matplotlib)

Time goes in steps. In each, every stage wants to get through all that waits for it; what the stages want of a
resource is scaled down, for all of them alike, to what there is of it. The consumer wants no more than its
mapping has pollers. Files are many, so they are a fluid: parts of a file may pass. Nothing fails and nothing
is tried again; a throttled call costs nothing but time, which flatters AWS a little.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from benchmarks.cost import PAGE, fill, table
from benchmarks.designs import TIMES

STAGES = ("intake", "consume", "notify")
PLOT = PAGE.parent / "burst.png"


@dataclass(frozen=True)
class Setting:
    """What comes, what it takes, and what there is. Rates are per second."""

    files: float = 1_000_000
    arrival_seconds: float = 300
    """They come evenly for so long; 0: all in the first step."""

    intake_seconds: float = 2 * TIMES.call
    """Of on_upload, for a file."""
    batch_seconds: float = 6 * TIMES.call + 10 * TIMES.light_work
    """Of the consumer, for a full batch."""
    batch_size: float = 10
    notify_seconds: float = TIMES.call

    concurrency: float = 1000
    """Functions at once, of all kinds: the account's limit."""
    pollers: float = 5
    """Batches at once with which the mapping begins."""
    pollers_per_minute: float = 300
    max_concurrency: float = 50
    """Batches at once at most: CONSUME_CONCURRENCY."""

    write_units: float = 4000
    """Of the jobs table. Two of a file's three are the consumer's."""
    s3_writes: float = 3500
    """PUT, COPY and DELETE under one prefix. Under uploads/ the clients' own PUTs come first, and what they
    leave is for the deletions; the copies go to a prefix of their own."""

    step: float = 1.0
    """Seconds."""


@dataclass(frozen=True)
class Burst:
    """What came of it, by step: files."""

    setting: Setting
    waiting: Mapping[str, list[float]]
    arrived: list[float]
    """Since the beginning, and so is `done`."""
    done: list[float]

    @property
    def seconds(self) -> float:
        """Until nothing waited any more."""
        return len(self.done) * self.setting.step

    @property
    def backlog(self) -> list[float]:
        return [sum(at_once) for at_once in zip(*self.waiting.values(), strict=True)]

    def latency(self, share: float) -> float:
        """Seconds from the arrival of the file that comes at this share of all, until all is done for it."""
        number = share * self.setting.files
        return (_reached(self.done, number) - _reached(self.arrived, number)) * self.setting.step

    def percentile(self, share: float) -> float:
        """The latency that this share of all files stays below."""
        latencies = sorted(self.latency((n + 0.5) / 1000) for n in range(1000))
        return latencies[min(999, int(share * 1000))]


def simulate(setting: Setting) -> Burst:
    waits = dict.fromkeys(STAGES, 0.0)
    per_file = _needs(setting)
    capacity = {
        "concurrency": setting.concurrency * setting.step,
        "writes": setting.write_units * setting.step,
        "copies": setting.s3_writes * setting.step,
    }
    came = 0.0
    pollers = setting.pollers
    waiting: dict[str, list[float]] = {stage: [] for stage in STAGES}
    arrivals: list[float] = []
    passed: list[float] = []
    while came < setting.files or sum(waits.values()) > 0.5:
        arriving = setting.files - came
        if setting.arrival_seconds > setting.step:
            arriving = min(arriving, setting.files * setting.step / setting.arrival_seconds)
        came += arriving
        waits["intake"] += arriving
        capacity["deletions"] = max(0.0, setting.s3_writes * setting.step - arriving)
        through = dict(waits)
        at_most = min(pollers, setting.max_concurrency) * setting.batch_size / setting.batch_seconds
        through["consume"] = min(waits["consume"], at_most * setting.step)
        for name, there_is in capacity.items():
            wanted = sum(per_file[stage].get(name, 0.0) * through[stage] for stage in STAGES)
            if wanted > there_is:
                for stage in STAGES:
                    if name in per_file[stage]:
                        through[stage] *= there_is / wanted
        for stage, following in zip(STAGES, (*STAGES[1:], None), strict=True):
            waits[stage] -= through[stage]
            if following:
                waits[following] += through[stage]
        if waits["consume"] > 0:
            pollers = min(pollers + setting.pollers_per_minute * setting.step / 60, setting.max_concurrency)
        arrivals.append(arriving)
        passed.append(through["notify"])
        for stage in STAGES:
            waiting[stage].append(waits[stage])
    return Burst(setting, waiting, list(accumulate(arrivals)), list(accumulate(passed)))


def _needs(setting: Setting) -> dict[str, dict[str, float]]:
    """Stage to what a file takes of each resource there."""
    return {
        "intake": {"concurrency": setting.intake_seconds, "writes": 1},
        "consume": {
            "concurrency": setting.batch_seconds / setting.batch_size,
            "writes": 2,
            "copies": 1,
            "deletions": 1,
        },
        "notify": {"concurrency": setting.notify_seconds},
    }


def _reached(totals: list[float], number: float) -> float:
    """The step, and the part of it, in which a total passes a number."""
    before = 0.0
    for at, total in enumerate(totals):
        if total >= number - 1e-6:
            return at + (number - before) / (total - before) if total > before else float(at)
        before = total
    return float(len(totals))


USUAL = Setting()
RAISED = replace(USUAL, max_concurrency=500, write_units=20_000)
SCENARIOS: Mapping[str, Setting] = {
    "a new account: 10 functions at once": replace(USUAL, concurrency=10, max_concurrency=4),
    "all files are one owner's": replace(USUAL, write_units=1000),
    "many owners, all as it is deployed": USUAL,
    "the table warmed to 20,000 writes, 500 batches at once": RAISED,
    "and S3 has split uploads/ and processed/ in four": replace(RAISED, s3_writes=4 * 3500),
}


def duration(seconds: float) -> str:
    minutes = seconds / 60
    return (
        f"{seconds:.0f} s"
        if minutes < 2
        else f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.1f} h"
    )


def bursts_table(bursts: Mapping[str, Burst]) -> str:
    return table(
        (
            "a million files in five minutes",
            "waiting at most",
            "half of them within",
            "99 % of them within",
            "all done after",
        ),
        (
            (
                name,
                f"{max(burst.backlog):,.0f}",
                duration(burst.percentile(0.5)),
                duration(burst.percentile(0.99)),
                duration(burst.seconds),
            )
            for name, burst in bursts.items()
        ),
    )


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.burst", description="A burst of a million files."
    )
    parser.add_argument("--write", action="store_true", help="into docs/, as table and plot")
    options = parser.parse_args(None if arguments is None else list(arguments))
    bursts = {name: simulate(setting) for name, setting in SCENARIOS.items()}
    shown = bursts_table(bursts)
    print(shown)
    if options.write:
        from benchmarks import burst_plot

        burst_plot.draw(bursts, PLOT)
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), "burst", shown), encoding="utf-8")


if __name__ == "__main__":
    main()
