"""Images of which a part is missing: the condition of each image is what is left of it."""

from collections.abc import Iterator
from copy import copy
from hashlib import sha256
from itertools import tee
from typing import Literal, Self, Unpack

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import require
from ganlab.core.randomness import seeded_generator
from ganlab.core.validation import OpenFraction, Whole
from ganlab.data.base import Data, DataSettings, check_settings
from ganlab.data.batches import NOT_AUGMENTED, BatchIndices, sequential_batches
from ganlab.data.sources import Samples, Source, rows_of

Kind = Literal["centre", "rectangle", "pixels", "strokes", "downscale", "grey"]
RED, GREEN, BLUE = 0.299, 0.587, 0.114  # the weights of the brightness, as in Pillow


class Masked(Data):
    """The images of another data set, each with what is left of it as its condition.

    The condition has the known pixels, where missing ones have the lowest value, and then the mask, which has
    the highest value where a pixel is known. Of `downscale` and `grey`, it is the changed image alone.

    Args:
        of: the other data set, of images without conditions of their own but classes.
        kind: what is missing: a rectangle in the `centre`; a `rectangle` anywhere; single `pixels`; `strokes`
            of a brush; all pixels but those of a smaller image (`downscale`); the colours (`grey`).
        size: `centre`, `rectangle`: the share of each side that is missing. `pixels`, `strokes`: the share of
            all pixels, which strokes just reach. `downscale`: the size of the smaller image. `grey`: None.
        mask_seed: the seed of the masks of held-out images. Those of training images are other ones whenever
            they are seen, by the seed of the run.

    Raises:
        ConfigError: the other data have no images or are pairs, or a setting contradicts them or the kind.
    """

    def __init__(
        self,
        of: Data,
        kind: Kind,
        size: OpenFraction | None,
        mask_seed: Whole,
        **settings: Unpack[DataSettings],
    ):
        fits = len(of.shape) == 3 and of.value_range is not None
        require(fits, "has samples that are not images", "choose data of images", ".of")
        is_told = of.condition is not None and of.condition.kind != "class"
        require(not is_told, "has conditions of its own", "choose data without", ".of")
        require(of.labelled_subset is None, "has no effect here", "set it to null", ".of.labelled")
        check_settings(settings, shape=of.shape, range=of.value_range)
        remedy = "set it to null" if kind == "grey" else "set a share"
        require((size is None) == (kind == "grey"), f"does not go with kind={kind}", remedy, ".size", size)
        reason = f"needs images of three channels, not {of.shape[0]}"
        require(kind != "grey" or of.shape[0] == 3, reason, "choose another", ".kind", kind)
        sources = {
            split: MaskedSource(source, kind, size or 1.0, ("mask", mask_seed, split))
            for split, source in of.sources.items()
        }
        rows, numbers = torch.tensor([0]), NOT_AUGMENTED[None]
        shape = [*sources["train"].left(torch.zeros(1, *of.shape), rows, numbers).shape[1:]]
        condition = settings.get("condition")
        fits = condition is not None and [*condition.shape] == shape
        require(fits, f"must be an image of the shape {shape}", key=".condition", value=condition)
        self.skipped, self.of, self.mask_settings = of.skipped, of, f"{kind} {size} {mask_seed}"
        super().__init__(**settings, sources=sources, class_names=of.class_names)

    def fingerprint(self) -> str:
        """The SHA-256 hash of that of the other data, and of the settings of masks."""
        return sha256(f"{self.of.fingerprint()} {self.mask_settings}".encode()).hexdigest()


def rest_of(kind: Kind, shape: list[int]) -> ConditionSpec:
    """The condition of data=masked: what is left of images [C, H, W], with a mask if pixels are missing."""
    channels, *size = shape
    if kind in ("downscale", "grey"):
        return ConditionSpec("image", (1 if kind == "grey" else channels, *size))
    return ConditionSpec("image", (channels + 1, *size), names=("known", "mask"))


class MaskedSource(Source):
    """The images of a source, each with what is left of it in further channels.

    The mask of an image is a function of `key`, its row, and the random numbers of its augmentation. So
    held-out images, which are not augmented, have one mask each.
    """

    def __init__(self, source: Source, kind: Kind, size: float, key: tuple[str | int, ...]):
        self.source, self.kind, self.size, self.key = source, kind, size, key
        self.labels = source.labels
        self.augments = source.augments or kind in ("rectangle", "pixels", "strokes")

    def __len__(self) -> int:
        return len(self.source)

    def at(self, rows: Tensor) -> Self:
        part = copy(self)
        part.source, part.labels = self.source.at(rows), rows_of(self.labels, rows)
        return part

    def move(self, device: torch.device) -> None:
        self.source.move(device)

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for_source, kept = tee(indices)
        for (x, labels), (rows, numbers) in zip(self.source.batches(for_source), kept, strict=False):
            yield torch.cat([x, self.left(x, rows, numbers)], 1), labels

    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        rows = getattr(self.source, "distinct_rows", None)
        rows = torch.arange(len(self)) if rows is None else rows.cpu()
        return self.batches(sequential_batches(rows, batch_size))

    def fingerprint_parts(self) -> Iterator[Tensor | str]:
        return self.source.fingerprint_parts()

    def left(self, x: Tensor, rows: Tensor, numbers: Tensor) -> Tensor:
        """What is left of images [b, C, H, W] of 0 to 255: the condition [b, C', H, W]."""
        height, width = x.shape[2:]
        if self.kind == "grey":
            weights = torch.tensor([RED, GREEN, BLUE], device=x.device).view(1, 3, 1, 1)
            return (x.float() * weights).sum(1, keepdim=True).round().to(x.dtype)
        if self.kind == "downscale":
            small = [max(round(side * self.size), 1) for side in (height, width)]
            reduced = functional.interpolate(x.float(), small, mode="bilinear", antialias=True)
            enlarged = functional.interpolate(reduced, (height, width), mode="bicubic")
            return enlarged.round().clamp(0, 255).to(x.dtype)
        seeds = zip(rows.tolist(), numbers.tolist(), strict=True)
        masks = [self.mask(height, width, seeded_generator(*self.key, row, repr(n))) for row, n in seeds]
        known = torch.stack(masks)[:, None].to(x.device)
        return torch.cat([x * known, known.to(x.dtype) * 255], 1)

    def mask(self, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Whether each pixel is known, [H, W] bool."""
        if self.kind == "pixels":
            return torch.rand(height, width, generator=generator) >= self.size
        if self.kind == "strokes":
            return stroke_mask(height, width, self.size, generator)
        mask = torch.ones(height, width, dtype=torch.bool)
        rows, columns = max(round(height * self.size), 1), max(round(width * self.size), 1)
        top, left = (height - rows) // 2, (width - columns) // 2
        if self.kind == "rectangle":
            top = int(torch.randint(height - rows + 1, (), generator=generator))
            left = int(torch.randint(width - columns + 1, (), generator=generator))
        mask[top : top + rows, left : left + columns] = False
        return mask


def stroke_mask(height: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """A mask [H, W] of strokes of a brush, false on them, of which the last one reaches the share."""
    image = Image.new("1", (width, height), 1)
    draw, side = ImageDraw.Draw(image), min(height, width)
    mask = torch.ones(height, width, dtype=torch.bool)
    while float((~mask).float().mean()) < share:
        x0, y0, x1, y1, brush = torch.rand(5, generator=generator).tolist()
        ends = x0 * width, y0 * height, x1 * width, y1 * height
        draw.line(ends, fill=0, width=max(round(side * (0.04 + 0.08 * brush)), 1))
        mask = torch.from_numpy(np.array(image))
    return mask
