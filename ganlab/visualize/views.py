"""Views of a trained game: pictures, animations and single samples.

A function `..._view` draws a view of a game from its options and the scene, whose data are None unless the
view shows them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganlab.config.views import Scene, ViewOptions, slug
from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import ValueRange
from ganlab.data.base import Data
from ganlab.data.image import Unreadable, open_image
from ganlab.game import Game
from ganlab.metrics.features import to_unit_range
from ganlab.networks.priors import is_round
from ganlab.visualize.images import grid, save_gif, save_png, to_images
from ganlab.visualize.sample_picture import conditions_of_picture, sample_picture

Embedding = Callable[[Tensor], Tensor]  # images [N, C, H, W] -> float64 vectors [N, F], to measure distances
EXTRACT_BATCH = 100  # the number of images whose features are extracted at once


class View(NamedTuple):
    """One picture, the frames of an animation, or single samples, with a one-line caption."""

    caption: str
    images: Sequence[Image.Image]
    classes: Sequence[str] = ()  # the class of each single sample, for its file name; empty without classes

    def write(self, path: Path) -> None:
        """Writes a PNG file, a GIF file or, if `path` has neither ending, a folder of PNG files."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".gif":
            save_gif(self.images, path)
        elif path.suffix.lower() == ".png":
            save_png(self.images[0], path)
        else:
            path.mkdir(exist_ok=True)
            for i, image in enumerate(self.images):
                name = f"{i:05d}_{self.classes[i]}" if self.classes else f"{i:05d}"
                save_png(image, path / f"{name}.png")


def sample_view(options: ViewOptions, scene: Scene, game: Game) -> View:
    """Samples as single images (`format=files`), or in one picture.

    If the scene has data, the picture also shows real samples. Points, and images without a range, need them.
    """
    value_range, names = scene.value_range, scene.class_names
    caption = f"{options.n} samples at step {game.run_step}"
    if options.format == "files":
        samples = game.sample(options.n, options.seed, options.label)
        labels = game.asked(options.n, options.label) if game.generator.num_classes else None
        classes = [] if labels is None else [slug(names[i]) if names else str(i) for i in labels.tolist()]
        return View(caption, to_images(samples, value_range), classes)
    data, label = scene.data and scene.data.of_part(options.part), options.label
    samples = game.sample(options.n, options.seed, conditions_of_picture(game, options.n, label))
    picture = sample_picture(game, samples, data, value_range=value_range, names=names, label=label)
    return View(caption, [picture])


def neighbours_view(options: ViewOptions, scene: Scene, game: Game) -> View:
    """Rows of samples, each above a row of their nearest training images, in pixels or in features.

    Raises:
        ConfigError: `space` is `features`, and the run has no extractor that takes its images.
    """
    data = scene.data_of(options.part)
    if options.space == "features":
        embed, distance_name = feature_embedding(scene, data)
    else:
        embed, distance_name = embed_pixels, "pixels, by the root of the mean squared difference"
    samples = game.sample(options.n, options.seed, options.label)
    train = (x for x, _ in data.split("train", samples.device, batch_size=1000))
    images, distances = nearest_images(samples, train, embed)
    caption = f"{options.n} samples at step {game.run_step} above their nearest training images"
    caption += f" (in {distance_name}: median {float(distances.median()):.3f})"
    columns = min(options.columns, options.n)
    return View(caption, [interleave_rows(samples, images, data.value_range, columns)])


def reconstructions_view(options: ViewOptions, scene: Scene, game: Game) -> View:
    """Rows of test images, each above a row of what the generator makes of their codes."""
    refuse_without_encoder(game)
    data = scene.data_of(options.part)
    x, condition = next(iter(data.split("test", next(game.parameters()).device, batch_size=options.n)))
    asked = None if game.generator.condition is None else game.asked(len(x), condition)
    reconstructed = game.generate_in_batches(game.encode(x, asked), asked).to(x.dtype)
    caption = f"{len(x)} test images above their reconstructions at step {game.run_step}"
    caption += f" (mean squared error {float((x - reconstructed).square().mean()):.3f})"
    columns = min(options.columns, len(x))
    return View(caption, [interleave_rows(x, reconstructed, data.value_range, columns)])


def refuse_without_encoder(game: Game) -> None:
    """Raises `ConfigError` if no encoder infers the codes of images."""
    remedy = "choose another view, or a game such as model=vae"
    require("encoder" in game.networks, "needs an encoder", remedy, "what", "reconstructions")


