"""Figure 4: adversarial training on the line, beside the best discriminator there could be."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ganlab.core.validation import Count, TwoOrMore
from ganlab.data.densities import optimal_discriminator
from ganlab.game import Game
from ganlab.theory.density import Line
from ganlab.theory.runs import schedule
from ganlab.theory.style import BEST, MADE, TRUE, VERDICT, add_legend, tidy, titled_figure
from ganlab.visualize.grid import render


@torch.no_grad()
def verdict(game: Game, x: Tensor) -> Tensor:
    """D(x) of points [N] on the line, [N] in [0, 1]."""
    assert game.discriminator is not None, "a game with a discriminator"
    return game.discriminator(x.float()[:, None]).logits.sigmoid()


def best(line: Line, made: Tensor) -> Tensor:
    """D*(x) against a generator of that density, [BINS]."""
    return line.where_seen(made, optimal_discriminator(line.log_true, made.log()))


def draw(
    settings: Sequence[str], reach: tuple[float, float], steps: Count, frames: TwoOrMore, seed: int
) -> list[Image.Image]:
    """Both densities with D(x) and D*(x) = p / (p + q), round by round."""
    line = Line(settings, seed, reach)
    return [_frame(line, step, line.made(step)) for step in schedule(steps, frames)]


def _frame(line: Line, step: int, made: Tensor) -> Image.Image:
    x, true = line.x, line.true
    figure = titled_figure(7.5, 5, f"adversarial training, round {step}")
    axes = figure.add_subplot(xlabel="x, in the units of the data", ylabel="density")
    axes.fill_between(x, true, color=TRUE, alpha=0.2, linewidth=0)
    axes.plot(x, true, color=TRUE, linewidth=2, label="p, density of the data")
    axes.fill_between(x, made, color=MADE, alpha=0.2, linewidth=0)
    axes.plot(x, made, color=MADE, linewidth=2, label="q, density of the generator")
    axes.set_ylim(0, 1.6 * float(true.max()))
    right = axes.twinx()
    right.plot(x, verdict(line.run.game, x), color=VERDICT, linewidth=1.5, label="D(x)")
    right.plot(x, best(line, made), color=BEST, linewidth=1.8, linestyle="--", label="D*(x) = p / (p + q)")
    right.set(ylabel="probability of being real", ylim=(0, 1.02))
    tidy(axes)
    right.spines["top"].set_visible(False)
    add_legend(figure, [axes, right], 2)
    return render(figure)
