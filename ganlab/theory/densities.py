"""Figures 2 to 4: how the density of a generator changes, by direct matching and against a discriminator.

p is the density of the data, and q is the density of the generator's samples.
"""

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory import style
from ganlab.theory.runs import AxisLimits, DensityRun, Overrides, Variants, frame_steps
from ganlab.visualize.images import render

X_LABEL = "x, in the units of the data"


def draw_matching(
    objectives: Variants,
    data: Variants,
    settings: Overrides,
    reach: AxisLimits,
    steps: Count,
    frames: TwoOrMore,
    seed: int,
) -> list[Image.Image]:
    """Figure 2: direct matching moves the density q onto the density p, without a discriminator.

    The figure has a column for each objective and a row for each data set.

    Args:
        objectives: the names of the objectives, each with the overrides of its runs.
        data: the names of the data sets, each with the overrides of its runs.
        settings: the overrides of all runs.
        reach: the part of the x axis that is shown, as its left and its right end.
    """
    runs = {}
    for source, of_source in data.items():
        for objective, of_objective in objectives.items():
            overrides = [f"data={source}", *settings, f"objective={objective}", *of_source, *of_objective]
            runs[f"{objective} on {source}"] = DensityRun(overrides, seed, reach)
    return [_matching_frame(runs, len(data), len(objectives), step) for step in frame_steps(steps, frames)]


def _matching_frame(runs: Mapping[str, DensityRun], rows: int, columns: int, step: int) -> Image.Image:
    figure = style.titled_figure(4.5 * columns, 1.1 + 2.6 * rows, f"direct matching, step {step}")
    panels = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for axes, (title, run) in zip(panels.flat, runs.items(), strict=True):
        q = run.q(step)
        axes.fill_between(run.x, run.p, color=style.DATA, alpha=0.25, linewidth=0)
        axes.plot(run.x, run.p, color=style.DATA, linewidth=1.5, label="data")
        axes.plot(run.x, q, color=style.GENERATOR, linewidth=2, label="generator")
        text = f"total variation {run.total_variation(q):.2f}"
        axes.text(0.02, 0.95, text, va="top", transform=axes.transAxes)
        axes.set_title(title, fontsize=10)
        style.tidy(axes)
        axes.set(xlabel=X_LABEL, ylabel="density", ylim=(0, 1.5 * float(run.p.max())))
        axes.label_outer()
    style.add_legend(figure, [panels[0, 0]], ncols=2)
    return render(figure)


def draw_intuition(settings: Overrides, reach: AxisLimits, steps: Count, seed: int) -> list[Image.Image]:
    """Figure 3, the intuition: p, q, and the accuracy of an oracle that tells their samples apart.

    The oracle knows both densities. Where it is accurate, generated samples are too frequent or too rare.

    Args:
        settings: the overrides of the run.
        reach: the part of the x axis that is shown, as its left and its right end.
        steps: the number of steps after which the densities are drawn.
    """
    run = DensityRun(settings, seed, reach)
    x, p, q = run.x, run.p, run.q(steps)
    title = f"Where the densities differ, an oracle tells real from generated (step {steps})"
    figure, left, right = _figure_of_densities(run, q, 8, title, linestyle="--")
    left.fill_between(x, p, q, where=q > p, color=style.VERMILION, alpha=0.35, label="generated too often")
    left.fill_between(x, p, q, where=q < p, color=style.SKY, alpha=0.45, label="generated too rarely")
    left.set_ylim(0, 1.15 * float(torch.maximum(p, q).max()))
    # The oracle guesses the source with the larger density.
    accuracy = run.log_ratio(q).abs().sigmoid()
    right.plot(x, accuracy, color=style.BLACK, linewidth=1.5, linestyle=":", label="max(p, q) / (p + q)")
    right.set(ylabel="probability that the oracle is right", ylim=(0.48, 1.075))
    style.add_legend(figure, [left, right], ncols=3)
    return [render(figure)]


def draw_adversarial(
    settings: Overrides, reach: AxisLimits, steps: Count, frames: TwoOrMore, seed: int
) -> list[Image.Image]:
    """Figure 4: p, q, the discriminator D(x) and the optimal discriminator, during training.

    Against a fixed generator, p / (p + q) is optimal (Goodfellow et al. 2014, proposition 1).
    """
    run = DensityRun(settings, seed, reach)
    return [_adversarial_frame(run, step) for step in frame_steps(steps, frames)]


def _adversarial_frame(run: DensityRun, step: int) -> Image.Image:
    x, q = run.x, run.q(step)
    title = f"adversarial training, step {step}"
    figure, left, right = _figure_of_densities(run, q, 7.5, title, linestyle="-")
    left.fill_between(x, run.p, color=style.DATA, alpha=0.2, linewidth=0)
    left.fill_between(x, q, color=style.GENERATOR, alpha=0.2, linewidth=0)
    left.set_ylim(0, 1.6 * float(run.p.max()))
    with torch.no_grad():
        verdict = run.game.networks.discriminator(x.float()[:, None])
    right.plot(x, verdict.logits.sigmoid(), color=style.DISCRIMINATOR, linewidth=1.5, label="D(x)")
    optimum = run.log_ratio(q).sigmoid()
    right.plot(x, optimum, color=style.OPTIMUM, linewidth=1.8, linestyle="--", label="D*(x) = p / (p + q)")
    right.set(ylabel="probability of being real", ylim=(0, 1.02))
    style.add_legend(figure, [left, right], ncols=2)
    return render(figure)


def _figure_of_densities(
    run: DensityRun, q: Tensor, width: float, title: str, linestyle: str
) -> tuple[Figure, Axes, Axes]:
    """A figure of p and q, with the line style of q; its axes, and axes over the same x for probabilities."""
    figure = style.titled_figure(width, 5, title)
    left = figure.add_subplot(xlabel=X_LABEL, ylabel="density")
    right = left.twinx()
    right.spines["top"].set_visible(False)
    right.margins(x=0)
    left.plot(run.x, run.p, color=style.DATA, linewidth=2, label="p, density of the data")
    label = "q, density of the generator"
    left.plot(run.x, q, color=style.GENERATOR, linewidth=2, linestyle=linestyle, label=label)
    style.tidy(left)
    return figure, left, right
