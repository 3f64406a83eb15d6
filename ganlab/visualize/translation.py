"""Translation of image files by a trained game."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ganlab.core.errors import require
from ganlab.data.base import scale
from ganlab.data.conditions import image_spec
from ganlab.data.image import (
    ImageSpec,
    crop_image,
    decode_image,
    frame_times,
    open_image,
    read_header,
    resize_image,
    upright,
)
from ganlab.game import Game
from ganlab.networks.translation import UNet
from ganlab.visualize.images import save_gif, save_png, to_images


class Translator:
    """Translates image files and writes the results.

    Args:
        game: the game, which is told images of one or three channels, and perhaps a mask.
        data: the settings of the run's data.
        options: the settings `n`, `seed` and `size` of conf/translate.yaml.

    Raises:
        ConfigError: the game is told no images that files can be, or takes images of one size only.
    """

    def __init__(self, game: Game, data: Mapping[str, Any], options: Mapping[str, Any]):
        told = game.generator.condition
        is_told = told is not None and told.kind == "image"
        require(
            is_told, "translates no images", "choose a run of model=pix2pix", "run_dir", options["run_dir"]
        )
        assert told is not None
        self.game, self.n, self.range = game, options["n"], data["range"]
        self.has_mask = told.names[-1:] == ("mask",)
        channels, *size = told.shape
        channels -= self.has_mask
        reason = f"is told images of {channels} channels, which no file has"
        require(channels in (1, 3), reason, "choose another run", "run_dir", options["run_dir"])
        self.spec = image_spec((channels, *size), data)
        self.latents = game.latents(self.n, options["seed"])
        self.divisors: tuple[int, int] | None = None
        if options["size"] == "original":
            unet = next((m for m in game.presented("generator").modules() if isinstance(m, UNet)), None)
            reason = "needs a generator that takes images of any size, which is a U-Net"
            require(unet is not None, reason, "remove it", "size", "original")
            assert unet is not None
            self.divisors = unet.divisors()

    def write(self, file: Path, path: Path) -> None:
        """Writes the results for a file: `path` with the ending .png or .gif, or several with numbers.

        Raises:
            ConfigError: the file cannot be read, or has a size that does not do.
        """
        spec, times = self.spec_of(file), frame_times(file)
        frames = [self.translated(file, spec, frame) for frame in range(len(times))]
        path.parent.mkdir(parents=True, exist_ok=True)
        for i in range(self.n):
            name = path.name if self.n == 1 else f"{path.name}_{i}"
            pictures = [frame[i] for frame in frames]
            if len(pictures) > 1:
                save_gif(pictures, path.with_name(f"{name}.gif"), times if all(times) else ())
            else:
                save_png(pictures[0], path.with_name(f"{name}.png"))

    def spec_of(self, file: Path) -> ImageSpec:
        """How a file becomes an image: at the size of the run, or at its own, which must do."""
        if self.divisors is None:
            return self.spec
        height, width, _ = read_header(file)
        near = [max(round(side / d), 1) * d for side, d in zip((height, width), self.divisors, strict=True)]
        reason = f"{file} is {width}x{height}, and sides must be multiples of {self.divisors[1]} and of"
        remedy = f"scale it, for example to {near[1]}x{near[0]}, or remove size=original"
        require([height, width] == near, f"{reason} {self.divisors[0]}", remedy)
        return self.spec._replace(height=height, width=width, crop="none")

    def translated(self, file: Path, spec: ImageSpec, frame: int) -> list[Image.Image]:
        """The results for a frame of a file."""
        pixels = torch.from_numpy(decode_image(file, spec, {"frames": ""}, frame))
        image = crop_image(pixels, spec)[None]
        if self.has_mask:
            known = crop_image(opacity(file, spec, frame), spec)[None] > 127
            require(not known.all(), f"{file} has no transparent pixels, which would be filled", "erase some")
            image = torch.cat([image * known, known.to(image.dtype) * 255], 1)
        condition = self.game.space.enter_condition(scale(image, self.range).to(self.latents.dtype))
        return to_images(self.game.generate_in_batches(self.latents, condition), self.range)


def opacity(file: Path, spec: ImageSpec, frame: int) -> Tensor:
    """The opacity of the pixels of a file, from 0 to 255, resized as its colours are, [1, h, w]."""
    with open_image(file) as image:
        alpha = upright(image, frame).convert("RGBA").getchannel("A")
        return torch.from_numpy(resize_image(alpha, spec._replace(channels=1)))
