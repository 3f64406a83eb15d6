"""What every image file is made into: decoded, upright, 8 bits a value, resized, and cut."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganlab.data.order import flips, offset, still


class Look(NamedTuple):
    """What every image is made into."""

    channels: int  # 1 grey, 3 colour
    height: int  # pixels
    width: int
    crop: str  # none: squeezed to the size; center, random: a window of the image resized to just cover it
    flip: bool  # mirror half of the training images


def decode(file: Path, look: Look) -> Tensor | str:
    """One image, uint8 [C, h, w], of the size asked for or just covering it where it is to be cropped.

    Or the reason why it cannot be read: an exception would leave a worker as a page of traceback.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = np.array(_resized(_eight_bit(upright, look.channels), look))  # [h, w] or [h, w, 3]
    except Exception as error:  # decoders meet broken bytes with every kind of exception
        reason = " ".join(str(error).split())
        return f"{file} cannot be read as an image ({reason})"
    return torch.from_numpy(pixels).reshape(*pixels.shape[:2], look.channels).permute(2, 0, 1).contiguous()


def _eight_bit(image: Image.Image, channels: int) -> Image.Image:
    """Grey or colour with 8 bits, from any of PIL's modes."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose range is not known")
    if image.mode.startswith("I"):  # 16 bits, which PIL's convert would cut off at 255
        deep = np.asarray(image).clip(0, 65535)
        image = Image.fromarray(np.round(deep / 257).astype(np.uint8))
    if "transparency" in image.info:
        image = image.convert("RGBA")  # else PIL warns
    return image.convert("L" if channels == 1 else "RGB")


def _resized(image: Image.Image, look: Look) -> Image.Image:
    width, height = look.width, look.height
    if look.crop != "none":
        scale = max(width / image.width, height / image.height)
        width, height = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    return image.resize((width, height), Image.Resampling.BICUBIC)  # PIL always antialiases


def cut(image: Tensor, look: Look, chance: Tensor) -> Tensor:
    """The window of a decoded image [C, h, w] that `chance` [3] chooses, mirrored or not; [C, H, W]."""
    where = chance if look.crop == "random" else still(1)[0]
    top = int(offset(where[1], torch.tensor(image.shape[1] - look.height)))
    left = int(offset(where[2], torch.tensor(image.shape[2] - look.width)))
    window = image[:, top : top + look.height, left : left + look.width]
    return window.flip(-1) if look.flip and flips(chance[None]) else window
