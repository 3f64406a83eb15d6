"""The figures of a report: forest plot, learning curves and sample grids of a suite; plots of a search."""

import warnings
from collections.abc import Callable
from io import BytesIO
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot, rc_context
from matplotlib.axes import Axes
from PIL import Image
from scipy import stats

from ganlab.core.errors import ConfigError, require
from ganlab.filesystem import read_regular_file
from ganlab.studies.analysis import Analysis, ArmResult
from ganlab.studies.conclusion import places
from ganlab.studies.formatting import centre
from ganlab.studies.spec import Suite
from ganlab.studies.statistics import LEVEL
from ganlab.theory.style import BLACK, BLUE, ORANGE, PURPLE, SKY, VERMILION, tidy, titled_figure
from ganlab.visualize.images import render

COLUMNS = 4  # of panels and grids
SIDE = 2.6  # inches of a grid
LIFT = 0.22  # of a seed's dot above its arm's line, in rows
WIDE = 20  # the ratio of the largest to the smallest value from which on an axis is logarithmic
MAX_PIXELS = 1 << 25  # of a sample grid
MAX_BYTES = 1 << 27


def forest(analysis: Analysis) -> Image.Image | None:
    """The differences to the reference, with a row for each arm; None if nothing is compared."""
    arms, suite = analysis.compared, analysis.suite
    if not arms:
        return None
    figure = titled_figure(9, 1.9 + 0.45 * len(arms), f"{suite.name}: difference to {suite.reference}")
    axes = figure.add_subplot()
    tidy(axes)
    axes.axvline(0, color=BLACK, linewidth=1)
    record = analysis.record()
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
        range(len(arms)), [centre(arm.difference, places(analysis), sign=True) for arm in arms]
    )
    for part in (axes, numbers):
        part.tick_params(axis="y", length=0)
        part.spines["right"].set_visible(False)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # each once
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return render(figure)


def draw_row(axes: Axes, arm: ArmResult, row: int, better: str | None) -> None:
    """Draws an arm: a dot for each seed, and the mean with its interval in the colour of the verdict."""
    found = arm.difference
    is_better = ORANGE, "different" if better is None else ""
    verdicts = {None: is_better, arm.direction: (BLUE, "better")}
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

    Thin lines are seeds, the thick one their mean, with its 95 % t interval at each step as a band. The mean
    of the reference is dashed in all panels.
    """
    courses = {
        name: pd.DataFrame({seed: pd.Series(row.course, dtype=float) for seed, row in arm.rows.items()})
        for name, arm in analysis.arms.items()
    }
    courses = {name: found for name, found in courses.items() if found.size}
    if not courses:
        return None
    columns, name = min(len(courses), COLUMNS), analysis.name
    bounds = analysis.arms[analysis.suite.reference].first.bounds
    lines, reference = ceil(len(courses) / columns), courses.get(analysis.suite.reference)
    figure = titled_figure(
        max(SIDE * columns, 5), SIDE * lines + 0.8, f"{analysis.suite.name}: {name} by step"
    )
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(courses) :]:
        axes.set_visible(False)
    for axes, (arm, found) in zip(panels.flat, courses.items(), strict=False):
        tidy(axes)
        axes.set_title(arm, fontsize=10)
        found = by_step(found)
        axes.plot(found.index, found, color=SKY, linewidth=0.7)
        mean, around = found.mean(axis=1), stats.t.ppf((1 + LEVEL) / 2, found.count(axis=1) - 1)
        around = around * found.sem(axis=1)
        low, high = ((mean + sign * around).clip(*bounds) for sign in (-1, 1))
        axes.fill_between(found.index, low, high, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(found.index, mean, color=BLUE, linewidth=1.8, marker="." if len(found) == 1 else "")
        if reference is not None and arm != analysis.suite.reference:
            axes.plot(
                by_step(reference).index, by_step(reference).mean(axis=1), "--", color=BLACK, linewidth=1
            )
    shown = pd.concat(courses.values(), axis=1)
    if shown.min(axis=None) > 0 and shown.max(axis=None) > WIDE * shown.min(axis=None):
        panels.flat[0].set_yscale("log")
    figure.supxlabel("step", fontsize=10)
    return render(figure)


def by_step(found: pd.DataFrame) -> pd.DataFrame:
    """Values by step and seed, in the order of the steps."""
    return found.set_axis(found.index.astype(int)).sort_index()


def grids(suite: Suite) -> Image.Image | None:
    """The grids in the suite's samples/, all of one width, below the names of their arms; None without any.

    Raises:
        ConfigError: a grid is not a PNG file, or is too large.
    """
    places = {arm: suite.folder / "samples" / f"{arm}.png" for arm in suite.arms}
    images = {arm: sample_grid(path) for arm, path in places.items() if path.exists()}
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


def sample_grid(path: Path) -> Image.Image:
    """The image of a PNG file, RGB. Its size is checked before its pixels are read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(read_regular_file(path, MAX_BYTES)), formats=["PNG"]) as image:
                width, height = image.size
                require(width * height <= MAX_PIXELS, f"{path} has {width} x {height} pixels", "remove it")
                return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"{path} is no PNG file, or has too many pixels"
        raise ConfigError(reason, "remove it, or replace it by a grid of samples") from error


def search_plots(trials: "optuna.Study", name: str, title: str) -> dict[str, Image.Image]:
    """optuna's plots of a search, by file name; importances need two trials with different values."""
    from optuna.visualization import matplotlib as plots

    values = {trial.value for trial in trials.trials if trial.value is not None}
    makers: dict[str, Callable[..., Axes]] = {
        "slice": plots.plot_slice,
        "history": plots.plot_optimization_history,
    }
    makers |= {"importance": plots.plot_param_importances} if len(values) > 1 else {}
    found = {}
    with warnings.catch_warnings(), rc_context():
        warnings.simplefilter("ignore")  # optuna's plots are experimental
        pyplot.switch_backend("agg")
        for kind, maker in makers.items():
            figure = np.ravel(maker(trials, target_name=name))[0].figure
            figure.suptitle(title)
            figure.set_layout_engine("constrained")
            found[f"{kind}.png"] = render(figure)
            pyplot.close(figure)
    return found if values else {}
