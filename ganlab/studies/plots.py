"""The figures of a report: forest plot, learning curves and sample grids of a suite; plots of a search."""

import warnings
from functools import partial
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from PIL import Image
from scipy import stats

from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import read_regular_file
from ganlab.studies.analysis import Analysis, ArmResult
from ganlab.studies.formatting import centre
from ganlab.studies.statistics import LEVEL
from ganlab.theory.style import BLACK, BLUE, ORANGE, PURPLE, SKY, VERMILION, tidy, titled_figure
from ganlab.visualize.images import render

COLUMNS = 4  # of panels and grids
SIDE = 2.6  # inches of a panel or grid
LIFT = 0.22  # of a seed's dot above its arm's line, in rows
WIDE = 20  # the ratio of the largest to the smallest value from which on an axis is logarithmic
MAX_PIXELS, MAX_BYTES = 1 << 25, 1 << 27  # of a sample grid


def forest(analysis: Analysis) -> Image.Image | None:
    """The differences to the reference, with a row for each arm; None if nothing is compared."""
    arms, suite, record = analysis.compared, analysis.suite, analysis.record()
    if not arms:
        return None
    figure = titled_figure(9, 1.9 + 0.45 * len(arms), f"{suite.name}: difference to {suite.reference}")
    axes = figure.add_subplot()
    tidy(axes)
    axes.axvline(0, color=BLACK, linewidth=1)
    for row, arm in enumerate(arms):
        draw_row(axes, arm, row, record.get("better"))
    unit = f", {record['unit']}" if "unit" in record else ""
    way = f" ({record['better']} is better)" if "better" in record else ""
    axes.set_xlabel(f"difference in {analysis.name}{unit}{way}", parse_math=False)
    axes.margins(x=0.04)
    axes.set_yticks(range(len(arms)), [arm.arm.name for arm in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks(
        range(len(arms)), [centre(arm.difference, analysis.places(), sign=True) for arm in arms]
    )
    for part in (axes, numbers):
        part.tick_params(axis="y", length=0)
        part.spines["right"].set_visible(False)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # each once
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return render(figure)


def draw_row(axes: Axes, arm: ArmResult, row: int, better: str | None) -> None:
    """Draws an arm: a dot for each seed, and the mean with its interval in the colour of the verdict."""
    found, verdicts = arm.difference, {None: (ORANGE, "different"), arm.direction: (BLUE, "better")}
    colour, label = verdicts.get(better, (VERMILION, "worse"))
    label = f"{label} (Holm, 5 %)"
    if not arm.differs:
        colour, label = (PURPLE, "not tested") if arm.p is None else (BLACK, "no difference shown")
    above = [row - LIFT] * len(found.values)
    axes.plot(found.values, above, "o", color=SKY, markersize=4, alpha=0.8, label="one seed")
    if found.interval is not None:
        axes.plot(found.interval[:2], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([found.mean], [row], "D", color=colour, markersize=6, label=label)


def curves(analysis: Analysis) -> Image.Image | None:
    """Learning curves of the first metric, with a panel for each arm; None if no row has any.

    Thin lines are seeds, the thick one is their mean, with its 95 % t interval at each step as a band. The
    mean of the reference is dashed in the other panels.
    """
    courses = {
        name: pd.DataFrame({
            seed: pd.Series({int(step): value for step, value in row.course.items()}, dtype=float)
            for seed, row in arm.rows.items()
        }).sort_index()
        for name, arm in analysis.arms.items()
        if any(row.course for row in arm.rows.values())
    }  # fmt: skip
    if not courses:
        return None
    columns, reference = min(len(courses), COLUMNS), courses.get(analysis.suite.reference, pd.DataFrame())
    lines, title = (
        ceil(len(courses) / columns),
        f"{analysis.suite.name}: {analysis.name} by step".replace("$", r"\$"),
    )
    figure = titled_figure(max(SIDE * columns, 5), SIDE * lines + 0.8, title)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for panel in panels[len(courses) :]:
        panel.set_visible(False)
    for axes, (arm, found) in zip(panels, courses.items(), strict=False):
        tidy(axes)
        axes.spines["right"].set_visible(False)
        axes.set_title(arm, fontsize=10)
        axes.plot(found.index, found, color=SKY, linewidth=0.7)
        mean, n = found.mean(axis=1), found.count(axis=1)
        around = stats.t.ppf((1 + LEVEL) / 2, n.where(n > 1) - 1) * found.sem(axis=1)
        ends = [(mean + sign * around).clip(*analysis.arms[arm].first.bounds) for sign in (-1, 1)]
        axes.fill_between(found.index, *ends, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(found.index, mean, color=BLUE, linewidth=1.8, marker="." if len(found) == 1 else "")
        if arm != analysis.suite.reference:
            axes.plot(reference.index, reference.mean(axis=1), "--", color=BLACK, linewidth=1)
    for axes in panels[max(len(courses) - columns, 0) : len(courses)]:
        axes.tick_params(labelbottom=True)
    make_logarithmic_if_wide(panels[0], [value for found in courses.values() for value in found.stack()])
    figure.supxlabel("step", fontsize=10)
    return render(figure)


def make_logarithmic_if_wide(axes: Axes, values: Any) -> None:
    """Makes the vertical axis logarithmic if positive values extend over more than an order of magnitude."""
    if min(values) > 0 and max(values) > WIDE * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def grids(analysis: Analysis) -> Image.Image | None:
    """The grids in the suite's samples/, all of one width, below the names of their arms; None without."""
    suite = analysis.suite
    files = {arm: suite.folder / "samples" / f"{arm}.png" for arm in suite.arms}
    images = {arm: sample_grid(file) for arm, file in files.items() if file.exists()}
    if not images:
        return None
    columns = min(len(images), COLUMNS)
    shapes = [image.height / image.width for image in images.values()]
    heights = [max(shapes[first : first + columns]) for first in range(0, len(shapes), columns)]
    height = SIDE * sum(heights) + 0.35 * len(heights) + 0.4
    figure = titled_figure(SIDE * columns, height, f"{suite.name}: samples")
    layout = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    for place, (arm, image) in enumerate(images.items()):
        axes = figure.add_subplot(layout[place // columns, place % columns], anchor="N")
        axes.imshow(image, interpolation="antialiased")
        axes.set_title(arm, fontsize=10)
        axes.set_axis_off()
    return render(figure)


def sample_grid(file: Path) -> Image.Image:
    """The image of a PNG file, RGB. Raises `ConfigError`, before pixels are read if there are too many."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(
            BytesIO(read_regular_file(file, MAX_BYTES)), formats=["PNG"]
        ) as image:  # fmt: skip
            width, height = image.size
            require(width * height <= MAX_PIXELS, f"{file} has {width} x {height} pixels", "remove it")
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        reason = f"{file} is no PNG file, or has too many pixels"
        raise ConfigError(reason, "remove it, or replace it by a grid of samples") from error


def search_plots(trials: Any, name: str, title: str) -> dict[str, Image.Image]:
    """optuna's plots of a study, by file name; importances need two trials with different values."""
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    values = {trial.value for trial in trials.trials if trial.value is not None}
    makers: dict[str, Any] = {"slice": plots.plot_slice, "history": plots.plot_optimization_history}
    if len(values) > 1:
        makers["importance"] = partial(
            plots.plot_param_importances, evaluator=FanovaImportanceEvaluator(seed=0)
        )
    found: dict[str, Figure] = {}
    with warnings.catch_warnings(action="ignore"), rc_context():  # optuna's plots are experimental
        pyplot.switch_backend("agg")
        for kind, maker in makers.items() if values else ():
            panel = np.ravel(maker(trials, target_name=name.replace("$", r"\$")))[0]
            found[kind] = figure = panel.figure
            if kind == "importance":
                panel.get_legend().remove()
            else:
                make_logarithmic_if_wide(panel, values)
            for axes in (axes for axes in figure.axes if axes.get_xscale() == "log"):
                low, high = axes.get_xlim()
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high < 100 * low else (1,)))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            panel.set_title("", loc="left")
            panel.set_title("")
            figure.suptitle(f"{title}: {kind}", fontsize=12)
            figure.set_size_inches(max(3.4 * (len(figure.axes) - 1), 7), 4.2)
            figure.set_layout_engine("constrained")
            pyplot.close(figure)
    return {kind: render(figure) for kind, figure in found.items()}
