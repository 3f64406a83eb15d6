"""The figures of a report by file name: forest plot, learning curves and sample grids; plots of a search."""

import warnings
from collections.abc import Collection
from functools import partial
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot, rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from ganlab.core.errors import ConfigError
from ganlab.filesystem import read_regular_file
from ganlab.studies.analysis import Analysis
from ganlab.studies.spec import Suite
from ganlab.studies.statistics import summaries
from ganlab.theory.style import BLACK, BLUE, SKY, VERMILION, tidy
from ganlab.visualize.images import new_figure

COLOURS = {"lower": BLUE, "higher": VERMILION, "no difference shown": BLACK}
COLUMNS, SIDE = 4, 2.6  # of panels, and the inches of one
MAX_BYTES, MAX_PIXELS = 1 << 27, 1 << 25  # of a sample grid


def of_suite(suite: Suite, analysis: Analysis) -> dict[str, Figure]:
    """The figures of a suite, by file name."""
    makers = {"forest": forest, "curves": curves, "grids": grids}
    return {name: figure for name, make in makers.items() if (figure := make(suite, analysis))}


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
        colour, at = COLOURS[str(verdict)], rows[own.index]
        axes.hlines(at, own.difference_low, own.difference_high, color=colour, linewidth=2)
        axes.plot(own.difference_mean, at, "D", color=colour, label=f"{verdict} (Holm, 5 %)")
    axes.set_yticks(rows, rows.index)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    way = f" ({metric.better} is better)" if metric.better else ""
    axes.set_xlabel(f"{metric.name} less that of {suite.reference}{way}", parse_math=False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def panelled(names: Collection[str], side: float, share: bool = False) -> Figure:
    """A figure with a titled panel for each name; `side` is the height of one in inches."""
    columns = min(len(names), COLUMNS)
    lines = ceil(len(names) / columns)
    figure, first = new_figure(max(SIDE * columns, 5), side * lines + 0.4), None
    for i, name in enumerate(names, 1):
        axes = figure.add_subplot(lines, columns, i, title=name, sharex=first, sharey=first)
        first = axes if share else None
    return figure


def curves(suite: Suite, analysis: Analysis) -> Figure | None:
    """Learning curves of the first metric: seeds, their mean, and its interval; None if no row has any."""
    points = [
        [row.arm, row.seed, int(step), value] for row in analysis.rows for step, value in row.course.items()
    ]
    if not points:
        return None
    data, metric = pd.DataFrame(points, columns=["arm", "seed", "step", "value"]), analysis.metrics[0]
    courses = {str(arm): own.pivot(index="seed", columns="step", values="value")
               for arm, own in data.groupby("arm", sort=False)}  # fmt: skip
    figure = panelled(courses, SIDE, share=True)
    for axes, (arm, course) in zip(figure.axes, courses.items(), strict=True):
        tidy(axes)
        found = summaries(course, metric.bounds)
        axes.plot(course.T, color=SKY, linewidth=0.7)
        axes.fill_between(found.index, found["low"], found["high"], color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(found["mean"], ".-", color=BLUE, linewidth=1.8)
        if arm != suite.reference and suite.reference in courses:
            axes.plot(courses[suite.reference].mean(), "--", color=BLACK, linewidth=1)
    make_logarithmic_if_wide(figure, data["value"].dropna())
    figure.supxlabel("step", fontsize=10)
    figure.supylabel(metric.name, fontsize=10, parse_math=False)
    return figure


def make_logarithmic_if_wide(figure: Figure, values: Collection[float]) -> None:
    """Makes the vertical axis, which all panels share, logarithmic if its values are of many magnitudes."""
    if 0 < 10 * min(values) < max(values):
        figure.axes[0].set_yscale("log")


def grids(suite: Suite, analysis: Analysis) -> Figure | None:
    """The grids in the suite's samples/, all of one width, below the names of their arms; None without."""
    files = {arm: suite.folder / "samples" / f"{arm}.png" for arm in analysis.arms.index}
    images = {arm: sample_grid(file) for arm, file in files.items() if file.exists()}
    if not images:
        return None
    highest = max(image.height / image.width for image in images.values())
    figure = panelled(images, SIDE * highest + 0.3)
    for axes, image in zip(figure.axes, images.values(), strict=True):
        axes.imshow(image, interpolation="antialiased")
        axes.set_anchor("N")
        axes.set_axis_off()
    return figure


def sample_grid(file: Path) -> Image.Image:
    """The image of a PNG file, RGB. Raises `ConfigError` if it is none, or too large."""
    try:
        with Image.open(BytesIO(read_regular_file(file, MAX_BYTES)), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise OSError
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        remedy = "remove it, or replace it by a grid of samples"
        raise ConfigError(f"{file} is no PNG file, or has too many pixels", remedy) from error


def of_search(study: Any, name: str) -> dict[str, Figure]:
    """optuna's plots of a study, of whose metric the name is given; importances need two different values."""
    from optuna.importance import FanovaImportanceEvaluator
    from optuna.visualization import matplotlib as plots

    values, figures = {trial.value for trial in study.trials} - {None}, dict[str, Figure]()
    makers: dict[str, Any] = {"slice": plots.plot_slice, "history": plots.plot_optimization_history}
    if len(values) > 1:
        evaluator = FanovaImportanceEvaluator(seed=0)
        makers["importance"] = partial(plots.plot_param_importances, evaluator=evaluator)
    with warnings.catch_warnings(action="ignore"), rc_context():  # optuna's plots are experimental
        pyplot.switch_backend("agg")
        for kind, make in makers.items() if values else ():
            make(study, target_name=name.replace("$", r"\$"))
            figure = figures[kind] = pyplot.gcf()
            if kind != "importance":
                make_logarithmic_if_wide(figure, values)
            for axes in figure.axes:
                axes.xaxis.set_minor_formatter(NullFormatter())  # those of logarithmic axes overlap
            figure.set_size_inches(max(3.4 * (len(figure.axes) - 1), 7), 4.2)
            figure.set_layout_engine("constrained")
            pyplot.close(figure)
    return figures
