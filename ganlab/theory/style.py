"""How the figures look: colours that a colour-blind reader can tell apart, sizes, and files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ganlab.visualize.animation import overview, save_gif
from ganlab.visualize.grid import FAKE, new_figure, save_png

# Okabe and Ito (2008).
BLACK, ORANGE, SKY, GREEN = "#000000", FAKE, "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
TRUE, MADE, VERDICT, BEST = BLUE, ORANGE, BLACK, PURPLE  # the same things have the same colours throughout


def titled_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of a size in inches."""
    figure = new_figure(width, height)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, fontsize=12)
    return figure


def tidy(axes: Axes) -> None:
    """No frame where there is no axis, and a light grid."""
    axes.margins(x=0)
    axes.spines["top"].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def add_legend(figure: Figure, axes: Sequence[Axes], columns: int) -> None:
    """What the lines of some axes are, below all of them."""
    handles, labels = [], []
    for part in axes:
        found = part.get_legend_handles_labels()
        handles += found[0]
        labels += found[1]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, markerscale=1.5)


def save_frames(frames: Sequence[Image.Image], stem: Path) -> list[Path]:
    """A single frame as PNG; several as an animated GIF, and four of them as PNG. The files written."""
    picture = stem.with_suffix(".png")
    if len(frames) == 1:
        save_png(frames[0], picture)
        return [picture]
    save_png(overview(frames), picture)
    film = stem.with_suffix(".gif")
    save_gif(frames, film)
    return [picture, film]
