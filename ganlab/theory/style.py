"""The style of all figures: colours, axes and legends, and their files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ganlab.visualize.animation import overview, save_gif
from ganlab.visualize.grid import FAKE_COLOUR, new_figure, save_png

# The palette of Okabe and Ito (2008), which colour-blind readers can distinguish.
BLACK, ORANGE, SKY, GREEN = "#000000", FAKE_COLOUR, "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
# The colours of the density p of the data, of the density q of the generator, of D(x), and of its optimum.
DATA, GENERATOR, VERDICT, BEST = BLUE, ORANGE, BLACK, PURPLE


def titled_figure(width: float, height: float, title: str) -> Figure:
    """A figure of a size in inches, empty except for its title."""
    figure = new_figure(width, height)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, fontsize=12)
    return figure


def tidy(axes: Axes) -> None:
    """Removes the top border and the horizontal margins, and adds a light grid."""
    axes.margins(x=0)
    axes.spines["top"].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def add_legend(figure: Figure, axes: Sequence[Axes], ncols: int) -> None:
    """Adds one legend for several axes below a figure, with `ncols` columns."""
    handles = [handle for part in axes for handle in part.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, frameon=False, markerscale=1.5)


def save_frames(frames: Sequence[Image.Image], stem: Path) -> list[Path]:
    """Writes a single frame as PNG, or an animated GIF and four of its frames as PNG; returns the files."""
    png, gif = stem.with_suffix(".png"), stem.with_suffix(".gif")
    if len(frames) == 1:
        save_png(frames[0], png)
        return [png]
    save_png(overview(frames), png)
    save_gif(frames, gif)
    return [png, gif]
