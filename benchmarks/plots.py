"""The plots: one SVG per group of workloads, one panel per workload, one bar per peer."""

from itertools import groupby
from pathlib import Path
from textwrap import fill

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Results, three_digits
from benchmarks.results import Cost, Result
from benchmarks.workloads import Workload

COLUMNS = 2
PANEL = (5.2, 2.6)
"""Inches."""
TITLE_WIDTH = 46
"""Characters."""
COLOURS = {"trunkline": "#0b7a75", "floor": "#b8b8b8"}
OTHERS = "#d9a05b"


def plot_all(results: Results, directory: Path) -> None:
    """Write `echo.svg`, `fan-out.svg` and so on."""
    # The same data gives the same bytes, so that a repository shows real changes only.
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    for group, members in groupby(results, key=lambda pair: pair[0].group):
        _plot(list(members), directory / f"{group.lower().replace(' ', '-')}.svg")


def _plot(panels: Results, path: Path) -> None:
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="tight")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (workload, result) in zip(grid.flat, panels, strict=False):
        _panel(axes, workload, result)
    figure.savefig(path, metadata={"Date": None})


def _panel(axes: Axes, workload: Workload, result: Result) -> None:
    costs = {peer.label: result.cost(peer.label, workload.metric) for peer in workload.peers}
    measured = sorted(((label, cost) for label, cost in costs.items() if cost), key=lambda item: -item[1].median)
    values = [cost.median for _, cost in measured]
    axes.barh(
        [label for label, _ in measured],
        values,
        xerr=[[cost.median - cost.low for _, cost in measured], [cost.high - cost.median for _, cost in measured]],
        color=[COLOURS.get(label.partition("/")[0], OTHERS) for label, _ in measured],
        error_kw={"elinewidth": 0.8, "capsize": 2},
    )
    _label(axes, workload, [cost for _, cost in measured])


def _label(axes: Axes, workload: Workload, costs: list[Cost]) -> None:
    unit = "bytes of memory" if workload.metric == "rss" else "µs of CPU time"
    axes.set_title(fill(workload.title.replace("`", ""), TITLE_WIDTH), fontsize=9)
    axes.set_xlabel(f"{unit} per {workload.counts}; less is better", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    widest = max((cost.high for cost in costs), default=1)
    axes.set_xlim(0, widest * 1.15)
    for row, cost in enumerate(costs):
        axes.text(cost.high + widest * 0.01, row, three_digits(cost.median), va="center", fontsize=7)
