"""What every image file is made into: decoded, upright, 8 bits a value, resized, and cut."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base
from torch import Tensor

from ganlab.core.errors import one_line, printable
from ganlab.data.readers import scarce
from ganlab.data.sampler import flips, no_augmentation, offset

Image.MAX_IMAGE_PIXELS = 2**29  # Pillow refuses twice as many; scans are large, and are shrunk here
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # nobody here reads the texts
warnings.filterwarnings("ignore", module=r"PIL\.")  # what damaged files hold beside their pixels
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientations, and what of PIL undoes each


class ImageSpec(NamedTuple):
    """What every image is made into."""

    channels: int  # 1 grey, 3 colour
    height: int  # pixels
    width: int
    crop: str  # none: squeezed to the size; center, random: a window of the image resized to just cover it
    flip: bool  # mirror half of the training images
    background: str = "white"  # the colour that is seen through what is transparent
    white: int = 65535  # the value that is white where files have more than 8 bits a value


# By what is in a file, whatever its name: PIL has others, one of which starts a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class Unreadable(ValueError):  # noqa: N818, the reason why a file is no image; without a remedy
    """A file holds no image that could be used."""


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """An image file, of which nothing but the header was read so far.

    Raises:
        Unreadable: whatever decoders say of damaged bytes, here or while the image is used.
        ConfigError: nothing is wrong with the file, but the system gives no more memory, or open files.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # to open a pipe would wait for who writes into it
            raise ValueError("it is no regular file")
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except Exception as error:  # decoders meet broken bytes with every kind of exception
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SCARCE):
            raise scarce(str(file), error) from error
        raise Unreadable(f"{printable(str(file))} cannot be read as an image ({one_line(error)})") from error


def orientation(image: Image.Image) -> int:
    """How the camera was held, as EXIF counts it, 1 upright; an image whose EXIF is broken lies right."""
    try:
        return int(image.getexif().get(Base.Orientation, 1))
    except Exception:
        return 1


def decode(file: Path, look: ImageSpec, met: dict[str, str]) -> np.ndarray | str:
    """One image, uint8 [C, h, w], of the size asked for or just covering it where it is to be cropped.

    Or the reason why it cannot be read: an exception would end a sweep of many files at the first.

    met: takes what a user should know of the file beside, the first remark of each kind.
    """
    try:
        with opened(file) as image:
            # A phone's MPO has a preview behind the photograph.
            frames = 1 if "frames" in met or image.format == "MPO" else getattr(image, "n_frames", 1)
            if frames > 1:
                met["frames"] = f"{file} holds {frames} frames, of which the first is taken"
            deep = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(image, "tile", ""))
            image.load()  # before EXIF is asked for: what is amiss with the pixels must be told
            turn = UPRIGHT.get(orientation(image))
            upright = image if turn is None else image.transpose(Image.Transpose(turn))
            if deep:  # of which PIL gives the high bytes alone
                _tell_of_dark(int(np.asarray(image.convert("RGB")).max()) << 8, look, file, met)
            pixels = np.array(_resized(_eight_bit(upright, look, file, met), look))  # [h, w] or [h, w, 3]
    except Unreadable as error:
        return str(error)
    planes = pixels.reshape(*pixels.shape[:2], look.channels).transpose(2, 0, 1)
    return np.ascontiguousarray(planes)


def _eight_bit(image: Image.Image, look: ImageSpec, file: Path, met: dict[str, str]) -> Image.Image:
    """Grey or colour with 8 bits, from any of PIL's modes; the background shows where it is transparent."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers, whose range is not known")
    if image.mode.startswith("I"):  # which PIL's convert would cut off at 255
        deep, white = np.asarray(image), look.white
        low, high = int(deep.min()), int(deep.max())
        if low < 0 or high > white:
            raise ValueError(f"pixels are from {low:,} to {high:,}, but white is data.white={white}")
        _tell_of_dark(high, look, file, met)
        image = Image.fromarray(np.round(deep / (white / 255)).astype(np.uint8))
    if image.has_transparency_data:
        behind = Image.new("RGBA", image.size, look.background)
        image = Image.alpha_composite(behind, image.convert("RGBA"))
    return image.convert("L" if look.channels == 1 else "RGB")


def _tell_of_dark(high: int, look: ImageSpec, file: Path, met: dict[str, str]) -> None:
    if 0 < high <= look.white // 4:
        met["dark"] = (
            f"the largest value of {file} is {high:,} of {look.white:,}, so it comes out dark: scale such "
            "files, or, for grey ones that a run reads, set data.white to what is white in them, perhaps "
            f"{2 ** high.bit_length() - 1}"
        )


def _resized(image: Image.Image, look: ImageSpec) -> Image.Image:
    width, height = look.width, look.height
    if look.crop != "none":
        scale = max(width / image.width, height / image.height)
        width, height = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    return image.resize((width, height), Image.Resampling.BICUBIC)  # PIL always antialiases


def cut(image: Tensor, look: ImageSpec, chance: Tensor) -> Tensor:
    """The window of a decoded image [C, h, w] that `chance` [3] chooses, mirrored or not; [C, H, W]."""
    where = chance if look.crop == "random" else no_augmentation(1)[0]
    top = int(offset(where[1], torch.tensor(image.shape[1] - look.height)))
    left = int(offset(where[2], torch.tensor(image.shape[2] - look.width)))
    window = image[:, top : top + look.height, left : left + look.width]
    return window.flip(-1) if look.flip and flips(chance[None]) else window
