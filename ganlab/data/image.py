"""Decoding, resizing and cropping of image files."""

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

from ganlab.core.errors import ConfigError, error_message, escape_unprintable, require
from ganlab.data.batches import NOT_AUGMENTED, crop_offset, is_mirrored

# Pillow refuses images of more than twice this number of pixels. The default would exclude large scans.
Image.MAX_IMAGE_PIXELS = 2**29
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # long texts in a file do no harm
filterwarnings("ignore", module=r"PIL\.")  # Pillow warns about damaged metadata
# The formats that are read, which are recognised by content. Pillow's other formats are left out, because it
# decodes some of them, such as EPS, by running a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
REPAIR = "repair it, or remove it"  # the remedy for an unreadable file
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
# The transposition that undoes each orientation of EXIF. 1 is upright; 5 to 8 swap width and height. Pillow's
# own ImageOps.exif_transpose is not used, because it also writes EXIF data, and fails if they are damaged.
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip


class ImageSpec(NamedTuple):
    """How samples are made from image files: their channels, their size, and their crop."""

    channels: int  # 1 for grey, 3 for colour
    height: int  # in pixels
    width: int  # in pixels
    # The other settings are those of `ganlab.data.folder.Folder`.
    crop: Literal["none", "center", "random"] = "none"
    flip: bool = False
    background: str = "white"
    white: int = 65535
    direction: Literal["AtoB", "BtoA"] | None = None
    jitter: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a sample, (C, H, W); of a pair, the channels of its condition follow those of it."""
        return self.channels * (1 if self.direction is None else 2), self.height, self.width

    @property
    def crops_at_random(self) -> bool:
        """Whether decoded images are larger than samples, so that a crop has a random position."""
        return self.crop == "random" or self.jitter > 0


class Unreadable(ConfigError):  # noqa: N818
    """A file is not a usable image."""


@contextmanager
def open_image(file: Path) -> Iterator[Image.Image]:
    """Opens an image file, and reads only its header.

    Raises:
        Unreadable: the file is damaged or not an image. Damage may show only when the block reads pixels, so
            any exception of the block is taken as a sign of damage.
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
        raise Unreadable(f"{escape_unprintable(str(file))} {reason}", REPAIR) from error


def resource_error(subject: str, error: BaseException) -> ConfigError:
    """The error about a lack of memory, open files or processes.

    Args:
        subject: what cannot be read: the path of a file, or the word "images".
    """
    remedy = "lower data.num_workers, or raise the limit of files, processes or memory (ulimit -n, -u, -v)"
    return ConfigError(f"{subject} cannot be read ({error_message(error)})", remedy)


def orientation(image: Image.Image) -> int:
    """The orientation by EXIF, 1 to 8; 1 (upright) if the EXIF data are missing or damaged."""
    with suppress(Exception):
        return int(image.getexif().get(Base.Orientation, 1))
    return 1


def upright(image: Image.Image, frame: int) -> Image.Image:
    """A frame of an open image, with its pixels, in the orientation by EXIF."""
    if frame:
        image.seek(frame)
    image.load()  # before EXIF is read, so that damaged pixels are reported
    transpose = UPRIGHT.get(orientation(image))
    return image if transpose is None else image.transpose(transpose)


def read_header(file: Path) -> tuple[int, int, str]:
    """The height and the width of an image in its upright orientation, and its Pillow mode; reads no pixels.

    Raises:
        Unreadable, ConfigError: as in `open_image`.
    """
    with open_image(file) as image:
        is_sideways = orientation(image) >= 5
        height, width = image.size if is_sideways else image.size[::-1]  # Pillow's size is (width, height)
        return height, width, image.mode


def decode_pair(file: Path, condition: Path, spec: ImageSpec, warnings: dict[str, str]) -> np.ndarray:
    """Decodes a sample and its condition, which is in a file of its own, to uint8 [2 C, h, w].

    Raises:
        Unreadable, ConfigError: as in `open_image`; or the two images differ in size.
    """
    (height, width, _), (other_height, other_width, _) = read_header(file), read_header(condition)
    reason = f"{file} is {width}x{height}, but {condition} is {other_width}x{other_height}"
    require((height, width) == (other_height, other_width), reason, "resize one of them")
    alone = spec._replace(direction=None)
    return np.concatenate([decode_image(path, alone, warnings) for path in (file, condition)])


def frame_times(file: Path) -> list[int]:
    """The time for which each frame of an animation is shown, in milliseconds; a single 0 for a still image.

    Raises:
        Unreadable, ConfigError: as in `open_image`.
    """
    with open_image(file) as image:
        times = []
        for frame in range(getattr(image, "n_frames", 1) if image.format in ("GIF", "WEBP", "PNG") else 1):
            image.seek(frame)
            times.append(int(image.info.get("duration", 0)))
        return times


