"""The plots: one SVG per group of workloads, one panel per workload, one bar per peer."""

from pathlib import Path
from textwrap import fill

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Results, file_name, grouped, three_digits
from benchmarks.results import Cost, Result
from benchmarks.workloads import Workload

COLUMNS = 2
PANEL_WIDTH, BAR_HEIGHT, FRAME_HEIGHT = 5.4, 0.23, 0.95
"""Inches."""
TITLE_WIDTH = 52
"""Characters."""
OURS, FLOOR, OTHERS = "#0b7a75", "#9aa5b1", "#d9a05b"
PALE_OURS, INK, FAINT = "#8cc5c1", "#2b2b2b", "#767676"


def plot_all(results: Results, directory: Path) -> None:
    """Write `echo.svg`, `fan-out.svg` and so on."""
    directory.mkdir(parents=True, exist_ok=True)
    # The same data gives the same bytes, so that a repository shows real changes only.
    style = {"svg.hashsalt": "benchmarks", "font.family": "DejaVu Sans", "text.color": INK, "axes.labelcolor": FAINT}
    with matplotlib.rc_context(style):
        for group, rows in grouped(results).items():
            _plot(rows, directory / file_name(group))


def _plot(panels: Results, path: Path) -> None:
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    bars = max(len(result.samples) for _, result in panels)
    size = (PANEL_WIDTH * columns, (FRAME_HEIGHT + BAR_HEIGHT * bars) * rows)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (workload, result) in zip(grid.flat, panels, strict=False):
        _panel(axes, workload, result)
    figure.savefig(path, metadata={"Date": None})


def colour(label: str) -> str:
    """Of the bar of a peer."""
    if label.startswith("trunkline"):
        return PALE_OURS if "(" in label else OURS
    return FLOOR if label.startswith("floor") else OTHERS


def _panel(axes: Axes, workload: Workload, result: Result) -> None:
    costs = {peer.label: result.cost(peer.label, workload.metric) for peer in workload.peers}
    measured = sorted(((label, cost) for label, cost in costs.items() if cost), key=lambda item: -item[1].median)
    axes.barh(
        [label for label, _ in measured],
        [cost.median for _, cost in measured],
        height=0.72,
        xerr=[[cost.median - cost.low for _, cost in measured], [cost.high - cost.median for _, cost in measured]],
        color=[colour(label) for label, _ in measured],
        error_kw={"elinewidth": 0.8, "ecolor": INK},
    )
    for tick, (label, _) in zip(axes.get_yticklabels(), measured, strict=True):
        tick.set_fontweight("bold" if label.startswith("trunkline") else "normal")
    _label(axes, workload, [cost for _, cost in measured])


def _label(axes: Axes, workload: Workload, costs: list[Cost]) -> None:
    unit = "bytes of memory" if workload.metric == "rss" else "µs of CPU time"
    axes.set_title(fill(workload.title.replace("`", ""), TITLE_WIDTH), fontsize=9.5, loc="left", fontweight="bold")
    axes.set_xlabel(f"{unit} per {workload.counts}; less is better", fontsize=8)
    axes.tick_params(labelsize=8, length=0)
    axes.tick_params(axis="x", labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(y=0.02)
    widest = max((cost.high for cost in costs), default=1)
    axes.set_xlim(0, widest * 1.15)
    for row, cost in enumerate(costs):
        axes.text(cost.high + widest * 0.012, row, three_digits(cost.median), va="center", fontsize=8)
