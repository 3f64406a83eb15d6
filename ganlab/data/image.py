"""Decoding of image files to uint8 tensors of one size."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple
from warnings import filterwarnings

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from PIL.ExifTags import Base
from PIL.Image import Transpose
from torch import Tensor

from ganlab.core.errors import ConfigError, error_message, escape_unprintable
from ganlab.data.sampler import crop_offset, is_mirrored, no_augmentation

Image.MAX_IMAGE_PIXELS = 2**29  # Pillow refuses more than twice as many; its default refuses large scans
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # long texts in a file do no harm
filterwarnings("ignore", module=r"PIL\.")  # Pillow warns about damaged metadata
# Recognised by content, not by the name of the file. One of Pillow's other decoders starts a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
# The transposition that undoes each orientation of EXIF; 1 is upright.
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height


class ImageSpec(NamedTuple):
    """The form of every decoded image."""

    channels: int  # 1 for grey, 3 for colour
    height: int  # in pixels
    width: int  # in pixels
    # none: resized, whatever the aspect ratio; center, random: resized to just cover the size, then cropped
    crop: Literal["none", "center", "random"] = "none"
    flip: bool = False  # whether half of the training images are mirrored
    background: str = "white"  # the colour behind transparent pixels
    white: int = 65535  # the value that is white in files of more than 8 bits

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a sample, (C, H, W)."""
        return self.channels, self.height, self.width


class Unreadable(ValueError):  # noqa: N818
    """A file is not a usable image. The message is a reason without a remedy."""


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Opens an image file, and reads only its header.

    Raises:
        Unreadable: the file is damaged or not an image, which may show only when the block reads pixels.
        ConfigError: the file may be intact, but the system lacks memory or open files.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a named pipe would wait for a writer
            raise ValueError("it is not a regular file")
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except Exception as error:  # decoders raise every kind of exception on damaged bytes
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES):
            raise resource_error(str(file), error) from error
        reason = f"cannot be read as an image ({error_message(error)})"
        raise Unreadable(f"{escape_unprintable(str(file))} {reason}") from error


def resource_error(images: str, error: BaseException) -> ConfigError:
    """The error about images for which the system lacks memory, open files or processes."""
    remedy = "lower data.num_workers, or raise the limit of files, processes or memory (ulimit -n, -u, -v)"
    return ConfigError(f"{images} cannot be read ({error_message(error)})", remedy)


def orientation(image: Image.Image) -> int:
    """The orientation by EXIF, 1 to 8; 1 (upright) if the EXIF data are missing or damaged."""
    with suppress(Exception):
        return int(image.getexif().get(Base.Orientation, 1))
    return 1


def decode_image(file: Path, spec: ImageSpec, warnings: dict[str, str]) -> np.ndarray:
    """Decodes an image to uint8 [C, h, w]: the size of `spec`, or just covering it if it is cropped later.

    Args:
        warnings: receives warnings about the file, at most one of each kind, `frames` or `dark`.

    Raises:
        Unreadable, ConfigError: as in `open_image`.
    """
    with open_image(file) as image:
        # The second frame of an MPO file of a phone is only a preview.
        frames = 1 if "frames" in warnings or image.format == "MPO" else getattr(image, "n_frames", 1)
        if frames > 1:
            warnings["frames"] = f"{file} has {frames} frames, of which the first is used"
        deep = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(image, "tile", ""))
        image.load()  # before EXIF is read, so that damaged pixels are reported
        transpose = UPRIGHT.get(orientation(image))
        upright = image if transpose is None else image.transpose(transpose)
        if deep:  # of 16-bit values Pillow keeps only the high bytes
            _warn_if_dark(int(np.asarray(image.convert("RGB")).max()) << 8, spec, file, warnings)
        width, height = spec.width, spec.height
        if spec.crop != "none":
            scale = max(width / upright.width, height / upright.height)
            width = max(width, round(upright.width * scale))
            height = max(height, round(upright.height * scale))
        # Pillow antialiases when it reduces an image.
        resized = _eight_bit(upright, spec, file, warnings).resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.array(resized)  # [h, w] or [h, w, 3]
    planes = pixels.reshape(*pixels.shape[:2], spec.channels).transpose(2, 0, 1)
    return np.ascontiguousarray(planes)


def _eight_bit(image: Image.Image, spec: ImageSpec, file: Path, warnings: dict[str, str]) -> Image.Image:
    """Converts an image of any mode to 8 bits, grey or colour, on the background where it is transparent."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # Pillow's convert would clip the values at 255
        deep = np.asarray(image)
        low, high = int(deep.min()), int(deep.max())
        if low < 0 or high > spec.white:
            raise ValueError(f"pixels are from {low:,} to {high:,}, but white is data.white={spec.white}")
        _warn_if_dark(high, spec, file, warnings)
        image = Image.fromarray(np.round(deep / (spec.white / 255)).astype(np.uint8))
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, spec.background)
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return image.convert("L" if spec.channels == 1 else "RGB")


def _warn_if_dark(high: int, spec: ImageSpec, file: Path, warnings: dict[str, str]) -> None:
    """Adds a warning if the largest value of an image, `high`, is at most a quarter of white."""
    if 0 < high <= spec.white // 4:
        warnings["dark"] = (
            f"the largest value of {file} is {high:,} of {spec.white:,}, so the image is dark: scale such "
            "files, or, if they are grey and a run reads them, set data.white to their white, perhaps "
            f"{2 ** high.bit_length() - 1}"
        )


def crop_image(image: Tensor, spec: ImageSpec, random_numbers: Tensor | None = None) -> Tensor:
    """Crops a decoded image, [C, h, w] -> [C, H, W], and mirrors it or not, by its random numbers [3].

    Without random numbers, the crop is the middle, not mirrored.
    """
    middle = no_augmentation(1)[0]
    numbers = middle if random_numbers is None else random_numbers
    position = numbers if spec.crop == "random" else middle
    top = int(crop_offset(position[1], torch.tensor(image.shape[1] - spec.height)))
    left = int(crop_offset(position[2], torch.tensor(image.shape[2] - spec.width)))
    window = image[:, top : top + spec.height, left : left + spec.width]
    return window.flip(-1) if spec.flip and is_mirrored(numbers[None]) else window
