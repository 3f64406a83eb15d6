"""Portraits of a game: its samples beside real ones, in one picture."""

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
from ganlab.metrics.modes import high_quality
from ganlab.visualize.grid import FAKE, REAL, Names, grid, new_figure, render, stack_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 20  # classes, at most, whose names are shown
SHOWN = 1000  # points, at most, of each kind
BINS = 60  # of a histogram
MANY = 50  # modes from which on they are not marked one by one


def portrait(
    game: Game,
    samples: Tensor,
    data: Data | None,
    value_range: ValueRange,
    names: Names,
    label: int | None = None,
) -> Image.Image:
    """Samples that the game made: images below a row of real ones, points among real ones.

    Args:
        data: where the real ones are from; None: images are shown alone.
        value_range: of the images; None: that of the real ones beside them.
        names: of the classes; empty: they have none.
        label: the one class that was asked for; None: all in turn, if the generator knows classes.
    """
    if samples.ndim == 2 and data is not None:
        return _points(samples, data, game.step)
    turns = game.generator.num_classes if label is None else None
    columns, turn = layout(len(samples), turns)
    titles = names[: turn if 0 < (turns or 0) <= NAMED else 0] if label is None else names[label : label + 1]
    named = [titles] if titles else []
    if data is None:
        return stack_rows([*named, grid(samples, value_range, columns, turn)])
    classes = game.labels(columns, label)
    real = reference_images(data, columns, None if classes is None else tuple(classes.tolist()))
    reach = value_range or (float(real.min()), float(real.max()))
    above, below = (grid(x, reach, columns, turn) for x in (real, samples))
    return stack_rows([["real"], *named, above, ["samples"], below])


def layout(n: int, num_classes: int | None) -> tuple[int, int]:
    """The columns for n samples, and of how many kinds in turn they are for a grid: classes, or none."""
    if num_classes is not None and n > num_classes:
        return num_classes * max(round(sqrt(n) / num_classes), 1), num_classes
    columns = n if num_classes is not None and n <= NAMED else ceil(sqrt(n))
    return columns, columns


@lru_cache(maxsize=1)  # a run asks for the same in every picture, and may read files for it
def reference_images(data: Data, n: int, classes: tuple[int, ...] | None) -> Tensor:
    """At most n training samples, the same ones in every run, of these classes [n] where they are given."""
    source = data.sources["train"]
    order = torch.randperm(len(source), generator=seeded_generator("beside"))
    if classes is not None and source.labels is not None:
        labels = source.labels.cpu()[order]
        found = {label: cycle(order[labels == label].tolist() or [0]) for label in classes}
        order = torch.tensor([next(found[label]) for label in classes])
    return next(data.samples_at("train", order[:n], "cpu", n))[0]


def describe_coverage(samples: Tensor, known: Mixture | None) -> str:
    """What the metrics say of samples; nothing where the distribution is not known."""
    if known is None:
        return ""
    good, num_modes = high_quality(samples, known), len(known.centres)
    return f"modes {len(good.unique())} of {num_modes}, high quality {len(good) / len(samples):.0%}"


def scatter(axes: Axes, samples: Tensor, data: Data) -> None:
    """Samples [N, D], along the first two axes, over real ones and the modes, where they are few."""
    real, known, made = _real(data), data.distribution, samples[:SHOWN].float().cpu()
    axes.scatter(real[:, 0], real[:, 1], s=5, color=REAL, alpha=0.5, linewidths=0, label="real")
    if known is not None and len(known.centres) <= MANY:
        x, y = known.centres[:, 0], known.centres[:, 1]
        axes.scatter(x, y, s=90, facecolors="none", edgecolors=REAL, linewidths=1.5, label="modes")
    axes.scatter(made[:, 0], made[:, 1], s=5, color=FAKE, alpha=0.6, linewidths=0, label="samples")
    axes.set_aspect("equal")


def histogram(axes: Axes, samples: Tensor, data: Data, low: float, high: float) -> None:
    """The histogram of samples [N, 1] over the true density, or the histogram of real ones."""
    edges, known = torch.linspace(low, high, BINS + 1, dtype=torch.float64), data.distribution
    real, made = (
        torch.histogram(x.double().cpu().flatten(), edges).hist / len(x) / edges.diff()
        for x in (_real(data), samples)
    )
    if known is not None:
        real = known.log_prob(((edges[1:] + edges[:-1]) / 2)[:, None]).exp()
    axes.stairs(real, edges, fill=True, color=REAL, alpha=0.5, label="real")
    axes.stairs(made, edges, color=FAKE, linewidth=1.5, label="samples")
    axes.set(ylim=(0, 2 * float(real.max())), xlabel="x", ylabel="density")


def _points(samples: Tensor, data: Data, step: int) -> Image.Image:
    """Points [N, D] on axes that depend on the data alone, so that the pictures of all rounds compare."""
    real = _real(data)[:, :2]
    margin = 0.25 * float((real.amax(0) - real.amin(0)).max()) or 1.0
    low, high = real.amin(0) - margin, real.amax(0) + margin
    figure = new_figure(4, 4.6)
    (left, right), *upright = zip(low.tolist(), high.tolist(), strict=True)
    axes = figure.add_subplot(xlim=(left, right))
    if upright:
        scatter(axes, samples, data)
        axes.set(ylim=upright[0], xlabel="x₁", ylabel="x₂")
    else:
        histogram(axes, samples, data, left, right)
    here = samples[:, :2].float().cpu()
    outside = float(((here < low) | (here > high)).any(1).double().mean())
    title = f"{len(samples):,} samples of round {step:,}" + f", {outside:.0%} outside" * (outside >= 0.005)
    axes.set_title(f"{title}\n{describe_coverage(samples, data.distribution)}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return render(figure)


def _real(data: Data) -> Tensor:
    """Some real points [N, D], the same ones in every run."""
    return next(data.subset("train", SHOWN, "cpu", SHOWN))[0].float()