def interpolation_view(options: ViewOptions, scene: Scene, game: Game) -> View:
    """Rows of `columns` samples of one class; row i leads from latent 2 i of the seed to latent 2 i + 1."""
    rows, columns = max(options.n // options.columns, 1), options.columns
    ends = game.latents(2 * rows, options.seed)
    t = torch.linspace(0, 1, columns, dtype=ends.dtype, device=ends.device)[:, None]  # [columns, 1]
    path = options.path or ("slerp" if is_round(game.presented("generator").prior) else "lerp")
    interpolate = slerp if path == "slerp" else torch.lerp
    latents = torch.cat([interpolate(start, end, t) for start, end in ends.view(rows, 2, -1)])
    row_labels = game.asked(rows, options.label)
    labels = None if row_labels is None else row_labels.repeat_interleave(columns, dim=0)
    caption = f"{rows} paths between samples at step {game.run_step}, by {path}"
    samples = game.generate_in_batches(latents, labels)
    return View(caption, [grid(samples, scene.value_range, columns=columns)])


def arithmetic_view(options: ViewOptions, scene: Scene, game: Game) -> View:
    """Latent arithmetic: the samples of the added latents, of the subtracted latents, and of the result.

    One more latent should be added than subtracted, as in a - b + c (Radford, Metz & Chintala 2016, section
    6.3.2); otherwise the result is atypical of the prior. The result has the class of the first added sample.
    """
    plus, minus = list(options.plus), list(options.minus)
    latents, labels = game.latents(options.n, options.seed), game.asked(options.n, options.label)
    result = latents[plus].sum(0) - latents[minus].sum(0)
    shown_latents = torch.cat([latents[[*plus, *minus]], result[None]])
    shown_labels = None if labels is None else labels[[*plus, *minus, plus[0]]]
    samples = game.generate_in_batches(shown_latents, shown_labels)
    caption = f"samples {plus} less {minus}, and the result, at step {game.run_step}"
    return View(caption, [grid(samples, scene.value_range, columns=len(samples))])


def training_view(options: ViewOptions, scene: Scene, game: Game) -> View:
    """An animation of the sample grids of a part that the run wrote during training, from the same latents.

    Raises:
        ConfigError: there are fewer than two grids, or one cannot be read.
    """
    prefix = "" if options.part in (None, scene.main_part) else f"{options.part}_"
    pictures = sorted(scene.pictures.glob("*.png"))
    paths = [path for path in pictures if re.fullmatch(rf"{prefix}\d+", path.stem)]
    reason = f"an animation needs two sample grids of the run, and {scene.pictures} has {len(paths)}"
    require(len(paths) > 1, reason, "train a run with a lower sample_every", key="what", value="animate")
    frames = [read_image(path) for path in paths]
    # A different version of ganlab may have written images of a different size.
    frames = [ImageOps.pad(frame, frames[-1].size) for frame in frames]
    return View(f"{len(frames)} sample grids of the run, from the same latents", frames)


# The functions that draw the views, by the values of `what` in conf/sample.yaml.
VIEWS: dict[str, Callable[[ViewOptions, Scene, Game], View]] = {
    "grid": sample_view,
    "neighbours": neighbours_view,
    "reconstructions": reconstructions_view,
    "interpolate": interpolation_view,
    "arithmetic": arithmetic_view,
    "animate": training_view,
}


def read_image(path: Path) -> Image.Image:
    """A sample grid that the run wrote during training, as RGB."""
    try:
        with open_image(path) as image:
            return image.convert("RGB")
    except Unreadable as error:
        raise ConfigError(error.reason, "remove this sample grid of the run") from error


def embed_pixels(x: Tensor) -> Tensor:
    """Images [N, ...] -> vectors [N, F], whose Euclidean distance is the RMS difference of the pixels."""
    return x.flatten(1).double() / x[0].numel() ** 0.5


def feature_embedding(scene: Scene, data: Data) -> tuple[Embedding, str]:
    """The map of images to the features of a run's extractor, and a description of distances in this space.

    Raises:
        ConfigError: the run has no extractor, or the extractor does not take images of this shape.
    """
    value_range = data.value_range
    if scene.load_extractor is None or value_range is None:
        raise ConfigError("this run has no extractor of images", "choose space=pixels", "space", "features")
    extractor = scene.load_extractor()
    try:
        extractor.extract(torch.zeros(1, *data.shape))  # raises if the shape does not suit the network
    except ConfigError as error:
        reason = f"extractor {extractor.network.name} {error.reason}"
        raise ConfigError(reason, "choose space=pixels", "space", "features") from error

    def embed(x: Tensor) -> Tensor:
        parts = (to_unit_range(part, value_range) for part in x.split(EXTRACT_BATCH))
        return torch.cat([extractor.extract(part).features for part in parts]).double()

    return embed, f"the features of {extractor.network.name!r}, by Euclidean distance"


def nearest_images(
    x: Tensor, batches: Iterable[Tensor], embed: Embedding = embed_pixels
) -> tuple[Tensor, Tensor]:
    """The image nearest to each image x [N, C, H, W] among all batches [M, C, H, W], and its distance [N]."""
    points = embed(x)
    distances, images = points.new_full((len(x),), torch.inf), torch.zeros_like(x)
    for batch in batches:
        # `cdist` must not use a matrix product, x^2 - 2 x y + y^2, whose rounding errors would give copies a
        # distance above 0.
        between = torch.cdist(points, embed(batch), compute_mode="donot_use_mm_for_euclid_dist")  # [N, M]
        smallest, indices = between.min(1)
        is_nearer = smallest < distances
        distances[is_nearer] = smallest[is_nearer]
        images[is_nearer] = batch.to(x.dtype)[indices[is_nearer]]
    return images, distances


def interleave_rows(above: Tensor, below: Tensor, value_range: ValueRange, columns: int) -> Image.Image:
    """A grid in which rows of `above` alternate with rows of `below`, images [N, C, H, W] each.

    The last rows are filled up with black images.
    """
    black, _ = value_range or (0.0, 1.0)  # without a range, the grid below raises an error
    blank = above.new_full((columns, *above.shape[1:]), black)
    row_pairs = zip(above.split(columns), below.split(columns), strict=True)
    padded = [torch.cat([row, blank[len(row) :]]) for pair in row_pairs for row in pair]
    return grid(torch.cat(padded), value_range, columns=columns)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation (White 2016) between latents a and b [D], at t [T, 1] in [0, 1]: [T, D].

    It is (sin((1 - t) w) a + sin(t w) b) / sin w, where w is the angle between a and b. If a and b lie on one
    line through the origin, the interpolation is linear.
    """
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        return torch.lerp(a, b, t)
    return (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
