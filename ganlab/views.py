"""What one looks at in a trained game: each makes a picture, or the frames of a film."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from PIL import Image
from torch import Tensor

from ganlab.data.base import Data
from ganlab.errors import Refused
from ganlab.game import Game
from ganlab.pictures import grid
from ganlab.run_directory import RunDirectory

Range = tuple[float, float] | None


def neighbours(
    game: Game, data: Data, n: int, seed: int, label: int | None, columns: int
) -> tuple[Image.Image, Tensor]:
    """Rows of samples, each above the row of their nearest training images; and the distances, [n].

    Nearest in pixels, in units of the data.
    """
    samples = game.sample(n, seed, label)
    images, distances = nearest(samples, (x for x, _ in data.split("train", samples.device, 1000)))
    rows = zip(samples.split(columns), images.split(columns), strict=True)
    blank = samples.new_full((-n % columns, *samples.shape[1:]), (data.value_range or (0.0, 1.0))[0])
    padded = [torch.cat([row, blank[: columns - len(row)]]) for pair in rows for row in pair]
    return grid(torch.cat(padded), data.value_range, columns), distances


def nearest(x: Tensor, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The nearest images to x [N, ...] in some batches, [N, ...], and how far they are, [N].

    The distance is the root of the mean squared difference of pixels.
    """
    best, images = x.new_full((len(x),), torch.inf, dtype=torch.float64), torch.zeros_like(x)
    for batch in batches:
        # By differences: a copy is at 0, not at what rounding leaves of a difference of squares.
        gap = torch.cdist(
            x.flatten(1).double(), batch.flatten(1).double(), compute_mode="donot_use_mm_for_euclid_dist"
        )
        distances, places = (gap / x[0].numel() ** 0.5).min(1)
        nearer = distances < best
        images[nearer], best[nearer] = batch.to(x.dtype)[places[nearer]], distances[nearer]
    return images, best


def interpolate(
    game: Game, value_range: Range, n: int, seed: int, label: int | None, columns: int, path: str
) -> Image.Image:
    """Strips of `columns` samples between two of them, as many as n has room for."""
    strips = max(n // columns, 1)
    ends = game.latents(2 * strips, seed)
    shares = torch.linspace(0, 1, columns, dtype=ends.dtype, device=ends.device)
    between = PATHS[path]
    latents = torch.cat([between(a, b, shares) for a, b in zip(ends[::2], ends[1::2], strict=True)])
    classes = game.labels(strips, label)
    condition = None if classes is None else classes.repeat_interleave(columns)
    return grid(shown(game, latents, condition), value_range, columns)


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


def arithmetic(
    game: Game,
    value_range: Range,
    n: int,
    seed: int,
    label: int | None,
    plus: Sequence[int],
    minus: Sequence[int],
) -> Image.Image:
    """The samples whose latents are added, those whose are subtracted, and that of the sum, in one row.

    One more is to be added than subtracted, or the sum is no latent like others: a - b + c (Radford, Metz &
    Chintala 2016, section 6.3.2). Of a conditional generator the sum has the class of the first.

    Raises:
        Refused: a place that the grid of n samples does not have, or none to add.
    """
    for name, places in {"plus": plus, "minus": minus}.items():
        if not all(isinstance(place, int) and 0 <= place < n for place in places):
            raise Refused(f"{name}={list(places)} must be places in a grid of n={n}, from 0 to {n - 1}")
    if not plus:
        raise Refused("plus=[] adds nothing: give places of samples in the grid of this n and seed")
    latents = game.latents(n, seed)
    result = latents[list(plus)].sum(0)
    if minus:
        result = result - latents[list(minus)].sum(0)
    row = torch.cat([latents[[*plus, *minus]], result[None]])
    classes = game.labels(n, label)
    condition = None if classes is None else classes[[*plus, *minus, plus[0]]]
    return grid(shown(game, row, condition), value_range, len(row))


@torch.no_grad()
def shown(game: Game, latents: Tensor, condition: Tensor | None) -> Tensor:
    """Samples of some latents, 250 at a time as `Game.sample` makes them."""
    classes = condition.split(250) if condition is not None else [None] * len(latents)
    return torch.cat([game.decode(z, c) for z, c in zip(latents.split(250), classes, strict=False)])


def animate(run: RunDirectory) -> list[Image.Image]:
    """The pictures that a run made of the same latents, in their order.

    Raises:
        Refused: it has made none.
    """
    pictures = [place for place in sorted(run.samples.glob("*.png")) if place.stem.isdigit()]
    if not pictures:
        raise Refused(f"{run.samples} has no pictures of training: a run makes one every sample_every rounds")
    return [Image.open(place).convert("RGB") for place in pictures]
