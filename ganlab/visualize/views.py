"""Images and animations of a trained game."""

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganlab.config.build import build_data, instantiate
from ganlab.config.run_directory import RunDirectory, warn_if_other_data
from ganlab.core.errors import ConfigError, require
from ganlab.data.base import Data, ValueRange
from ganlab.data.image import Unreadable, open_image
from ganlab.game import Game
from ganlab.metrics.evaluation import BATCH
from ganlab.metrics.features import cached, to_unit_range
from ganlab.visualize.animation import save_gif
from ganlab.visualize.grid import grid, save_png, to_images
from ganlab.visualize.options import slug
from ganlab.visualize.portraits import portrait

Space = Callable[[Tensor], Tensor]  # images [N, C, H, W] -> float64 [N, F], whose Euclidean distances count


class View(NamedTuple):
    """One image, the frames of an animation, or single samples, with a caption of one line."""

    caption: str
    images: Sequence[Image.Image]
    classes: Sequence[str] = ()  # of single samples, for their file names; empty without classes

    def write(self, path: Path) -> None:
        """Writes a PNG file or a GIF file, by the ending of `path`, or else a folder of PNG files."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".gif":
            save_gif(self.images, path)
        elif path.suffix.lower() == ".png":
            save_png(self.images[0], path)
        else:
            path.mkdir(exist_ok=True)
            for i, image in enumerate(self.images):
                save_png(image, path / ("_".join([f"{i:05d}", *self.classes[i : i + 1]]) + ".png"))


def sample_view(options: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """Samples as single images (`format=files`), or in a portrait, with real samples if `data` is given."""
    config, label = run.config(), options["class"]
    value_range, names = config.data.get("range"), config.get("class_names") or ()
    samples = game.sample(options.n, options.seed, label)
    caption = f"{options.n} samples at step {game.step}"
    if options.format == "files":
        labels = game.labels(options.n, label)
        classes = [] if labels is None else [slug(names[i]) if names else f"{i}" for i in labels.tolist()]
        return View(caption, to_images(samples, value_range), classes)
    if data is None and value_range is None:
        data = build_data(config)  # points are shown on axes that span the data
    return View(caption, [portrait(game, samples, data, value_range, names, label)])


def neighbours_view(options: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """Rows of samples, each above a row of their nearest training images, in pixels or in features.

    Raises:
        ConfigError: the run's extractor does not take these images.
    """
    config = run.config()
    if options.root is not None:
        config.data.root = options.root
    data = data or warn_if_other_data(run, build_data(config))
    pixels = pixel_space, "pixels, by the root of the mean squared difference"
    space, distance = feature_space(config, data) if options.space == "features" else pixels
    samples = game.sample(options.n, options.seed, options["class"])
    train = (x for x, _ in data.split("train", samples.device, 1000))
    images, distances = nearest_images(samples, train, space)
    caption = f"{options.n} samples at step {game.step} above their nearest training images"
    caption += f" (in {distance}: median {float(distances.median()):.3f})"
    columns = min(options.columns, options.n)
    return View(caption, [interleave_rows(samples, images, data.value_range, columns)])


def interpolation_view(options: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """Paths between latents: a row of `columns` samples each, as many as n samples fill, but at least one."""
    rows, columns = max(options.n // options.columns, 1), options.columns
    ends = game.latents(2 * rows, options.seed)
    shares = torch.linspace(0, 1, columns, dtype=ends.dtype, device=ends.device)[:, None]
    path = slerp if options.path == "slerp" else torch.lerp
    latents = torch.cat([path(a, b, shares) for a, b in zip(ends[::2], ends[1::2], strict=True)])
    labels = game.labels(rows, options["class"])
    labels = None if labels is None else labels.repeat_interleave(columns)
    caption = f"{rows} paths between samples at step {game.step}, by {options.path}"
    return View(caption, [grid(decode(game, latents, labels), run.config().data.range, columns)])


def arithmetic_view(options: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """Latent arithmetic: the samples of the added and of the subtracted latents, and that of the result.

    One more latent should be added than subtracted, as in a - b + c (Radford, Metz & Chintala 2016, section
    6.3.2); otherwise the result is atypical of the prior. It has the class of the first sample.
    """
    plus, minus = list(options.plus), list(options.minus)
    latents, labels = game.latents(options.n, options.seed), game.labels(options.n, options["class"])
    result = latents[plus].sum(0) - latents[minus].sum(0)
    row = torch.cat([latents[[*plus, *minus]], result[None]])
    labels = None if labels is None else labels[[*plus, *minus, plus[0]]]
    caption = f"samples {plus} less {minus}, and the sum, at step {game.step}"
    return View(caption, [grid(decode(game, row, labels), run.config().data.range, len(row))])


def training_view(options: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """An animation of the images that the run made during training, all of the same latents.

    Raises:
        ConfigError: there are fewer than two, or one cannot be read.
    """
    paths = [path for path in sorted(run.samples.glob("*.png")) if path.stem.isdigit()]
    few = f"an animation needs two images of training, and {run.samples} has {len(paths)}"
    require(len(paths) > 1, "what", "animate", few, "train a run with a lower sample_every")
    frames = [read_image(path) for path in paths]
    # Images of another version of ganlab may have another size.
    frames = [ImageOps.pad(frame, frames[-1].size) for frame in frames]
    return View(f"{len(frames)} images of training, from the same latents", frames)


# Arguments: the options of conf/sample.yaml, and the data, or None if the view has to load what it needs.
VIEWS: dict[str, Callable[[Any, RunDirectory, Game, Data | None], View]] = {
    "grid": sample_view,
    "neighbours": neighbours_view,
    "interpolate": interpolation_view,
    "arithmetic": arithmetic_view,
    "animate": training_view,
}


def read_image(path: Path) -> Image.Image:
    """An image of training as RGB."""
    try:
        with open_image(path) as image:
            return image.convert("RGB")
    except Unreadable as error:
        raise ConfigError(str(error), "remove this image of training") from error


def pixel_space(x: Tensor) -> Tensor:
    """Vectors [N, F] whose Euclidean distance is the root mean square difference of the images [N, ...]."""
    return x.flatten(1).double() / x[0].numel() ** 0.5


def feature_space(config: Any, data: Data) -> tuple[Space, str]:
    """The features of a run's extractor as a space, and the name of the distance in it.

    Raises:
        ConfigError: the run has no extractor, or it does not take images of these data.
    """
    node, value_range = config.get("extractor"), data.value_range
    if node is None or value_range is None:
        raise ConfigError("this run has no extractor of images", "choose space=pixels", "space", "features")
    extractor = cached(instantiate(node))
    try:
        extractor.extract(torch.zeros(1, *data.shape))
    except ConfigError as error:
        reason = f"extractor {extractor.network.name} {error.reason}"
        raise ConfigError(reason, "choose space=pixels", "space", "features") from error

    def space(x: Tensor) -> Tensor:
        parts = (to_unit_range(part, value_range) for part in x.split(BATCH))
        return torch.cat([extractor.extract(part).features for part in parts]).double()

    return space, f"the features of {extractor.network.name!r}, by Euclidean distance"


def nearest_images(x: Tensor, batches: Iterable[Tensor], space: Space = pixel_space) -> tuple[Tensor, Tensor]:
    """The image in any of the batches that is nearest to each of x, [N, C, H, W], and its distance [N]."""
    points = space(x)
    distances, images = points.new_full((len(x),), torch.inf), torch.zeros_like(x)
    for batch in batches:
        # By differences: a copy is at 0, not at what rounding leaves of a difference of squares.
        gaps = torch.cdist(points, space(batch), compute_mode="donot_use_mm_for_euclid_dist")
        found, indices = gaps.min(1)
        nearer = found < distances
        images[nearer], distances[nearer] = batch.to(x.dtype)[indices[nearer]], found[nearer]
    return images, distances


def interleave_rows(above: Tensor, below: Tensor, value_range: ValueRange, columns: int) -> Image.Image:
    """A grid that alternates rows of two batches of images [N, C, H, W]; missing images are black."""
    rows = zip(above.split(columns), below.split(columns), strict=True)
    blank = above.new_full((-len(above) % columns, *above.shape[1:]), (value_range or (0.0, 1.0))[0])
    padded = [torch.cat([row, blank[: columns - len(row)]]) for pair in rows for row in pair]
    return grid(torch.cat(padded), value_range, columns)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation of latents a, b [D] at shares t [T, 1], [T, D] (White 2016).

    sin((1 - t) w) / sin w a + sin(t w) / sin w b, where w is the angle between a and b. If both lie on one
    line through the origin, the interpolation is linear.
    """
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        return torch.lerp(a, b, share)
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


@torch.no_grad()
def decode(game: Game, latents: Tensor, labels: Tensor | None) -> Tensor:
    """Samples [N, *shape] of latents [N, latent_dim] and classes [N], by the batch as in `Game.sample`."""
    conditions = repeat(None) if labels is None else labels.split(250)
    return torch.cat([game.decode(*part) for part in zip(latents.split(250), conditions, strict=False)])
