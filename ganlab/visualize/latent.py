"""Images and animations of a trained game."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganlab.config.build import build_data, instantiate
from ganlab.config.run_directory import RunDirectory, warn_if_other_data
from ganlab.core.errors import ConfigError
from ganlab.data.base import Data, ValueRange
from ganlab.data.image import Unreadable, opened
from ganlab.game import Game
from ganlab.metrics.features import cached
from ganlab.metrics.reference import BATCH, to_unit_range
from ganlab.visualize.animation import save_gif
from ganlab.visualize.grid import grid, images, save_png
from ganlab.visualize.options import slug
from ganlab.visualize.portraits import portrait


class View(NamedTuple):
    """What there is to see, and what it is; `caption` in a line."""

    caption: str
    pictures: list[Image.Image]
    form: str = "picture"  # or files: each picture by itself; film
    names: Sequence[str] = ()  # of files, after their numbers

    def write(self, path: Path) -> None:
        """As PNG, a folder of PNG, or GIF."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.form == "film":
            save_gif(self.pictures, path)
        elif self.form == "picture":
            save_png(self.pictures[0], path)
        else:
            path.mkdir(exist_ok=True)
            for i, image in enumerate(self.pictures):
                save_png(image, path / ("_".join([f"{i:05d}", *self.names[i : i + 1]]) + ".png"))


