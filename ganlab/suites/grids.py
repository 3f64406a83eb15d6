"""Sample grids of a suite's arms, side by side."""

from math import ceil

from PIL import Image

from ganlab.suites.suite import Suite
from ganlab.theory.style import titled_figure
from ganlab.visualize.images import render

COLUMNS = 4
SIDE = 2.6  # inches of a grid


def grids(suite: Suite) -> Image.Image | None:
    """The grids that lie in the suite's samples/, each below its arm's name; None where there are none."""
    places = {arm: suite.folder / "samples" / f"{arm}.png" for arm in suite.arms}
    files = {arm: path for arm, path in places.items() if path.is_file()}
    if not files:
        return None
    columns = min(len(files), COLUMNS)
    rows = ceil(len(files) / columns)
    figure = titled_figure(SIDE * columns, (SIDE + 0.3) * rows + 0.3, f"{suite.name}: samples")
    for place, (arm, path) in enumerate(files.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        with Image.open(path) as image:
            axes.imshow(image.convert("RGB"), interpolation="antialiased")
        axes.set_title(arm, fontsize=10)
        axes.set_axis_off()
    return render(figure)
