"""Pictures of a game's samples, together with real samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle
from math import ceil, sqrt
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, ValueRange
from ganlab.data.densities import Mixture
from ganlab.game import Game
from ganlab.metrics.synthetic import high_quality_modes
from ganlab.visualize.grid import FAKE_COLOUR, REAL_COLOUR, grid, new_figure, render, stack_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NAMED = 20  # classes; the names of more than these are not shown
MAX_POINTS = 1000  # real points that are drawn, and generated ones
BINS = 60  # bins of a histogram
MAX_MARKED = 50  # modes; more than these are not marked


def sample_picture(
    game: Game,
    samples: Tensor,
    data: Data | None,
    *,
    value_range: ValueRange,
    names: Sequence[str],
    label: int | None = None,
) -> Image.Image:
    """Samples of a game: images below a row of real images, or points over real points.

    Args:
        samples: images [N, C, H, W], or points [N, D].
        data: the source of the real samples; None: images are shown without real ones.
        value_range: the range of the images; None: from the smallest to the largest value of the real ones.
        names: the names of the classes; empty if they have none.
        label: the class of all samples; None: the classes in turn, if the generator is conditional.
    """
    if samples.ndim == 2 and data is not None:
        return _plot_points(samples, data, game.step)
    num_classes = game.generator.num_classes if label is None else None
    columns, period = grid_layout(len(samples), num_classes)
    titles = names[:period] if 0 < (num_classes or 0) <= MAX_NAMED else ()
    if label is not None:
        titles = names[label : label + 1]  # a single title, or none without names
    if data is None:
        return stack_rows([titles, grid(samples, value_range, columns=columns, period=period)])
    labels = game.labels(columns, label)
    real = reference_images(data, columns, None if labels is None else tuple(labels.tolist()))
    span = value_range or (float(real.min()), float(real.max()))
    above, below = (grid(x, span, columns=columns, period=period) for x in (real, samples))
    return stack_rows([["real"], titles, above, ["samples"], below])


def grid_layout(n: int, num_classes: int | None) -> tuple[int, int]:
    """The arguments `columns` and `period` of a nearly square `grid` of n samples.

    If there are several samples of each class, every class has the same number of columns; otherwise each
    sample has a column, or the classes are ignored.
    """
    if num_classes is not None and n > num_classes:
        return num_classes * max(round(sqrt(n) / num_classes), 1), num_classes
    columns = n if num_classes is not None and n <= MAX_NAMED else ceil(sqrt(n))
    return columns, columns


@lru_cache(maxsize=1)  # all pictures of a run show the same images, which may have to be read from files
def reference_images(data: Data, n: int, labels: tuple[int, ...] | None) -> Tensor:
    """At most n training images [n, *shape], the same in every run.

    Args:
        labels: the class of each image; None: any classes.
    """
    source = data.sources["train"]
    order = torch.randperm(len(source), generator=seeded_generator("beside"))
    if labels is not None and source.labels is not None:
        real_labels = source.labels.cpu()[order]
        # A class without training images shows image 0.
        indices = {label: cycle(order[real_labels == label].tolist() or [0]) for label in labels}
        order = torch.tensor([next(indices[label]) for label in labels])
    return next(data.samples_at("train", order[:n], "cpu", n))[0]


def describe_coverage(samples: Tensor, known: Mixture | None) -> str:
    """The number of covered modes and the fraction of high-quality samples, as defined by the metrics.

    Args:
        known: the distribution of the data; None: it has no modes, and the text is empty.
    """
    if known is None:
        return ""
    good, num_modes = high_quality_modes(samples, known), len(known.centres)
    return f"modes {len(good.unique())} of {num_modes}, high quality {len(good) / len(samples):.0%}"


def scatter(axes: Axes, samples: Tensor, data: Data) -> None:
    """Plots samples [N, D] over real points, in their first two dimensions, and the modes if they are few."""
    real, known, fake = _real_points(data), data.distribution, samples[:MAX_POINTS].float().cpu()
    axes.scatter(real[:, 0], real[:, 1], s=5, color=REAL_COLOUR, alpha=0.5, linewidths=0, label="real")
    if known is not None and len(known.centres) <= MAX_MARKED:
        x, y = known.centres[:, 0], known.centres[:, 1]
        axes.scatter(x, y, s=90, facecolors="none", edgecolors=REAL_COLOUR, linewidths=1.5, label="modes")
    axes.scatter(fake[:, 0], fake[:, 1], s=5, color=FAKE_COLOUR, alpha=0.6, linewidths=0, label="samples")
    axes.set_aspect("equal")


def histogram(axes: Axes, samples: Tensor, data: Data, low: float, high: float) -> None:
    """Plots a histogram of samples [N, 1] over the true density, or over a histogram of real points.

    Args:
        low: the left end of the axis, in units of the data.
        high: the right end.
    """
    edges, known = torch.linspace(low, high, BINS + 1, dtype=torch.float64), data.distribution
    real, fake = (
        torch.histogram(x.double().cpu().flatten(), edges).hist / len(x) / edges.diff()
        for x in (_real_points(data), samples)
    )
    if known is not None:
        real = known.log_prob(((edges[1:] + edges[:-1]) / 2)[:, None]).exp()
    axes.stairs(real, edges, fill=True, color=REAL_COLOUR, alpha=0.5, label="real")
    axes.stairs(fake, edges, color=FAKE_COLOUR, linewidth=1.5, label="samples")
    axes.set(ylim=(0, 2 * float(real.max())), xlabel="x", ylabel="density")


def _plot_points(samples: Tensor, data: Data, step: int) -> Image.Image:
    """Points [N, D] on axes that depend on the data alone, so that pictures of different steps compare."""
    real = _real_points(data)[:, :2]
    margin = 0.25 * float((real.amax(0) - real.amin(0)).max()) or 1.0  # 1 if all points are equal
    low, high = real.amin(0) - margin, real.amax(0) + margin
    figure = new_figure(4, 4.6)
    # The ends of the horizontal axis, and of the vertical one unless the data are one-dimensional.
    (left, right), *vertical = zip(low.tolist(), high.tolist(), strict=True)
    axes = figure.add_subplot(xlim=(left, right))
    if vertical:
        scatter(axes, samples, data)
        axes.set(ylim=vertical[0], xlabel="x₁", ylabel="x₂")
    else:
        histogram(axes, samples, data, left, right)
    points = samples[:, :2].float().cpu()
    outside = float(((points < low) | (points > high)).any(1).double().mean())
    title = f"{len(samples):,} samples at step {step:,}"
    if outside >= 0.005:  # a smaller fraction would be printed as 0 %
        title += f", {outside:.0%} outside"
    axes.set_title(f"{title}\n{describe_coverage(samples, data.distribution)}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return render(figure)


def _real_points(data: Data) -> Tensor:
    """At most `MAX_POINTS` training points [N, D], the same in every run."""
    return next(data.subset("train", MAX_POINTS, "cpu", MAX_POINTS))[0].float()
