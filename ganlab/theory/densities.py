"""Figures 2 to 4: the training of densities, by direct matching and against a discriminator."""

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlab.core.validation import Count, TwoOrMore
from ganlab.data.densities import optimal_discriminator, oracle_accuracy
from ganlab.theory import style
from ganlab.theory.runs import DensityRun, Ends, Overrides, Variants, frame_steps
from ganlab.visualize.grid import render

X_LABEL = "x, in the units of the data"


def draw_matching(
    objectives: Variants,
    data: Variants,
    settings: Overrides,
    reach: Ends,
    steps: Count,
    frames: TwoOrMore,
    seed: int,
) -> list[Image.Image]:
    """Figure 2: direct matching moves the generated density onto the true one, without a discriminator.

    Args:
        objectives: names of objectives, a column each, with overrides that follow `settings`.
        data: names of data sets, a row each, with overrides that follow `settings`.
        reach: the ends of the x axis.
    """
    runs = {}
    for source, for_source in data.items():
        for objective, for_objective in objectives.items():
            choices = [f"data={source}", *settings, f"objective={objective}", *for_source, *for_objective]
            runs[f"{objective} on {source}"] = DensityRun(choices, seed, reach)
    shape = len(data), len(objectives)
    return [_matching_frame(runs, shape, step) for step in frame_steps(steps, frames)]


def _matching_frame(runs: Mapping[str, DensityRun], shape: tuple[int, int], step: int) -> Image.Image:
    rows, columns = shape
    figure = style.titled_figure(4.5 * columns, 1.1 + 2.6 * rows, f"direct matching, step {step}")
    panels = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for axes, (title, run) in zip(panels.flat, runs.items(), strict=True):
        q = run.q(step)
        axes.fill_between(run.x, run.p, color=style.DATA, alpha=0.25, linewidth=0)
        axes.plot(run.x, run.p, color=style.DATA, linewidth=1.5, label="data")
        axes.plot(run.x, q, color=style.GENERATOR, linewidth=2, label="generator")
        axes.set_ylim(0, 1.5 * float(run.p.max()))
        note = f"total variation {run.total_variation(q):.2f}"
        axes.text(0.02, 0.95, note, va="top", transform=axes.transAxes)
        axes.set_title(title, fontsize=10)
        style.tidy(axes)
        axes.set(xlabel=X_LABEL, ylabel="density")
        axes.label_outer()
    style.add_legend(figure, [panels[0, 0]], 2)
    return render(figure)


def draw_intuition(settings: Overrides, reach: Ends, steps: Count, seed: int) -> list[Image.Image]:
    """Figure 3: the densities after `steps` steps, and the accuracy of an oracle that compares them.

    From the oracle alone, a generator could learn where its samples are too frequent, and where too rare.
    """
    run = DensityRun(settings, seed, reach)
    x, p, q = run.x, run.p, run.q(steps)
    title = f"Where the densities differ, an oracle tells real from generated (step {steps})"
    figure, left, right = _density_and_probability_axes(8, title)
    left.fill_between(x, p, q, where=q > p, color=style.VERMILION, alpha=0.35, label="generated too often")
    left.fill_between(x, p, q, where=q < p, color=style.SKY, alpha=0.45, label="generated too rarely")
    left.set_ylim(0, 1.15 * float(torch.maximum(p, q).max()))
    _plot_densities(left, run, q, linestyle="--")
    accuracy = run.apply_to_densities(oracle_accuracy, q)
    right.plot(x, accuracy, color=style.BLACK, linewidth=1.5, linestyle=":", label="max(p, q) / (p + q)")
    right.set(ylabel="probability that the oracle is right", ylim=(0.48, 1.075))
    style.tidy(left)
    style.add_legend(figure, [left, right], 3)
    return [render(figure)]


def draw_adversarial(
    settings: Overrides, reach: Ends, steps: Count, frames: TwoOrMore, seed: int
) -> list[Image.Image]:
    """Figure 4: the densities p and q, D(x), and the optimal discriminator p / (p + q), step by step."""
    run = DensityRun(settings, seed, reach)
    return [_adversarial_frame(run, step) for step in frame_steps(steps, frames)]


def _adversarial_frame(run: DensityRun, step: int) -> Image.Image:
    x, q = run.x, run.q(step)
    figure, left, right = _density_and_probability_axes(7.5, f"adversarial training, step {step}")
    left.fill_between(x, run.p, color=style.DATA, alpha=0.2, linewidth=0)
    left.fill_between(x, q, color=style.GENERATOR, alpha=0.2, linewidth=0)
    left.set_ylim(0, 1.6 * float(run.p.max()))
    _plot_densities(left, run, q, linestyle="-")
    discriminator = run.stepped.game.networks.required_discriminator
    with torch.no_grad():
        probability = discriminator(x.float()[:, None]).logits.sigmoid()
    right.plot(x, probability, color=style.VERDICT, linewidth=1.5, label="D(x)")
    optimum = run.apply_to_densities(optimal_discriminator, q)
    right.plot(x, optimum, color=style.BEST, linewidth=1.8, linestyle="--", label="D*(x) = p / (p + q)")
    right.set(ylabel="probability of being real", ylim=(0, 1.02))
    style.tidy(left)
    style.add_legend(figure, [left, right], 2)
    return render(figure)


def _density_and_probability_axes(width: float, title: str) -> tuple[Figure, Axes, Axes]:
    """A figure with two axes over the same x: densities are read on the left, probabilities on the right."""
    figure = style.titled_figure(width, 5, title)
    left = figure.add_subplot(xlabel=X_LABEL, ylabel="density")
    right = left.twinx()
    right.spines["top"].set_visible(False)
    return figure, left, right


def _plot_densities(axes: Axes, run: DensityRun, q: Tensor, linestyle: str) -> None:
    axes.plot(run.x, run.p, color=style.DATA, linewidth=2, label="p, density of the data")
    label = "q, density of the generator"
    axes.plot(run.x, q, color=style.GENERATOR, linewidth=2, linestyle=linestyle, label=label)
