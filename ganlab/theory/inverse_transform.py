"""Figure 1: a function turns uniform noise into a Gaussian. A generator is such a function, but learned."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlab.core.randomness import RandomStreams
from ganlab.core.validation import Count, TwoOrMore
from ganlab.theory.runs import schedule
from ganlab.theory.style import BLACK, MADE, PURPLE, TRUE, tidy, titled_figure
from ganlab.visualize.grid import render

REACH = 3.5  # of the axis, in deviations


def transform(u: Tensor) -> Tensor:
    """The standard normal quantile of uniform numbers in (0, 1)."""
    return torch.special.ndtri(u)


def draw(samples: Count, frames: TwoOrMore, seed: int) -> list[Image.Image]:
    """More and more samples, from u on the left by way of the distribution function to x below."""
    u = RandomStreams(seed, "inverse_transform").uniform("u", samples).double().clamp(1e-9, 1 - 1e-9)
    return [_frame(u[:n]) for n in schedule(samples, frames) if n > 0]


def _frame(u: Tensor) -> Image.Image:
    figure = titled_figure(7.5, 6, f"inverse transform x = F⁻¹(u), number of samples: {len(u)}")
    places = figure.add_gridspec(2, 2, width_ratios=[1, 3.2], height_ratios=[2.2, 1])
    curve = figure.add_subplot(places[0, 1])
    noise = figure.add_subplot(places[0, 0], sharey=curve)
    made = figure.add_subplot(places[1, 1], sharex=curve)
    _curve(curve, u[-30:])
    noise.hist(u, bins=20, range=(0, 1), density=True, orientation="horizontal", color=PURPLE, alpha=0.6)
    noise.axvline(1, color=TRUE, linewidth=2)
    noise.set(xlabel="density of u", ylabel="u, uniform in [0, 1]", xlim=(2, 0), ylim=(0, 1))
    made.hist(transform(u), bins=42, range=(-REACH, REACH), density=True, color=MADE, alpha=0.7)
    x = torch.linspace(-REACH, REACH, 200)
    made.plot(x, torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5, color=TRUE, linewidth=2)
    made.set(xlabel="x, in standard deviations", ylabel="density of x", ylim=(0, 0.6))
    for axes in (curve, noise, made):
        tidy(axes)
    _legend(figure, places[1, 0])
    return render(figure)


def _curve(axes: Axes, latest: Tensor) -> None:
    """The distribution function, and the ways of the latest numbers: across to it, then down."""
    x = torch.linspace(-REACH, REACH, 200)
    for u in latest.tolist():
        end = float(transform(torch.tensor(u)))
        axes.plot([-REACH, end, end], [u, u, 0], color=PURPLE, linewidth=0.6, alpha=0.5)
    axes.plot(x, torch.special.ndtr(x), color=BLACK, linewidth=2)
    axes.set(xlim=(-REACH, REACH), ylabel="F(x), probability of less than x")


def _legend(figure: Figure, place: object) -> None:
    """In the empty corner."""
    axes = figure.add_subplot(place)  # type: ignore[call-overload]
    axes.axis("off")
    entries = {
        "uniform noise u": (PURPLE, 5),
        "transformed x": (MADE, 5),
        "exact densities": (TRUE, 2),
        "F, of a Gaussian": (BLACK, 2),
    }
    for label, (colour, width) in entries.items():
        axes.plot([], [], color=colour, linewidth=width, label=label)
    axes.legend(loc="center", frameon=False, fontsize=9)
