"""Figure 3: the adversarial intuition. Who sees only which density is greater learns where they differ."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ganlab.core.validation import Count
from ganlab.data.densities import oracle_accuracy
from ganlab.theory.density import Line
from ganlab.theory.style import BLACK, MADE, SKY, TRUE, VERMILION, add_legend, tidy, titled_figure
from ganlab.visualize.grid import render


def accuracy(line: Line, made: Tensor) -> Tensor:
    """How often the oracle is right at each x against a generator of that density, [BINS]."""
    return line.where_seen(made, oracle_accuracy(line.log_true, made.log()))


def draw(settings: Sequence[str], reach: tuple[float, float], steps: Count, seed: int) -> list[Image.Image]:
    """The densities of a game that has played `steps` rounds, and how often an oracle is right."""
    line = Line(settings, seed, reach)
    x, true, made = line.x, line.true, line.made(steps)
    figure = titled_figure(
        8, 5, f"Where the densities differ, an oracle tells real from generated (round {steps})"
    )
    axes = figure.add_subplot(xlabel="x, in the units of the data", ylabel="density")
    axes.fill_between(
        x, true, made, where=made > true, color=VERMILION, alpha=0.35, label="generated too often"
    )
    axes.fill_between(x, true, made, where=made < true, color=SKY, alpha=0.45, label="generated too rarely")
    axes.plot(x, true, color=TRUE, linewidth=2, label="p, density of the data")
    axes.plot(x, made, color=MADE, linewidth=2, linestyle="--", label="q, density of the generator")
    axes.set_ylim(0, 1.15 * float(torch.maximum(true, made).max()))
    right = axes.twinx()
    right.plot(
        x, accuracy(line, made), color=BLACK, linewidth=1.5, linestyle=":", label="max(p, q) / (p + q)"
    )
    right.set(ylabel="probability that the oracle is right", ylim=(0.48, 1.075))
    tidy(axes)
    right.spines["top"].set_visible(False)
    add_legend(figure, [axes, right], 3)
    return [render(figure)]
