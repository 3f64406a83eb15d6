"""Pictures of a game's samples, together with real samples."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import cycle
from math import ceil, sqrt

import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor

from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import ValueRange
from ganlab.data.base import Data
from ganlab.data.densities import Mixture
from ganlab.game import Conditions, Game
from ganlab.metrics.synthetic import modes_of_high_quality_samples
from ganlab.visualize.images import FAKE_COLOUR, REAL_COLOUR, grid, new_figure, render, stack_rows

MAX_NAMED = 20  # the largest number of classes whose names are shown
MAX_POINTS = 1000  # the largest number of real points that are drawn, and of generated points
BINS = 60  # the number of bins of a histogram
MAX_MARKED = 50  # the largest number of modes that are marked


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

    Each vector has a column of samples, below the real image that answers it if this is known.

    Args:
        samples: images [N, C, H, W], told the `conditions_of_picture`, or points [N, D].
        data: the source of the real samples; None: images are shown without real images.
        value_range: the range of the images; None: from the smallest to the largest value of the real images.
        names: the names of the classes; empty if the classes have no names.
        label: the class of all samples; None: the classes in turn, if the generator is conditional.
    """
    if samples.ndim == 2 and data is not None:
        return plot_points(samples, data, game.run_step)
    told, source = game.generator.condition, game.conditions
    if told is not None and told.kind == "image":
        return translation_picture(game, samples, value_range)
    num_classes = game.generator.num_classes if label is None else None  # None: nothing is sorted by class
    columns, grid_classes = grid_layout(len(samples), num_classes)
    if label is not None:
        titles = names[label : label + 1]  # one title; empty if the classes have no names
    else:
        # One title for each class, or for each sample if there are fewer samples than classes.
        titles = names[: len(samples)] if num_classes is not None and num_classes <= MAX_NAMED else ()
    if told is not None and told.kind == "vector" and source is not None and source.answers is not None:
        real = source.answers(columns)
    elif data is None:
        return stack_rows([titles, grid(samples, value_range, columns=columns, num_classes=grid_classes)])
    else:
        labels = game.asked(columns, label) if game.generator.num_classes else None
        real = reference_images(data, columns, None if labels is None else tuple(labels.tolist()))
    span = value_range or (float(real.min()), float(real.max()))
    above, below = (grid(x, span, columns=columns, num_classes=grid_classes) for x in (real, samples))
    return stack_rows([["real"], titles, above, ["samples"], below])


def conditions_of_picture(game: Game, n: int, label: int | None = None) -> Conditions:
    """What n samples of a picture are told: a class, or vectors in turn, one for each column."""
    told, (columns, _) = game.generator.condition, grid_layout(n, None)
    is_vector = told is not None and told.kind == "vector" and len(game.shape) > 1
    return game.conditions(columns) if is_vector and game.conditions is not None else label


def translation_picture(game: Game, samples: Tensor, value_range: ValueRange) -> Image.Image:
    """For each of the samples [N, C, H, W], the image that was translated, and the real answer if known."""
    inputs, source = game.asked(len(samples)), game.conditions
    assert inputs is not None
    assert source is not None
    parts = [visible(inputs), visible(samples)]
    if source.answers is not None:
        parts.append(visible(source.answers(len(samples))))
    columns = max(round(sqrt(len(samples) / len(parts))), 1)
    channels = max(part.shape[1] for part in parts)  # beside a colour image, a grey one gets three channels
    strips = torch.cat([part.cpu().float().expand(-1, channels, -1, -1) for part in parts], dim=3)
    titles = ["input", "sample", "target"][: len(parts)] * columns
    return stack_rows([titles, grid(strips, value_range, columns=columns, num_classes=0)])


def visible(images: Tensor) -> Tensor:
    """The first three channels of images, or the first one if there are two."""
    return images[:, : 3 if images.shape[1] >= 3 else 1]


def grid_layout(n: int, num_classes: int | None) -> tuple[int, int]:
    """The arguments `columns` and `num_classes` of a nearly square `grid` of n samples.

    The samples have the classes in turn; None: they have none, or one. If there are more samples than
    classes, each class has the same number of columns. Otherwise no class has two samples; a few samples are
    arranged in one row, so that each can have the name of its class above it.
    """
    if num_classes is not None and n > num_classes:
        columns_per_class = max(round(sqrt(n) / num_classes), 1)
        return num_classes * columns_per_class, num_classes
    columns = n if num_classes is not None and n <= MAX_NAMED else ceil(sqrt(n))
    return columns, 0  # the samples keep their order


