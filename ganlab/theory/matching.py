"""Figure 2: direct matching. The generated density moves onto the true one, without a discriminator."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from PIL import Image

from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.density import Line
from ganlab.theory.runs import schedule
from ganlab.theory.style import MADE, TRUE, add_legend, tidy, titled_figure
from ganlab.visualize.grid import render


def draw(
    objectives: Mapping[str, Sequence[str]],
    data: Mapping[str, Sequence[str]],
    settings: Sequence[str],
    reach: tuple[float, float],
    steps: Count,
    frames: TwoOrMore,
    seed: int,
) -> list[Image.Image]:
    """One column per objective and one row per data set, each with what it changes in the settings."""
    lines = {
        (source, objective): Line(
            [f"data={source}", *settings, f"objective={objective}", *ours, *theirs], seed, reach
        )
        for source, ours in data.items()
        for objective, theirs in objectives.items()
    }
    return [_frame(lines, list(data), list(objectives), step) for step in schedule(steps, frames)]


def _frame(
    lines: Mapping[tuple[str, str], Line], data: Sequence[str], objectives: Sequence[str], step: int
) -> Image.Image:
    figure = titled_figure(4.5 * len(objectives), 1.1 + 2.6 * len(data), f"direct matching, round {step}")
    panels = figure.subplots(len(data), len(objectives), sharex=True, sharey="row", squeeze=False)
    for row, source in enumerate(data):
        for column, objective in enumerate(objectives):
            _panel(panels[row, column], lines[source, objective], step)
            panels[row, column].set_title(f"{objective} on {source}", fontsize=10)
        panels[row, 0].set_ylabel("density")
    for axes in panels[-1]:
        axes.set_xlabel("x, in the units of the data")
    add_legend(figure, [panels[0, 0]], 2)
    return render(figure)


def _panel(axes: Axes, line: Line, step: int) -> None:
    made = line.made(step)
    axes.fill_between(line.x, line.true, color=TRUE, alpha=0.25, linewidth=0)
    axes.plot(line.x, line.true, color=TRUE, linewidth=1.5, label="data")
    axes.plot(line.x, made, color=MADE, linewidth=2, label="generator")
    axes.set_ylim(0, 1.5 * float(line.true.max()))
    note = f"total variation {line.distance(made):.2f}"
    axes.text(0.02, 0.95, note, va="top", transform=axes.transAxes)
    tidy(axes)
