"""Figure 7: samples beside the training images nearest to them: what is new, and what is remembered."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Count
from ganlab.theory.runs import Run
from ganlab.theory.style import titled_figure
from ganlab.visualize.grid import render
from ganlab.visualize.latent import interleave_rows, nearest_images


def draw(settings: Sequence[str], columns: Count, rows: Count, steps: Count, seed: int) -> list[Image.Image]:
    """Pairs of images, the sample above the training image; distances beside those of unseen images."""
    run = Run(settings, seed)
    if run.data.value_range is None:
        raise ConfigError("this figure shows images: choose data=digits or another set of images")
    game = run.play(steps)
    train, test = (next(run.data.split(name, "cpu", 10**6))[0] for name in ("train", "test"))
    samples = game.sample(columns * rows)
    images, _ = nearest_images(samples, [train])
    usual = {
        "samples": nearest_images(game.sample(len(test), seed=1), [train])[1].median(),
        "unseen test images": nearest_images(test, [train])[1].median(),
    }
    text = ", ".join(f"{value:.3f} of {name}" for name, value in usual.items())
    low, high = run.data.value_range
    figure = titled_figure(
        0.85 * columns + 2.0, 1.75 * rows + 1.0, f"Samples and their nearest training images (round {steps})"
    )
    figure.supxlabel(
        "median distance to the nearest training image, root mean square of pixels "
        f"in [{low:g}, {high:g}]:\n{text}",
        fontsize=9,
    )
    axes, picture = figure.add_subplot(), interleave_rows(samples, images, run.data.value_range, columns)
    axes.imshow(picture)
    places = (np.arange(2 * rows) + 0.5) * picture.height / (2 * rows)
    axes.set(xticks=[], yticks=places, yticklabels=["sample", "nearest"] * rows)
    return [render(figure)]
