"""Portraits of a game: its samples with real samples in one image."""

from __future__ import annotations

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
from ganlab.visualize.grid import FAKE, REAL, Names, grid, new_figure, render, stack_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NAMED = 20  # classes whose names are shown
MAX_POINTS = 1000  # of each kind
BINS = 60  # of a histogram
MAX_MARKED = 50  # modes that are marked


def portrait(
    game: Game,
    samples: Tensor,
    data: Data | None,
    value_range: ValueRange,
    names: Names,
    label: int | None = None,
) -> Image.Image:
    """Samples of a game: images below a row of real images, points over real points.

    Args:
        data: source of the real samples; None: images are shown without real ones.
        value_range: of the images; None: that of the real images.
        names: of the classes; empty if they have none.
        label: the class of all samples; None: the classes in turn, if the generator is conditional.
    """
    if samples.ndim == 2 and data is not None:
        return _plot_points(samples, data, game.step)
    num_classes = game.generator.num_classes if label is None else None
    columns, period = layout(len(samples), num_classes)
    last = period if 0 < (num_classes or 0) <= MAX_NAMED else 0
    titles = names[:last] if label is None else names[label : label + 1]
    if data is None:
        return stack_rows([titles, grid(samples, value_range, columns, period)])
    labels = game.labels(columns, label)
    real = reference_images(data, columns, None if labels is None else tuple(labels.tolist()))
    span = value_range or (float(real.min()), float(real.max()))
    above, below = (grid(x, span, columns, period) for x in (real, samples))
    return stack_rows([["real"], titles, above, ["samples"], below])


def layout(n: int, num_classes: int | None) -> tuple[int, int]:
    """The columns of a `grid` of n samples, and its period: the number of classes, or else the columns."""
    if num_classes is not None and n > num_classes:
        return num_classes * max(round(sqrt(n) / num_classes), 1), num_classes
    columns = n if num_classes is not None and n <= MAX_NAMED else ceil(sqrt(n))
    return columns, columns


@lru_cache(maxsize=1)  # every image of a run shows the same ones, which may have to be read from files
def reference_images(data: Data, n: int, labels: tuple[int, ...] | None) -> Tensor:
    """At most n training images [n, *shape], the same in every run; image i has class labels[i], if given."""
    source = data.sources["train"]
    order = torch.randperm(len(source), generator=seeded_generator("beside"))
    if labels is not None and source.labels is not None:
        real_labels = source.labels.cpu()[order]
        found = {label: cycle(order[real_labels == label].tolist() or [0]) for label in labels}
        order = torch.tensor([next(found[label]) for label in labels])
    return next(data.samples_at("train", order[:n], "cpu", n))[0]


def describe_coverage(samples: Tensor, known: Mixture | None) -> str:
    """The covered modes and the share of high quality, as the metrics define them; empty without modes."""
    if known is None:
        return ""
    good, num_modes = high_quality_modes(samples, known), len(known.centres)
    return f"modes {len(good.unique())} of {num_modes}, high quality {len(good) / len(samples):.0%}"


def scatter(axes: Axes, samples: Tensor, data: Data) -> None:
    """Plots samples [N, D] along the first two dimensions over real points, and the modes if they are few."""
    real, known, fake = _real_points(data), data.distribution, samples[:MAX_POINTS].float().cpu()
    axes.scatter(real[:, 0], real[:, 1], s=5, color=REAL, alpha=0.5, linewidths=0, label="real")
    if known is not None and len(known.centres) <= MAX_MARKED:
        x, y = known.centres[:, 0], known.centres[:, 1]
        axes.scatter(x, y, s=90, facecolors="none", edgecolors=REAL, linewidths=1.5, label="modes")
    axes.scatter(fake[:, 0], fake[:, 1], s=5, color=FAKE, alpha=0.6, linewidths=0, label="samples")
    axes.set_aspect("equal")


def histogram(axes: Axes, samples: Tensor, data: Data, low: float, high: float) -> None:
    """Plots a histogram of samples [N, 1] over the true density, or over a histogram of real points."""
    edges, known = torch.linspace(low, high, BINS + 1, dtype=torch.float64), data.distribution
    real, fake = (
        torch.histogram(x.double().cpu().flatten(), edges).hist / len(x) / edges.diff()
        for x in (_real_points(data), samples)
    )
    if known is not None:
        real = known.log_prob(((edges[1:] + edges[:-1]) / 2)[:, None]).exp()
    axes.stairs(real, edges, fill=True, color=REAL, alpha=0.5, label="real")
    axes.stairs(fake, edges, color=FAKE, linewidth=1.5, label="samples")
    axes.set(ylim=(0, 2 * float(real.max())), xlabel="x", ylabel="density")


def _plot_points(samples: Tensor, data: Data, step: int) -> Image.Image:
    """Points [N, D] on axes that depend on the data alone, so that images of different steps compare."""
    real = _real_points(data)[:, :2]
    margin = 0.25 * float((real.amax(0) - real.amin(0)).max()) or 1.0
    low, high = real.amin(0) - margin, real.amax(0) + margin
    figure = new_figure(4, 4.6)
    (left, right), *vertical = zip(low.tolist(), high.tolist(), strict=True)
    axes = figure.add_subplot(xlim=(left, right))
    if vertical:
        scatter(axes, samples, data)
        axes.set(ylim=vertical[0], xlabel="x₁", ylabel="x₂")
    else:
        histogram(axes, samples, data, left, right)
    points = samples[:, :2].float().cpu()
    outside = float(((points < low) | (points > high)).any(1).double().mean())
    title = f"{len(samples):,} samples at step {step:,}" + f", {outside:.0%} outside" * (outside >= 0.005)
    axes.set_title(f"{title}\n{describe_coverage(samples, data.distribution)}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return render(figure)


def _real_points(data: Data) -> Tensor:
    """At most `MAX_POINTS` training points [N, D], the same in every run."""
    return next(data.subset("train", MAX_POINTS, "cpu", MAX_POINTS))[0].float()
