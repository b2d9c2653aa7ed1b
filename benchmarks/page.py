"""The table of docs/performance.md, as `results.json` has it: nobody copies figures by hand."""

from pathlib import Path
from typing import Any

from benchmarks import registry, results
from ops.state import CHECKOUT

PAGE = CHECKOUT / "docs" / "performance.md"
BEGIN, END = "<!-- from benchmarks/results.json -->\n", "<!-- end -->\n"
MARKS = {True: "met", False: "**missed**", None: ""}


def write(found: dict[str, Any], page: Path = PAGE) -> None:
    """Put the table of these results between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, behind = rest.partition(END)
    page.write_text(before + BEGIN + "\n" + tables(found) + "\n" + END + behind, encoding="utf-8")


def shown(page: Path = PAGE) -> str:
    """What stands between the marks now."""
    return page.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip("\n") + "\n"


def tables(found: dict[str, Any]) -> str:
    about = found[results.ABOUT]
    rows = [
        "| | Waybill | beside | ours | theirs | ratio | spread | goal | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for comparison in registry.ALL:
        if comparison.name in found:
            rows.append(_row(comparison.name, comparison.ours, comparison.theirs, found[comparison.name]))
    notes = [f"- `{name}`: {found[name]['note']}." for name in found if found[name].get("note")]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    machine = (
        f"Measured on {about['day']} with Python {about['python']} on {about['system']}, "
        f"{about['processor']}, {about['processors']} processors, {about['memoryGiB']} GiB. "
        f"Versions: {versions}."
    )
    return "\n".join([*rows, "", "What else was seen:", "", *notes, "", machine]) + "\n"


def _row(name: str, ours: str, theirs: str, found: dict[str, Any]) -> str:
    low, high = found["spread"]
    cells = (
        f"`{name}`",
        ours,
        theirs,
        f"{_figure(found['ours'])} {found['unit']}",
        _figure(found["theirs"]),
        f"**{_figure(found['ratio'])}**",
        f"{_figure(low)}-{_figure(high)}",
        found["goal"] or "",
        MARKS[found["met"]],
    )
    return f"| {' | '.join(cells)} |"


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"
