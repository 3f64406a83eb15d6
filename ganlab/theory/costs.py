"""Figure 5: what generators minimise, and how strongly it pulls (after Goodfellow 2016, figure 16)."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Batch, Capability, Sample, Turn, Verdict
from ganlab.networks.base import ConditionalSequential, Generator
from ganlab.networks.priors import Normal
from ganlab.objectives.base import Objective
from ganlab.theory.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, add_legend, tidy, titled_figure
from ganlab.tricks.base import Tricks
from ganlab.visualize.grid import render

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, BLACK)
STROKES = ("-", "--", "-.", ":")


def cost(objective: Objective, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The generator's cost of each fake with logits [N], and its slope in the logit, [N] each.

    Real samples, where an objective compares with them, all have the logit 0.
    """
    logits = logits.clone().requires_grad_()
    nobody = Generator(ConditionalSequential(), 1, (1,), Normal())
    real = Sample(torch.zeros(len(logits), 1))
    turn = Turn("generator", 0, Batch(real), nobody, _itself, Tricks({}), RandomStreams(0))
    (term,) = objective(turn.replace(generated=Sample(logits[:, None]))).values()
    (slope,) = torch.autograd.grad(term.sum(), logits)
    return term.detach(), slope


def _itself(x: Tensor, condition: Tensor | None) -> Verdict:
    """A discriminator whose logit is the sample."""
    return Verdict(x[:, 0], x)


def draw(objectives: Sequence[str], depth: float, seed: int) -> list[Image.Image]:
    """Costs and slopes of objectives by name against D(G(z)); the axes end at -depth and depth."""
    judged = torch.linspace(0.002, 0.998, 499)
    figure = titled_figure(9.5, 4.8, "What the generator minimises, against how real its sample seems")
    left, right = figure.subplots(1, 2)
    for i, name in enumerate(objectives):
        objective = instantiate(compose(f"objective={name}").objective)
        if Capability.DISCRIMINATOR not in objective.provides:
            raise ConfigError(f"objective {name} judges no samples one by one: leave it out of this figure")
        found = cost(objective, judged.logit())
        for axes, curve in zip((left, right), found, strict=True):
            look = {"color": COLOURS[i % len(COLOURS)], "linestyle": STROKES[i % len(STROKES)]}
            axes.plot(judged, curve, label=name.replace("_", " "), linewidth=2, **look)
    left.set_ylabel("cost of one sample")
    right.set_ylabel("slope of the cost in the logit of D")
    for axes in (left, right):
        axes.set(xlabel="D(G(z)), probability of being real", xlim=(0, 1))
        tidy(axes)
    left.set_ylim(-depth, depth)
    right.set_ylim(-depth, 0.5)
    add_legend(figure, [left], len(objectives))
    return [render(figure)]
