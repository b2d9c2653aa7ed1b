"""The plot of docs/cost-and-scale.md: what waits over time, and how long files take. Needs matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib

from benchmarks.burst import Burst

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

# Okabe and Ito's palette: told apart whatever colours one sees.
COLOURS = ("#D55E00", "#CC79A7", "#0072B2", "#E69F00", "#009E73")
INK, PALE = "#333333", "#DDDDDD"

MINUTES = (0.1, 1, 5, 15, 60, 120)
SECONDS = (1, 10, 60, 600, 3600, 7200)


def draw(bursts: Mapping[str, Burst], path: Path) -> None:
    pyplot.rcParams.update({"font.size": 10, "text.color": INK, "axes.labelcolor": INK})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.8), dpi=130)
    for (name, burst), colour in zip(bursts.items(), COLOURS, strict=True):
        step = burst.setting.step
        minutes = [(n + 1) * step / 60 for n in range(len(burst.backlog))]
        left.plot(minutes, [waiting / 1000 for waiting in burst.backlog], color=colour, lw=2, label=name)
        shares = [n / 200 for n in range(1, 201)]
        latencies = [burst.percentile(min(share, 0.999)) for share in shares]
        right.plot([100 * share for share in shares], latencies, color=colour, lw=2, label=name)
    _frame(left, "Files waiting, in thousands", "minutes since the first file")
    left.set_xscale("log")
    left.set_xlim(MINUTES[0], 200)
    left.set_xticks(MINUTES, [f"{tick:g}" for tick in MINUTES])
    left.set_ylim(0, 1050)
    left.axvspan(MINUTES[0], 5, color="#F4F4F4", zorder=0)
    left.text(0.12, 1010, "files arrive", color="#777777", va="top")
    _frame(right, "Time from upload to end", "per cent of all files, the quickest first")
    right.set_yscale("log")
    right.set_xlim(0, 100)
    right.set_ylim(1, 12000)
    right.set_yticks(SECONDS, ["1 s", "10 s", "1 min", "10 min", "1 h", "2 h"])
    for axes in (left, right):
        axes.minorticks_off()
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    figure.legend(*left.get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False)
    figure.suptitle(
        "A million light files in five minutes, simulated", x=0.06, ha="left", fontsize=13, fontweight="bold"
    )
    figure.tight_layout(rect=(0.02, 0.16, 1, 0.98), w_pad=3)
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


def _frame(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(below)
    axes.grid(color=PALE, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
