"""Figure 5: the costs that generators minimise, and their slopes (after Goodfellow 2016, figure 16)."""

from collections.abc import Sequence
from itertools import cycle

import torch
from PIL import Image
from torch import Tensor

from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.capability import Capability
from ganlab.core.errors import require
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.objectives.base import Objective
from ganlab.theory.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, add_legend, tidy, titled_figure
from ganlab.tricks.composition import Tricks
from ganlab.visualize.images import render

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, BLACK)
LINESTYLES = ("-", "--", "-.", ":")


def draw(objectives: Sequence[str], depth: float) -> list[Image.Image]:
    """The generator's cost of one sample, and the slope of this cost, as functions of D(G(z)).

    The slope is the derivative with respect to the logit of D.

    Args:
        depth: the vertical axes of both panels begin at -`depth`. The axis of the left panel ends at `depth`.

    Raises:
        ConfigError: an objective has no loss on logits.
    """
    probability = torch.linspace(0.002, 0.998, 499)
    figure = titled_figure(9.5, 4.8, "What the generator minimises, against how real its sample seems")
    left, right = figure.subplots(1, 2)
    for name, colour, linestyle in zip(objectives, cycle(COLOURS), cycle(LINESTYLES), strict=False):
        objective = instantiate(compose(f"objective={name}").objective)
        has_logits = Capability.LOSS_ON_LOGITS in objective.provides
        reason = "has no loss on logits, so its cost is not a function of D(G(z))"
        require(has_logits, reason, "remove this objective", ".objectives", name)
        for axes, curve in zip((left, right), generator_cost(objective, probability.logit()), strict=True):
            label = name.replace("_", " ")
            axes.plot(probability, curve, label=label, linewidth=2, color=colour, linestyle=linestyle)
    left.set(ylabel="cost of one sample", ylim=(-depth, depth))
    right.set(ylabel="slope with respect to the logit of D", ylim=(-depth, 0.5))
    for axes in (left, right):
        axes.set(xlabel="D(G(z)), probability of being real", xlim=(0, 1))
        tidy(axes)
    add_legend(figure, [left], ncols=len(objectives))
    return [render(figure)]


def generator_cost(objective: Objective, logits: Tensor) -> tuple[Tensor, Tensor]:
    """The generator's cost of each of N fakes, and its derivative with respect to the fake's logit, [N] each.

    Some objectives compare the fakes with real samples, which all have the logit 0.
    """
    logits = logits.clone().requires_grad_()
    turn = Turn(
        player="generator",
        step=0,
        batch=Batch(real=Sample(torch.zeros(len(logits), 1))),
        # A sample is its own logit. There is no generator, because `generated` is given below.
        networks={"discriminator": lambda x, _: Verdict(logits=x[:, 0], features=x)},
        tricks=Tricks({}),
        random=RandomStreams(0),
    ).replace(generated=Sample(logits[:, None]))
    (costs,) = objective(turn).values()
    (slopes,) = torch.autograd.grad(costs.sum(), logits)
    return costs.detach(), slopes
