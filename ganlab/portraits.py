"""Portraits of a game: its samples beside real ones, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ganlab.data.base import Data, delivered
from ganlab.data.facts import Range
from ganlab.data.order import Request
from ganlab.game import Game
from ganlab.metrics.modes import HighQuality, ModesCovered
from ganlab.pictures import MADE, REAL, columns_for, drawn, grid
from ganlab.randomness import generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 1000  # points, at most, of each kind
BINS = 60  # of a histogram
MANY = 50  # modes from which on they are not marked one by one


def portrait(
    game: Game,
    samples: Tensor,
    data: Data | None,
    value_range: Range,
    names: Sequence[str] = (),
    label: int | None = None,
) -> Image.Image:
    """Samples that the game made: images below a row of real ones, points among real ones.

    Args:
        data: where the real ones are from; None: images are shown alone.
        value_range: of the images; None: that of the real ones beside them.
        names: of the classes.
        label: the one class that was asked for; None: all in turn, if the generator knows classes.
    """
    if samples.ndim == 2:
        assert data is not None, "points are nothing without the axes of the data"
        return _points(samples, data, game.step)
    num_classes, real = game.generator.num_classes if label is None else None, None
    columns = columns_for(len(samples), num_classes)
    if data is not None:
        classes = game.labels(columns, label)
        real = beside(data, columns, None if classes is None else tuple(classes.tolist()))
        value_range = value_range or (float(real.min()), float(real.max()))
    known = game.generator.num_classes and (names if label is None else names[label : label + 1])
    return grid(samples, value_range, columns, num_classes, known or (), real)


@lru_cache(maxsize=1)  # a run asks for the same in every picture, and may read files for it
def beside(data: Data, n: int, classes: tuple[int, ...] | None) -> Tensor:
    """At most n training samples, the same ones in every run, of these classes [n] where they are given."""
    source = data.sources["train"]
    order = torch.randperm(len(source), generator=generator("beside"))
    if classes is not None and source.labels is not None:
        labels = source.labels.cpu()[order]
        found = {label: cycle(order[labels == label].tolist() or [0]) for label in classes}
        order = torch.tensor([next(found[label]) for label in classes])
    request = Request(order[:n], None)
    return next(delivered(source.batches(iter([request])), torch.device("cpu"), data.value_range))[0]


def covered(samples: Tensor, data: Data) -> str:
    """What the metrics say of samples of data whose distribution is known."""
    assert data.distribution is not None
    numbers: dict[str, float] = {}
    for metric in (ModesCovered(), HighQuality()):
        metric.check(data, len(samples), 0)
        metric.update(samples, real=False)
        numbers |= metric.compute()
    total = len(data.distribution.centres)
    return f"modes {numbers['modes']:.0f} of {total}, high quality {numbers['high_quality']:.0%}"


def plane(axes: Axes, samples: Tensor, data: Data) -> None:
    """Samples over real ones and, where they are known and few, the modes; [N, D], along the first two axes."""
    real, known = _real(data), data.distribution
    axes.scatter(real[:, 0], real[:, 1], s=4, color=REAL, alpha=0.5, linewidths=0, label="real samples")
    if known is not None and len(known.centres) <= MANY:
        ring = {"facecolors": "none", "edgecolors": REAL, "linewidths": 1.5}
        axes.scatter(known.centres[:, 0], known.centres[:, 1], s=90, label="modes", **ring)
    made = samples[:SHOWN].float().cpu()
    axes.scatter(made[:, 0], made[:, 1], s=5, color=MADE, alpha=0.6, linewidths=0, label="samples")
    axes.set_aspect("equal")


def _line(axes: Axes, samples: Tensor, data: Data, low: float, high: float) -> None:
    """The histogram of samples [N, 1] over the true density, or over the histogram of real ones."""
    edges = torch.linspace(low, high, BINS + 1, dtype=torch.float64)
    width = (high - low) / BINS

    def heights(x: Tensor) -> Tensor:
        return torch.histogram(x.double().cpu().flatten(), edges).hist / len(x) / width

    known = data.distribution
    middles = (edges[:-1, None] + edges[1:, None]) / 2
    real = heights(_real(data)) if known is None else known.log_prob(middles).exp()
    axes.stairs(real, edges, fill=True, color=REAL, alpha=0.5, label="real density")
    axes.stairs(heights(samples), edges, color=MADE, linewidth=1.5, label="samples")
    axes.set_ylim(0, 2 * float(real.max()))


def _points(samples: Tensor, data: Data, step: int) -> Image.Image:
    """Points [N, D] on axes that hang on the data alone, so that pictures are alike from round to round."""
    from matplotlib.figure import Figure

    real, dim = _real(data), min(samples.shape[1], 2)
    low, high = real[:, :dim].amin(0), real[:, :dim].amax(0)
    margin = 0.25 * float((high - low).max()) or 1.0
    low, high = low - margin, high + margin
    figure = Figure(figsize=(4, 4.6), dpi=100, layout="constrained")
    axes = figure.add_subplot(xlim=(low[0], high[0]), xlabel="x₁" if dim == 2 else "x")
    if dim == 2:
        plane(axes, samples, data)
        axes.set(ylim=(low[1], high[1]), ylabel="x₂")
    else:
        _line(axes, samples, data, float(low[0]), float(high[0]))
        axes.set_ylabel("density")
    here = samples[:, :dim].float().cpu()
    outside = float(((here < low) | (here > high)).any(1).double().mean())
    said = f"{len(samples):,} samples of round {step:,}" + (f", {outside:.0%} outside" if outside else "")
    told = f"\n{covered(samples, data)}" if data.distribution is not None else ""
    axes.set_title(said + told, fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return drawn(figure)


def _real(data: Data) -> Tensor:
    """Some real points [N, D], the same ones in every run."""
    return next(data.choice("train", SHOWN, "cpu", SHOWN))[0].float()