@lru_cache(maxsize=1)  # all pictures of a run show the same images, which may have to be read from files
def reference_images(data: Data, n: int, labels: tuple[int, ...] | None) -> Tensor:
    """At most n training images [n, *shape], the same in every run, of these classes if any are given."""
    source = data.sources["train"]
    # The key is an arbitrary word. A different key would draw different images.
    order = torch.randperm(len(source), generator=seeded_generator("beside"))
    if labels is not None and source.labels is not None:
        real_labels = source.labels.cpu()[order]
        # For a class without training images, image 0 is shown.
        indices = {label: cycle(order[real_labels == label].tolist() or [0]) for label in labels}
        order = torch.tensor([next(indices[label]) for label in labels])
    images, _ = next(data.samples_at("train", order[:n], "cpu", batch_size=n))
    return images


def describe_coverage(samples: Tensor, distribution: Mixture | None) -> str:
    """The number of covered modes and the share of high-quality samples; empty without a distribution."""
    if distribution is None:
        return ""
    modes = modes_of_high_quality_samples(samples, distribution)  # the mode of each high-quality sample
    covered = f"modes {len(modes.unique())} of {len(distribution.centres)}"
    return f"{covered}, high quality {len(modes) / len(samples):.0%}"


def scatter(axes: Axes, samples: Tensor, data: Data) -> None:
    """Plots samples [N, D] over real points, in their first two dimensions, and the modes if they are few."""
    real, fake, distribution = real_points(data), samples[:MAX_POINTS].float().cpu(), data.distribution
    axes.scatter(real[:, 0], real[:, 1], s=5, color=REAL_COLOUR, alpha=0.5, linewidths=0, label="real")
    if distribution is not None and len(distribution.centres) <= MAX_MARKED:
        x, y = distribution.centres[:, 0], distribution.centres[:, 1]
        axes.scatter(x, y, s=90, facecolors="none", edgecolors=REAL_COLOUR, linewidths=1.5, label="modes")
    axes.scatter(fake[:, 0], fake[:, 1], s=5, color=FAKE_COLOUR, alpha=0.6, linewidths=0, label="samples")
    axes.set_aspect("equal")


def histogram(axes: Axes, samples: Tensor, data: Data, low: float, high: float) -> None:
    """Plots a histogram of samples [N, 1] from `low` to `high` over the true density, or over real points."""
    edges = torch.linspace(low, high, BINS + 1, dtype=torch.float64)
    real, fake = (
        torch.histogram(x.double().cpu().flatten(), edges).hist / len(x) / edges.diff()
        for x in (real_points(data), samples)
    )
    if data.distribution is not None:  # the true density is known
        real = data.distribution.log_prob(((edges[1:] + edges[:-1]) / 2)[:, None]).exp()
    axes.stairs(real, edges, fill=True, color=REAL_COLOUR, alpha=0.5, label="real")
    axes.stairs(fake, edges, color=FAKE_COLOUR, linewidth=1.5, label="samples")
    axes.set(ylim=(0, 2 * float(real.max())), xlabel="x", ylabel="density")


def plot_points(samples: Tensor, data: Data, step: int) -> Image.Image:
    """Points [N, D] on axes that depend on the data alone, so that pictures of all steps can be compared."""
    real = real_points(data)[:, :2]
    margin = 0.25 * float((real.amax(0) - real.amin(0)).max()) or 1.0  # 1 if all points are equal
    low, high = real.amin(0) - margin, real.amax(0) + margin
    figure = new_figure(4, 4.6)
    axes = figure.add_subplot(xlim=(float(low[0]), float(high[0])))
    if len(low) == 2:
        scatter(axes, samples, data)
        axes.set(ylim=(float(low[1]), float(high[1])), xlabel="x₁", ylabel="x₂")
    else:
        histogram(axes, samples, data, float(low[0]), float(high[0]))
    points = samples[:, :2].float().cpu()
    outside = float(((points < low) | (points > high)).any(1).double().mean())
    title = f"{len(samples):,} samples at step {step:,}"
    if outside >= 0.005:  # a smaller fraction would be printed as 0 %
        title += f", {outside:.0%} outside"
    axes.set_title(f"{title}\n{describe_coverage(samples, data.distribution)}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return render(figure)


def real_points(data: Data) -> Tensor:
    """At most `MAX_POINTS` training points [N, D], the same in every run."""
    points, _ = next(data.subset("train", MAX_POINTS, "cpu", batch_size=MAX_POINTS))
    return points.float()
