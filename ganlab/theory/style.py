"""What all figures have in common: colours, titles, axes and legends."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ganlab.visualize.images import FAKE_COLOUR, new_figure

# The palette of Okabe and Ito (2008), which colour-blind readers can distinguish.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
# The colours of the density of the data, of the density of the generator, of D(x), and of the optimal D(x).
# The generator has the colour of fakes in all other pictures, which is the orange of the palette.
DATA, GENERATOR, DISCRIMINATOR, OPTIMUM = BLUE, FAKE_COLOUR, BLACK, PURPLE


def titled_figure(width: float, height: float, title: str) -> Figure:
    """A figure with a title and no axes; its width and height are in inches."""
    figure = new_figure(width, height)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, fontsize=12)
    return figure


def tidy(axes: Axes) -> None:
    """Removes the top border and the horizontal margins of axes, and adds a light grid."""
    axes.margins(x=0)
    axes.spines["top"].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def add_legend(figure: Figure, axes: Sequence[Axes], ncols: int) -> None:
    """Adds a legend below a figure, with the entries of the given axes in `ncols` columns."""
    handles = [handle for panel in axes for handle in panel.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=ncols, frameon=False, markerscale=1.5)
