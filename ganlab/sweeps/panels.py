"""The metric against each parameter, a panel for each."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from PIL import Image

from ganlab.sweeps.parameters import Choice, Range
from ganlab.sweeps.sweep import Sweep, Tried
from ganlab.theory.style import BLUE, OPTIMUM, ORANGE, VERMILION, add_legend, tidy, titled_figure
from ganlab.visualize.images import render

COLUMNS = 3
WIDTH, HEIGHT = 3.4, 2.9  # inches of a panel
WIDE = 20  # how many times the smallest value the largest is, from where on the axis is logarithmic
CROWDED = 30  # letters of all choices, from where on they are turned
GOLDEN = 0.618034  # of a place: neighbouring trials of one choice lie far from each other
MARGIN = 0.03  # of a range, at either end
SPREAD = 0.5  # of the place of a choice that its trials take


def panels(sweep: Sweep, rows: Sequence[Tried], ranked: Sequence[Tried], name: str) -> Image.Image | None:
    """Trials with a value, pruned ones at the last that was measured, and those that failed at the edge.

    `ranked` are those with a value, the best first; None where there is none.
    """
    if not ranked:
        return None
    columns = min(len(sweep.parameters), COLUMNS)
    lines = ceil(len(sweep.parameters) / columns)
    figure = titled_figure(max(WIDTH * columns, 5), HEIGHT * lines + 0.8, f"{sweep.name}: {name}")
    first: Axes | None = None
    for place, parameter in enumerate(sweep.parameters, 1):
        axes = figure.add_subplot(lines, columns, place, sharey=first)
        draw(axes, sweep, parameter, rows, ranked)
        if (place - 1) % columns == 0:
            axes.set_ylabel(name)
        first = first or axes
    assert first is not None
    if logarithmic(rows):
        first.set_yscale("log")
    add_legend(figure, [first], 4)
    return render(figure)


def draw(axes: Axes, sweep: Sweep, name: str, rows: Sequence[Tried], ranked: Sequence[Tried]) -> None:
    """One panel."""
    tidy(axes)
    axes.spines["right"].set_visible(False)
    parameter = sweep.parameters[name]
    pruned = [row for row in rows if row.status == "pruned" and row.last is not None]
    lost = [row for row in rows if row.status in ("failed", "diverged")]

    def dots(shown: Sequence[Tried], heights: list[Any], marker: str, colour: str, **style: Any) -> None:
        axes.plot([across(sweep, name, row) for row in shown], heights, marker, color=colour, **style)

    last, values = [row.last for row in pruned], [row.value for row in ranked]
    dots(pruned, last, "o", ORANGE, fillstyle="none", markersize=5, label="pruned, as measured last")
    dots(ranked, values, "o", BLUE, markersize=5, alpha=0.8, label="finished")
    dots(ranked[:1], values[:1], "*", OPTIMUM, markersize=13, label="best")
    if lost:
        edge = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        dots(lost, [1.0] * len(lost), "x", VERMILION, markersize=5, label="failed or diverged", **edge)
    axes.set_xlabel(name)
    if isinstance(parameter, Choice):
        axes.set_xlim(-0.5, len(parameter.texts) - 0.5)
        axes.set_xticks(range(len(parameter.texts)), parameter.texts)
        if sum(map(len, parameter.texts)) > CROWDED:
            axes.tick_params(axis="x", labelrotation=30)
        axes.grid(visible=False, axis="x")
        return
    if parameter.log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif 0 < len(parameter.steps) <= 8:
        axes.set_xticks(parameter.steps)
    axes.set_xlim(*reach(parameter))


def reach(parameter: Range) -> tuple[float, float]:
    """The ends of the axis of a range: a little more than it."""
    low, high = parameter.low, parameter.high
    if parameter.log:
        return low / (high / low) ** MARGIN, high * (high / low) ** MARGIN
    return low - (high - low) * MARGIN, high + (high - low) * MARGIN


def across(sweep: Sweep, name: str, row: Tried) -> float:
    """Where a trial lies in the panel of a parameter."""
    parameter, value = sweep.parameters[name], row.parameters[name]
    if isinstance(parameter, Choice):
        return parameter.texts.index(value) + (row.trial * GOLDEN % 1 - 0.5) * SPREAD
    return float(value)


def logarithmic(rows: Sequence[Tried]) -> bool:
    """Whether the values are drawn on a logarithmic axis."""
    shown = [value for row in rows for value in (row.judged, row.last) if value is not None]
    return min(shown) > 0 and max(shown) > WIDE * min(shown)