def decode_image(file: Path, spec: ImageSpec, warnings: dict[str, str], frame: int = 0) -> np.ndarray:
    """Decodes an image to uint8 [C, h, w]: the size of `spec`, or just covering it if it is cropped later.

    Args:
        warnings: the warnings about all files so far, at most one with each key. Warnings about this file are
            added, with the key `frames` or `dark`.
        frame: the number of a frame of an animation.

    Raises:
        Unreadable, ConfigError: as in `open_image`.
    """
    with open_image(file) as image:
        # Counting frames is slow. `warnings` is shared by many files, so after the first warning about frames
        # they are no longer counted. The second frame of an MPO file, which phones write, is only a preview.
        frames = 1 if "frames" in warnings or image.format == "MPO" else getattr(image, "n_frames", 1)
        if frames > 1:
            warnings["frames"] = f"{file} has {frames} frames, of which the first is used"
        # In these modes, Pillow keeps only the high byte of 16-bit values. That the file has 16 bits shows
        # only in the raw mode of its tiles, such as RGB;16B.
        drops_low_byte = image.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(image, "tile", ""))
        turned = upright(image, frame)
        if drops_low_byte:  # << 8 restores the range of 16 bits
            _warn_if_dark(int(np.asarray(turned.convert("RGB")).max()) << 8, spec, file, warnings)
        parts = [
            resize_image(_to_eight_bits(part, spec, file, warnings), spec) for part in _parts(turned, spec)
        ]
    return np.concatenate(parts)


def _parts(image: Image.Image, spec: ImageSpec) -> list[Image.Image]:
    """The sample, and then its condition if the file is a pair; a middle column belongs to neither."""
    if spec.direction is None:
        return [image]
    width, half = image.width, image.width // 2
    left, right = (image.crop((x, 0, x + half, image.height)) for x in (0, width - half))
    return [right, left] if spec.direction == "AtoB" else [left, right]


def resize_image(image: Image.Image, spec: ImageSpec) -> np.ndarray:
    """Resizes an image of 8 bits to [C, h, w]: the size of `spec` with its jitter, or just covering it."""
    size = width, height = spec.width + spec.jitter, spec.height + spec.jitter
    if spec.crop != "none":
        scale = max(width / image.width, height / image.height)
        width, height = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    # Pillow antialiases when it reduces an image.
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    if spec.crop == "center" and spec.jitter:
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        image = image.crop((left, top, left + size[0], top + size[1]))
    width, height = image.size
    pixels = np.array(image)  # [h, w] or [h, w, 3]
    return np.ascontiguousarray(pixels.reshape(height, width, spec.channels).transpose(2, 0, 1))


def _to_eight_bits(image: Image.Image, spec: ImageSpec, file: Path, warnings: dict[str, str]) -> Image.Image:
    """Converts an image of any mode to grey or colour of 8 bits; transparent parts show the background.

    Raises:
        ValueError: the range of the pixels is unknown, or exceeds `spec.white`.
    """
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # Pillow's convert would clip the values at 255
        values = np.asarray(image)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > spec.white:
            raise ValueError(f"pixels are from {low:,} to {high:,}, but white is data.white={spec.white}")
        _warn_if_dark(high, spec, file, warnings)
        image = Image.fromarray(np.round(values / (spec.white / 255)).astype(np.uint8))
    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, spec.background)
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return image.convert("L" if spec.channels == 1 else "RGB")


def _warn_if_dark(high: int, spec: ImageSpec, file: Path, warnings: dict[str, str]) -> None:
    """Adds a warning if the largest value of an image, `high`, is at most a quarter of white.

    The warning suggests a value of white, the largest number with as many bits as `high`.
    """
    if 0 < high <= spec.white // 4:
        warnings["dark"] = (
            f"the largest value of {file} is {high:,} of {spec.white:,}, so the image is dark: scale such "
            "files, or, in a run on grey files, set data.white to the value that is white in them, perhaps "
            f"{2 ** high.bit_length() - 1}"
        )


def crop_image(image: Tensor, spec: ImageSpec, random_numbers: Tensor = NOT_AUGMENTED) -> Tensor:
    """Crops a decoded image, [C, h, w] -> [C, H, W], and perhaps mirrors it.

    Args:
        random_numbers: the image's random numbers [3]. `NOT_AUGMENTED` gives the centre, not mirrored.
    """
    _, top_number, left_number = random_numbers if spec.crops_at_random else NOT_AUGMENTED
    top = int(crop_offset(top_number, torch.tensor(image.shape[1] - spec.height)))
    left = int(crop_offset(left_number, torch.tensor(image.shape[2] - spec.width)))
    window = image[:, top : top + spec.height, left : left + spec.width]
    return window.flip(-1) if spec.flip and is_mirrored(random_numbers) else window
