"""The figures of a report by file name: forest plot, learning curves and sample grids; plots of a search."""

import warnings
from collections.abc import Collection
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from ganlab.core.errors import ConfigError
from ganlab.filesystem import read_regular_file
from ganlab.studies.analysis import Analysis
from ganlab.studies.spec import Suite
from ganlab.studies.statistics import summaries
from ganlab.theory.style import BLACK, BLUE, ORANGE, PURPLE, SKY, VERMILION, tidy
from ganlab.visualize.images import new_figure

COLOURS = {"better": BLUE, "worse": VERMILION, "different": ORANGE, "not tested": PURPLE}  # others are black
COLUMNS, SIDE = 4, 2.6  # of panels, and the inches of one
WIDE = 20  # the ratio of the largest to the smallest value from which on an axis is logarithmic
MAX_BYTES, MAX_PIXELS, SHOWN = 1 << 27, 1 << 27, 2000  # of samples; and the pixels of a side that are shown


def of_suite(suite: Suite, analysis: Analysis) -> dict[str, Figure]:
    """The figures of a suite, by file name."""
    made = {"forest": forest, "curves": curves, "grids": grids}
    figures = {name: make(suite, analysis) for name, make in made.items()}
    return {name: figure for name, figure in figures.items() if figure}


def forest(suite: Suite, analysis: Analysis) -> Figure | None:
    """The differences to the reference, with a row for each arm; None if no arm is compared."""
    arms, metric = analysis.arms.loc[analysis.differences.columns], analysis.metrics[0]
    if arms.empty:
        return None
    figure = new_figure(9, 1.7 + 0.45 * len(arms))
    axes = figure.add_subplot()
    tidy(axes)
    axes.margins(x=0.04)
    axes.axvline(0, color=BLACK, linewidth=1)
    rows = pd.Series(range(len(arms)), arms.index)
    seeds = analysis.differences.melt(var_name="arm").dropna()
    axes.plot(seeds["value"], seeds["arm"].map(rows) - 0.2, "o", color=SKY, markersize=4, label="one seed")
    for verdict, own in arms.groupby("verdict"):
        colour, at = COLOURS.get(str(verdict), BLACK), rows[own.index]
        axes.hlines(at, own.difference_low, own.difference_high, color=colour, linewidth=2)
        axes.plot(own.difference_mean, at, "D", color=colour, label=f"{verdict} (Holm, 5 %)")
    axes.set_yticks(rows, rows.index)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    way = f" ({metric.better} is better)" if metric.better else ""
    axes.set_xlabel(f"{metric.name} less that of {suite.reference}{way}", parse_math=False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def panelled(names: Collection[str], side: float, share: bool = False) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a titled panel for each name, and the panels; `side` is the height of one in inches."""
    columns = min(len(names), COLUMNS)
    lines = ceil(len(names) / columns)
    figure, panels = new_figure(max(SIDE * columns, 5), side * lines + 0.4), dict[str, Axes]()
    for name in names:
        first = next(iter(panels.values()), None) if share else None
        panels[name] = figure.add_subplot(lines, columns, len(panels) + 1, sharex=first, sharey=first)
        panels[name].set_title(name, fontsize=10)
    return figure, panels


def curves(suite: Suite, analysis: Analysis) -> Figure | None:
    """Learning curves of the first metric, with a panel for each arm; None if no row has any.

    Thin lines are seeds, the thick one is their mean, with its 95 % interval at each step as a band. The mean
    of the reference is dashed in the other panels.
    """
    points = [
        [row.arm, row.seed, int(step), value] for row in analysis.rows for step, value in row.course.items()
    ]
    if not points:
        return None
    data, metric = pd.DataFrame(points, columns=["arm", "seed", "step", "value"]), analysis.metrics[0]
    courses = {str(arm): own.pivot(index="seed", columns="step", values="value")
               for arm, own in data.groupby("arm", sort=False)}  # fmt: skip
    figure, panels = panelled(courses, SIDE, share=True)
    for arm, axes in panels.items():
        tidy(axes)
        found = summaries(courses[arm], metric.bounds)
        axes.plot(courses[arm].T, color=SKY, linewidth=0.7)
        axes.fill_between(found.index, found["low"], found["high"], color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(found["mean"], ".-", color=BLUE, linewidth=1.8)
        if arm != suite.reference and suite.reference in courses:
            axes.plot(courses[suite.reference].mean(), "--", color=BLACK, linewidth=1)
    if data["value"].min() > 0 and data["value"].max() > WIDE * data["value"].min():
        axes.set_yscale("log")  # of all, as panels share it
    figure.supxlabel("step", fontsize=10)
    figure.supylabel(metric.name, fontsize=10, parse_math=False)
    return figure


def grids(suite: Suite, analysis: Analysis) -> Figure | None:
    """The grids in the suite's samples/, all of one width, below the names of their arms; None without."""
    files = {arm: suite.folder / "samples" / f"{arm}.png" for arm in analysis.arms.index}
    images = {arm: sample_grid(file) for arm, file in files.items() if file.exists()}
    if not images:
        return None
    highest = max(image.height / image.width for image in images.values())
    figure, panels = panelled(images, SIDE * highest + 0.3)
    for arm, axes in panels.items():
        axes.imshow(images[arm], interpolation="antialiased")
        axes.set_anchor("N")
        axes.set_axis_off()
    return figure


def sample_grid(file: Path) -> Image.Image:
    """The image of a PNG file, RGB, made smaller. Raises `ConfigError` if it is none, or far too large."""
    try:
        with Image.open(BytesIO(read_regular_file(file, MAX_BYTES)), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise OSError
            found = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        remedy = "remove it, or replace it by a grid of samples"
        raise ConfigError(f"{file} is no PNG file, or has too many pixels", remedy) from error
    found.thumbnail((SHOWN, SHOWN))
    return found


def of_search(study: Any, name: str) -> dict[str, Figure]:
    """optuna's plots of a study, of whose metric the name is given; importances need two different values."""
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    values, shown = {trial.value for trial in study.trials} - {None}, name.replace("$", r"\$")
    with warnings.catch_warnings(action="ignore"), rc_context():  # optuna's plots are experimental
        pyplot.switch_backend("agg")
        made: dict[str, Any] = {}
        if values:
            made["slice"] = plots.plot_slice(study, target_name=shown)
            made["history"] = plots.plot_optimization_history(study, target_name=shown)
        if len(values) > 1:
            evaluator = FanovaImportanceEvaluator(seed=0)
            made["importance"] = plots.plot_param_importances(study, evaluator=evaluator, target_name=shown)
        figures = {kind: np.ravel(panels)[0].figure for kind, panels in made.items()}
        for figure in figures.values():
            for axes in figure.axes:
                axes.xaxis.set_minor_formatter(NullFormatter())  # those of logarithmic axes overlap
            figure.set_size_inches(max(3.4 * (len(figure.axes) - 1), 7), 4.2)
            figure.set_layout_engine("constrained")
            pyplot.close(figure)
    return figures