def samples(asked: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """A grid, with columns for each class, below real images where the data are at hand; or single images."""
    own, label = run.config(), asked["class"]
    value_range, names = own.data.get("range"), own.get("class_names") or ()
    found = game.sample(asked.n, asked.seed, label)
    caption = f"{asked.n} samples of round {game.step}"
    if asked.format == "files":
        classes = game.labels(asked.n, label)
        numbers = [] if classes is None else classes.tolist()
        called = [slug(names[i]) if names else str(i) for i in numbers]
        return View(caption, images(found, value_range), "files", called)
    if data is None and value_range is None:
        data = build_data(own)  # whose reach the picture has
    return View(caption, [portrait(game, found, data, value_range, names, label)])


def neighbours(asked: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """Rows of samples, each above the row of their nearest training images: in pixels, or in the features of
    the run's extractor.

    Raises:
        ConfigError: that extractor does not take these images.
    """
    own = run.config()
    if asked.root is not None:
        own.data.root = asked.root
    data, n = data or warn_if_other_data(run, build_data(own)), asked.n
    columns = min(asked.columns, n)
    if asked.space == "features":
        see, where = feature_space(own, data)
    else:
        see, where = pixels, "pixels, by the root of the mean squared difference"
    found = game.sample(n, asked.seed, asked["class"])
    beside, distances = nearest_images(found, (x for x, _ in data.split("train", found.device, 1000)), see)
    far = f"in {where}: median {float(distances.median()):.3f}"
    caption = f"{n} samples of round {game.step} above their nearest training images ({far})"
    return View(caption, [interleave_rows(found, beside, data.value_range, columns)])


def interpolate(asked: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """Strips of `columns` samples between two of them, as many as n has room for."""
    strips, columns = max(asked.n // asked.columns, 1), asked.columns
    ends = game.latents(2 * strips, asked.seed)
    shares = torch.linspace(0, 1, columns, dtype=ends.dtype, device=ends.device)
    between = PATHS[asked.path]
    latents = torch.cat([between(a, b, shares) for a, b in zip(ends[::2], ends[1::2], strict=True)])
    classes = game.labels(strips, asked["class"])
    condition = None if classes is None else classes.repeat_interleave(columns)
    caption = f"{strips} paths between samples of round {game.step}, by {asked.path}"
    return View(caption, [grid(shown(game, latents, condition), run.config().data.range, columns)])


def arithmetic(asked: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """The samples whose latents are added, those whose are subtracted, and that of the sum, in one row.

    One more is to be added than subtracted, or the sum is no latent like others: a - b + c (Radford, Metz &
    Chintala 2016, section 6.3.2). Of a conditional generator the sum has the class of the first.
    """
    n, plus, minus = asked.n, list(asked.plus), list(asked.minus)
    latents = game.latents(n, asked.seed)
    result = latents[plus].sum(0)
    if minus:
        result = result - latents[minus].sum(0)
    row = torch.cat([latents[[*plus, *minus]], result[None]])
    classes = game.labels(n, asked["class"])
    condition = None if classes is None else classes[[*plus, *minus, plus[0]]]
    caption = f"samples {plus} less {minus}, and the sum, of round {game.step}"
    return View(caption, [grid(shown(game, row, condition), run.config().data.range, len(row))])


def animate(asked: Any, run: RunDirectory, game: Game, data: Data | None) -> View:
    """The pictures that a run made of the same latents, in their order.

    Raises:
        ConfigError: it has made fewer than two, which are no film, or one cannot be read.
    """
    places = [place for place in sorted(run.samples.glob("*.png")) if place.stem.isdigit()]
    if len(places) < 2:
        few = f"{len(places)} pictures of training, and a film takes two"
        raise ConfigError(f"{run.samples} has {few}: give a run a lower sample_every=, which makes more")
    try:
        pictures = [first_frame(place) for place in places]
    except Unreadable as error:
        raise ConfigError(f"{error}: remove that picture of training") from error
    # The pictures of another version may be of another size.
    pictures = [ImageOps.pad(image, pictures[-1].size) for image in pictures]
    return View(f"{len(pictures)} pictures of training, from the same latents", pictures, "film")


def first_frame(place: Path) -> Image.Image:
    with opened(place) as image:
        return image.convert("RGB")


# Data are those of a run that plays; None: none are at hand.
VIEWS: dict[str, Callable[[Any, RunDirectory, Game, Data | None], View]] = {
    "grid": samples,
    "neighbours": neighbours,
    "interpolate": interpolate,
    "arithmetic": arithmetic,
    "animate": animate,
}


def pixels(x: Tensor) -> Tensor:
    """Rows whose Euclidean distance is the root of the mean squared difference of the images [N, ...]."""
    return x.flatten(1).double() / x[0].numel() ** 0.5


def nearest_images(
    x: Tensor, batches: Iterable[Tensor], see: Callable[[Tensor], Tensor] = pixels
) -> tuple[Tensor, Tensor]:
    """The nearest images to x [N, ...] in some batches, [N, ...], and how far they are, float64 [N].

    Args:
        see: images [N, ...] -> rows [N, F], whose Euclidean distances count.
    """
    rows = see(x).double()
    best, images = rows.new_full((len(x),), torch.inf), torch.zeros_like(x)
    for batch in batches:
        # By differences: a copy is at 0, not at what rounding leaves of a difference of squares.
        gap = torch.cdist(rows, see(batch).double(), compute_mode="donot_use_mm_for_euclid_dist")
        distances, places = gap.min(1)
        nearer = distances < best
        images[nearer], best[nearer] = batch.to(x.dtype)[places[nearer]], distances[nearer]
    return images, best


def interleave_rows(above: Tensor, below: Tensor, value_range: ValueRange, columns: int) -> Image.Image:
    """Rows of images [N, ...], each above the row of those that belong to them."""
    rows = zip(above.split(columns), below.split(columns), strict=True)
    blank = above.new_full((-len(above) % columns, *above.shape[1:]), (value_range or (0.0, 1.0))[0])
    padded = [torch.cat([row, blank[: columns - len(row)]]) for pair in rows for row in pair]
    return grid(torch.cat(padded), value_range, columns)


def feature_space(cfg: Any, data: Data) -> tuple[Callable[[Tensor], Tensor], str]:
    """What a run's extractor sees in images of its data, [N, *shape] -> [N, F], and a name for it.

    Raises:
        ConfigError: there is none, or it does not take these images.
    """
    node, value_range = cfg.get("extractor"), data.value_range
    if node is None or value_range is None:
        lacking = "this run names no extractor" if node is None else "these data are no images"
        raise ConfigError(f"space=features, but {lacking}: choose space=pixels")
    extractor = cached(instantiate(node))
    try:
        extractor.extract(torch.zeros(1, *data.shape))
    except ConfigError as refusal:
        raise ConfigError(f"space=features of this run's extractor: {refusal}; or space=pixels") from refusal

    def extract(x: Tensor) -> Tensor:
        return torch.cat(
            [extractor.extract(to_unit_range(part, value_range)).features for part in x.split(BATCH)]
        )

    return extract, f"the features of {extractor.network.name!r}, by Euclidean distance"


def lerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """(1 - t) a + t b for each share t, [T, latent_dim]."""
    return torch.lerp(a, b, shares[:, None])


def slerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """sin((1 - t) w) / sin w a + sin(t w) / sin w b, w the angle of a and b (White 2016); [T, latent_dim].

    Where a and b lie on one line through the origin there is no great circle, and it is a straight line.
    """
    angle = torch.arccos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        return lerp(a, b, shares)
    share = shares[:, None]
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


PATHS = {"lerp": lerp, "slerp": slerp}


@torch.no_grad()
def shown(game: Game, latents: Tensor, condition: Tensor | None) -> Tensor:
    """Samples of some latents, 250 at a time as `Game.sample` makes them."""
    classes = condition.split(250) if condition is not None else [None] * len(latents)
    return torch.cat([game.decode(z, c) for z, c in zip(latents.split(250), classes, strict=False)])
