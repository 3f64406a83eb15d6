"""Figure 7: samples above the training images nearest to them, which would reveal memorised images."""

import numpy as np
from PIL import Image

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count
from ganlab.theory.runs import Overrides, SteppedRun
from ganlab.theory.style import titled_figure
from ganlab.visualize.images import render
from ganlab.visualize.views import interleave_rows, nearest_images


def draw(settings: Overrides, columns: Count, rows: Count, steps: Count, seed: int) -> list[Image.Image]:
    """Rows of samples, each above a row of their nearest training images.

    The figure gives the median distance of samples to their nearest training images, and for comparison the
    median distance of test images to theirs. The samples of a generator that memorises training images have
    a smaller median distance than test images.

    Raises:
        ConfigError: the data are not images.
    """
    run = SteppedRun(settings, seed)
    if (value_range := run.data.value_range) is None:
        raise ConfigError("this figure needs images", "choose data=digits or other images", ".settings")
    game = run.game_after(steps)
    # The batch is larger than any split, so the first batch holds all images of a split.
    train, test = (next(run.data.split(name, "cpu", batch_size=10**6))[0] for name in ("train", "test"))
    samples = game.sample(columns * rows)
    nearest, _ = nearest_images(samples, [train])
    # The median is over new samples, as many as there are test images, and not over the samples shown.
    _, sample_distances = nearest_images(game.sample(len(test), seed=1), [train])
    _, test_distances = nearest_images(test, [train])
    low, high = value_range
    title = f"Samples and their nearest training images (step {steps})"
    figure = titled_figure(width=0.85 * columns + 2.0, height=1.75 * rows + 1.0, title=title)
    figure.supxlabel(
        "median distance to the nearest training image, root mean square of pixels "
        f"in [{low:g}, {high:g}]:\n{sample_distances.median():.3f} of samples, "
        f"{test_distances.median():.3f} of unseen test images",
        fontsize=9,
    )
    image = interleave_rows(samples, nearest, value_range, columns)
    axes = figure.add_subplot()
    axes.imshow(image)
    row_centres = (np.arange(2 * rows) + 0.5) * image.height / (2 * rows)
    axes.set(xticks=[], yticks=row_centres, yticklabels=["sample", "nearest"] * rows)
    return [render(figure)]
