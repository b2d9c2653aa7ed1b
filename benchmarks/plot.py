"""docs/performance.png: each ratio beside its goal."""

from pathlib import Path
from typing import Any

from benchmarks import registry
from benchmarks.comparison import Goal
from ops.state import CHECKOUT

PICTURE = CHECKOUT / "docs" / "performance.png"
MET, MISSED, REPORTED, GOAL, INK = "#2f7f79", "#c8553d", "#9db4c0", "#1d2d35", "#33434b"


def draw(found: dict[str, Any], path: Path = PICTURE) -> None:
    """Bars from 1, as much work as the other one: to the left Waybill needs less, to the right more.

    Where more is better, as with rows a second, the ratio is turned over.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    compared = [c for c in registry.ALL if c.name in found and c.unit != "calls"]
    figure = Figure(figsize=(9, 0.36 * len(compared) + 1.5), dpi=150)
    axes = figure.add_subplot()
    for at, comparison in enumerate(compared):
        result = found[comparison.name]
        goal = Goal.parse(result["goal"]) if result["goal"] else None
        turned = goal is not None and goal.sign == "≥"
        bound = 1.0 if goal is None else float(1 / goal.bound if turned else goal.bound)
        ratio, *spread = (1 / r if turned else r for r in (result["ratio"], *result["spread"]))
        low, high = sorted(spread)
        colour = {True: MET, False: MISSED, None: REPORTED}[result["met"]]
        axes.barh(at, ratio - 1, left=1, height=0.62, color=colour)
        axes.plot([low, high], [at, at], color=INK, linewidth=1.1)
        times = f"{1 / ratio:.3g} times less" if ratio < 0.95 else "the same" if ratio < 1.05 else ""
        text = times or f"{ratio:.3g} times as much"
        axes.annotate(
            text,
            (max(ratio, high, 1, bound), at),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
        if goal is not None:
            axes.plot([bound, bound], [at - 0.42, at + 0.42], color=GOAL, linewidth=2)
    axes.set_xscale("log")
    lowest, highest = axes.get_xlim()
    axes.set_xlim(lowest, max(highest, 1) * 2.6)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(compared)), [comparison.name for comparison in compared], fontsize=9, color=INK)
    axes.invert_yaxis()
    ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if lowest <= tick <= highest * 1.2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#e3e9ec", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("of what the other one needs (time or CPU; logarithmic)", fontsize=9, color=INK)
    axes.set_title("Waybill beside what it is compared with", loc="left", fontsize=12, color=INK)
    legend = [
        Patch(color=MET, label="goal met"),
        Patch(color=MISSED, label="goal missed"),
        Patch(color=REPORTED, label="no goal"),
        Line2D([], [], color=GOAL, linewidth=2, label="goal"),
        Line2D([], [], color=INK, linewidth=1.1, label="middle half of the rounds"),
    ]
    figure.legend(handles=legend, loc="lower center", ncols=5, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.035, 1, 1))
    figure.savefig(path, metadata={"Software": None})
