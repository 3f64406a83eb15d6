"""Figures 3 and 4: adversarial training on one-dimensional data."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlab.core.validation import Count, TwoOrMore
from ganlab.data.densities import optimal_discriminator, oracle_accuracy
from ganlab.game import Game
from ganlab.theory import style
from ganlab.theory.density import DensityRun, Ends
from ganlab.theory.runs import Overrides, frame_steps
from ganlab.visualize.grid import render


def draw_intuition(settings: Overrides, reach: Ends, steps: Count, seed: int) -> list[Image.Image]:
    """Figure 3: the densities after `steps` steps, and the accuracy of an oracle that knows which is greater.

    Such an oracle alone would tell a generator where its samples are too frequent, and where too rare.
    """
    run = DensityRun(settings, seed, reach)
    x, p, q = run.x, run.p, run.q(steps)
    title = f"Where the densities differ, an oracle tells real from generated (step {steps})"
    figure, left, right = _twin_axes(8, title)
    left.fill_between(x, p, q, where=q > p, color=style.VERMILION, alpha=0.35, label="generated too often")
    left.fill_between(x, p, q, where=q < p, color=style.SKY, alpha=0.45, label="generated too rarely")
    left.set_ylim(0, 1.15 * float(torch.maximum(p, q).max()))
    _plot_densities(left, run, q, "--")
    accuracy = run.compare(q, oracle_accuracy)
    right.plot(x, accuracy, color=style.BLACK, linewidth=1.5, linestyle=":", label="max(p, q) / (p + q)")
    right.set(ylabel="probability that the oracle is right", ylim=(0.48, 1.075))
    style.tidy(left)
    style.add_legend(figure, [left, right], 3)
    return [render(figure)]


def draw(settings: Overrides, reach: Ends, steps: Count, frames: TwoOrMore, seed: int) -> list[Image.Image]:
    """Figure 4: both densities, D(x) and the optimal discriminator p / (p + q), step by step."""
    run = DensityRun(settings, seed, reach)
    return [_frame(run, step) for step in frame_steps(steps, frames)]


def _frame(run: DensityRun, step: int) -> Image.Image:
    x, p, q = run.x, run.p, run.q(step)
    figure, left, right = _twin_axes(7.5, f"adversarial training, step {step}")
    left.fill_between(x, p, color=style.DATA, alpha=0.2, linewidth=0)
    left.fill_between(x, q, color=style.GENERATOR, alpha=0.2, linewidth=0)
    left.set_ylim(0, 1.6 * float(p.max()))
    _plot_densities(left, run, q, "-")
    right.plot(x, verdict(run.run.game, x), color=style.VERDICT, linewidth=1.5, label="D(x)")
    best = run.compare(q, optimal_discriminator)
    right.plot(x, best, color=style.BEST, linewidth=1.8, linestyle="--", label="D*(x) = p / (p + q)")
    right.set(ylabel="probability of being real", ylim=(0, 1.02))
    style.tidy(left)
    style.add_legend(figure, [left, right], 2)
    return render(figure)


def _twin_axes(width: float, title: str) -> tuple[Figure, Axes, Axes]:
    """A figure with axes of a density on the left, and of a probability on the right."""
    figure = style.titled_figure(width, 5, title)
    left = figure.add_subplot(xlabel="x, in the units of the data", ylabel="density")
    right = left.twinx()
    right.spines["top"].set_visible(False)
    return figure, left, right


def _plot_densities(axes: Axes, run: DensityRun, q: Tensor, linestyle: str) -> None:
    axes.plot(run.x, run.p, color=style.DATA, linewidth=2, label="p, density of the data")
    label = "q, density of the generator"
    axes.plot(run.x, q, color=style.GENERATOR, linewidth=2, linestyle=linestyle, label=label)


@torch.no_grad()
def verdict(game: Game, x: Tensor) -> Tensor:
    """D(x) at points [N] -> [N], in [0, 1]."""
    return game.networks.required_discriminator(x.float()[:, None]).logits.sigmoid()
