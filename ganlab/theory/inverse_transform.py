"""Figure 1: a function that maps uniform noise to normal samples, as a trained generator would."""

import torch
from PIL import Image
from torch import Tensor

from ganlab.core.randomness import RandomStreams
from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.runs import frame_steps
from ganlab.theory.style import BLACK, DATA, GENERATOR, PURPLE, add_legend, tidy, titled_figure
from ganlab.visualize.images import render

REACH = 3.5  # the x axis spans [-REACH, REACH], in standard deviations
NUM_PATHS = 30  # the paths from u to x are drawn for this many samples, the latest ones


def draw(samples: Count, frames: TwoOrMore, seed: int) -> list[Image.Image]:
    """Frames with more and more samples: u at the left of a plot of F, and x = F⁻¹(u) below this plot.

    F is the distribution function of the standard normal distribution.

    Args:
        samples: the number of samples in the last frame.
    """
    u = RandomStreams(seed, "inverse_transform").uniform("u", samples).double().clamp(1e-9, 1 - 1e-9)
    # The number of samples grows from frame to frame, like the number of steps in the other animations.
    return [_frame(u[:n]) for n in frame_steps(samples, frames) if n > 0]


def _frame(u: Tensor) -> Image.Image:
    figure = titled_figure(7.5, 6, f"inverse transform x = F⁻¹(u), number of samples: {len(u)}")
    cells = figure.add_gridspec(2, 2, width_ratios=[1, 3.2], height_ratios=[2.2, 1])
    # The axes of F, of u at the left of F, and of x below F.
    curve = figure.add_subplot(cells[0, 1])
    noise = figure.add_subplot(cells[0, 0], sharey=curve)
    generated = figure.add_subplot(cells[1, 1], sharex=curve)
    x = torch.special.ndtri(u)  # F⁻¹(u), the quantiles of the standard normal distribution
    for start, end in zip(u[-NUM_PATHS:].tolist(), x[-NUM_PATHS:].tolist(), strict=True):
        # The path leads from the left axis to the curve of F, and down to the x axis.
        curve.plot([-REACH, end, end], [start, start, 0], color=PURPLE, linewidth=0.6, alpha=0.5)
    grid = torch.linspace(-REACH, REACH, 200)
    curve.plot(grid, torch.special.ndtr(grid), color=BLACK, linewidth=2, label="F, normal CDF")
    curve.set(xlim=(-REACH, REACH), ylabel="F(x), probability of less than x")
    noise.hist(
        u, bins=20, range=(0, 1), density=True, orientation="horizontal",
        color=PURPLE, alpha=0.6, label="uniform noise u",
    )  # fmt: skip
    noise.axvline(1, color=DATA, linewidth=2)
    noise.set(xlabel="density of u", ylabel="u, uniform in [0, 1]", xlim=(2, 0), ylim=(0, 1))
    generated.hist(
        x, bins=42, range=(-REACH, REACH), density=True,
        color=GENERATOR, alpha=0.7, label="transformed x",
    )  # fmt: skip
    exact = torch.exp(-grid.square() / 2) / (2 * torch.pi) ** 0.5
    generated.plot(grid, exact, color=DATA, linewidth=2, label="exact densities")
    generated.set(xlabel="x, in standard deviations", ylabel="density of x", ylim=(0, 0.6))
    for axes in (curve, noise, generated):
        tidy(axes)
    add_legend(figure, [noise, generated, curve], ncols=4)
    return render(figure)
