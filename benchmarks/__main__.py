"""`python -m benchmarks [NAME …]`: measure, show, write down. A name stands for all that begin with it."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import bench, node, page, plot, registry, results
from benchmarks.comparison import NotHere, Result

SHARP = "thumbnails.mjs"


def main(arguments: Sequence[str]) -> int:
    """
    Returns:
        The exit status: that a goal is missed is no failure of the run.
    """
    console = Console()
    try:
        chosen = registry.chosen(arguments)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    begun = time.monotonic()
    found: list[Result] = []
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description:26}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=2,  # what it computes is counted with what is measured
    )
    with bench.opened() as shared, bar:
        for number, comparison in enumerate(chosen, 1):
            task = bar.add_task(f"{number}/{len(chosen)} {comparison.name}", total=1.0)
            shared.say = lambda part, task=task: bar.update(task, completed=part)  # type: ignore[misc]
            try:
                found.append(comparison.result(shared))
                said = _line(found[-1])
            except NotHere as error:
                said = f"- {comparison.name:28} left out: {error}"
            bar.remove_task(task)
            console.print(said)
        with node.running(SHARP) as sharp:
            versions = sharp.versions
    results.write(found, versions)
    known = results.read()
    page.write(known)
    plot.draw(known)
    console.print(table(found))
    missed = [result.name for result in found if result.met is False]
    console.print(f"{len(found)} comparisons in {time.monotonic() - begun:.0f} s, written to {results.PATH}")
    if missed:
        console.print(f"Goals missed: {', '.join(missed)}; docs/performance.md says why.")
    return 0


def table(found: Sequence[Result]) -> Table:
    shown = Table(title="Waybill beside what it is compared with: medians of one run")
    for heading in ("", "ours", "theirs", "", "ratio", "spread", "goal", ""):
        shown.add_column(heading, justify="right" if heading in ("ours", "theirs", "ratio") else "left")
    for result in found:
        low, high = result.spread
        shown.add_row(
            result.name,
            f"{result.ours:,.3g}",
            f"{result.theirs:,.3g}",
            result.unit,
            f"{result.ratio:.3g}",
            f"{low:.3g} to {high:.3g}",
            result.goal or "",
            {True: "[green]met[/]", False: "[red]missed[/]", None: "reported"}[result.met],
        )
    return shown


def _line(result: Result) -> str:
    mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: " "}[result.met]
    goal = f"   goal {result.goal}" if result.goal else ""
    return f"{mark} {result.name:28} {result.ratio:8.3g}{goal}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
