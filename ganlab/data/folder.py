"""Any folder of images: its sub-folders are the classes, held in memory where it fits, else read as we go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ganlab.data.base import (
    Data,
    Memory,
    Ragged,
    Request,
    Samples,
    Source,
    agree,
    at_least,
    flips,
    image_range,
    offset,
    still,
)
from ganlab.errors import Refused

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
CHUNK = 64  # files that a worker reads before it answers
SPLITS = frozenset({"train", "test", "val", "valid", "validation"})


class Look(NamedTuple):
    """What every image is made into."""

    channels: int  # 1 grey, 3 colour
    height: int  # pixels
    width: int
    crop: str  # none: squeezed to the size; center, random: a window of the image resized to just cover it
    flip: bool  # mirror half of the training images


class Listing(NamedTuple):
    """The files of a split, sorted, with their classes."""

    files: list[Path]
    labels: Tensor | None  # [N] int64


class Folder(Data):
    """Images of any size and format in `root`, or in its train/ and test/ if it holds just these two.

    A folder of sub-folders has their sorted names as classes, however deep the files lie below them; one of
    images only has no labels. Hidden files are ignored. Whether the images are held in memory (where they
    take no more than `memory_limit` bytes, if `in_memory` is auto) changes no batch; `num_workers` processes
    read the files. A file that is no readable image is refused by name (`on_corrupt` is error), or its
    place is taken by the next good one (skip) and its path appended to `skipped`: files that do not look
    like images at once, others when they are read.

    Raises:
        Refused: there are no images, a setting is not known, `shape` or `num_classes` contradict the rest,
            or, while reading, a file that cannot be read.
    """

    def __init__(
        self,
        root: str,
        test_root: str | None,
        channels: int,
        height: int,
        width: int,
        crop: Literal["none", "center", "random"],
        flip: bool,
        on_corrupt: Literal["error", "skip"],
        in_memory: bool | Literal["auto"],
        memory_limit: int,
        num_workers: int,
        shape: Sequence[int],
        num_classes: int | None,
        range: Sequence[float],
        batch_size: int,
    ):
        one_of("crop", crop, ("none", "center", "random"))
        one_of("on_corrupt", on_corrupt, ("error", "skip"))
        one_of("in_memory", in_memory, ("auto", True, False))
        one_of("channels", channels, (1, 3))
        at_least(1, height=height, width=width)
        at_least(0, num_workers=num_workers, memory_limit=memory_limit)
        agree("shape", shape, (channels, height, width))
        value_range = image_range(range)
        self.skipped: list[str] = []
        skipped = self.skipped if on_corrupt == "skip" else None
        folders = find_splits(root, test_root)
        classes = class_names(folders["train"])
        if num_classes is not None:
            agree("num_classes", num_classes, len(classes) or None)
        listings = {name: listing(folder, classes, skipped) for name, folder in folders.items()}
        look = Look(channels, height, width, crop, flip)
        files = {name: Files(found, look, num_workers, skipped) for name, found in listings.items()}
        if in_memory == "auto":
            in_memory = sum(source.num_bytes for source in files.values()) <= memory_limit
        sources = {name: source.held() if in_memory else source for name, source in files.items()}
        super().__init__(shape, len(classes) or None, value_range, batch_size, sources)


def one_of(name: str, value: object, known: Sequence[object]) -> None:
    """Refuses a setting that is not among the known ones."""
    if value not in known:
        raise Refused(f"data.{name}={value} is not known: choose from {', '.join(map(str, known))}")


def find_splits(root: str, test_root: str | None) -> dict[str, Path]:
    """The folders of the splits, "train" and maybe "test"."""
    home = existing("root", root)
    names = {place.name for place in home.iterdir() if place.is_dir() and not hidden(place)}
    if names == {"train", "test"}:
        if test_root is not None:
            raise Refused(f"data.test_root={test_root}, but data.root={root} holds test/: set it to null")
        return {"train": home / "train", "test": home / "test"}
    if names and names <= SPLITS:
        # As classes these would train a model to tell the training set from the validation set.
        raise Refused(
            f"data.root={root} holds only the splits {', '.join(sorted(names))}: "
            "set data.root to one of them, and data.test_root to another or null"
        )
    return {"train": home} if test_root is None else {"train": home, "test": existing("test_root", test_root)}


def existing(name: str, folder: str) -> Path:
    """The path of a folder that must be there."""
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise Refused(f"data.{name}={folder} is no folder: set data.{name} to a folder of images")
    return place


def hidden(place: Path) -> bool:
    """Whether a file or folder is not meant to be seen (.DS_Store, .ipynb_checkpoints)."""
    return place.name.startswith(".")


def class_names(folder: Path) -> list[str]:
    """The sorted names of the sub-folders; none where the images lie in the folder itself."""
    places = sorted(place for place in folder.iterdir() if not hidden(place))
    classes = [place.name for place in places if place.is_dir()]
    loose = [place.name for place in places if place.is_file() and place.suffix.lower() in ENDINGS]
    if classes and loose:
        raise Refused(f"{folder} holds both images ({loose[0]}) and folders ({classes[0]}): keep one kind")
    return classes


def listing(folder: Path, classes: list[str], skipped: list[str] | None) -> Listing:
    """The images of a split with the classes of the training split."""
    present = class_names(folder)
    if not set(present) <= set(classes) or bool(present) != bool(classes):
        raise Refused(f"{folder} has other classes than the training images: give both the same folders")
    files = images(walk(folder, deep=False), skipped)
    if not classes:
        return Listing(nonempty(folder, files), None)
    labels = []
    for name in present:
        group = nonempty(folder / name, images(walk(folder / name, deep=True), skipped))
        files += group
        labels += [classes.index(name)] * len(group)
    return Listing(files, torch.tensor(labels))


def walk(folder: Path, deep: bool) -> Iterator[Path]:
    """The files in a folder, sorted, then those in its sub-folders, nothing hidden."""
    places = sorted(place for place in folder.iterdir() if not hidden(place))
    yield from (place for place in places if not place.is_dir())
    if deep:
        for place in places:
            if place.is_dir():
                yield from walk(place, deep)


def images(files: Iterable[Path], skipped: list[str] | None) -> list[Path]:
    """The files that are named like images; others are noted in `skipped`, or refused if there is none."""
    kept = []
    for file in files:
        if file.suffix.lower() in ENDINGS:
            kept.append(file)
        elif skipped is None:
            raise Refused(f"{file} is no image: remove it, or set data.on_corrupt=skip")
        else:
            skipped.append(str(file))
    return kept


def nonempty(folder: Path, files: list[Path]) -> list[Path]:
    """The files, of which there must be some."""
    if not files:
        raise Refused(f"{folder} holds no images ({' '.join(ENDINGS)}): add some, or remove it")
    return files


def decode(file: Path, look: Look) -> Tensor:
    """One image, uint8 [C, h, w]: of the size asked for, or just covering it where it is to be cropped.

    Raises:
        Refused: the file cannot be read as an image.
    """
    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = np.array(_resized(_eight_bit(upright, look.channels), look))  # [h, w] or [h, w, 3]
    except Exception as error:  # decoders meet broken bytes with every kind of exception
        reason = " ".join(str(error).split())
        raise Refused(
            f"{file} cannot be read as an image ({reason}): remove it, or set data.on_corrupt=skip"
        ) from error
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


class Reader(Dataset[Tensor | str]):
    """File i decoded, or the reason why not: an exception would leave a worker as a page of traceback."""

    def __init__(self, files: list[Path], look: Look):
        self.files = files
        self.look = look

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor | str:
        try:
            return decode(self.files[i], self.look)
        except Refused as error:
            return str(error)


class Chunks(Dataset[list["np.ndarray | str"]]):
    """Many files at a time, [C, h, w] each: one by one they would spend their time between processes."""

    def __init__(self, reader: Reader):
        self.reader = reader

    def __getitem__(self, numbers: range) -> list[np.ndarray | str]:
        # As arrays they come through a pipe; a tensor would hold a file descriptor for as long as it lives.
        answers = map(self.reader.__getitem__, numbers)
        return [answer if isinstance(answer, str) else answer.numpy() for answer in answers]


class Batches(Dataset[tuple[Tensor, Tensor | None, list[int]] | str]):
    """Whole batches read from files, by the two lists of a request: (images, labels, files passed over)."""

    def __init__(self, reader: Reader, labels: Tensor | None, skip: bool):
        self.reader = reader
        self.labels = labels
        self.skip = skip

    def __getitem__(
        self, request: tuple[list[int], list[list[float]]]
    ) -> tuple[Tensor, Tensor | None, list[int]] | str:
        passed: list[int] = []
        used, windows = [], []
        for wanted, chance in zip(*request, strict=True):
            found = self._good(wanted, passed)
            if isinstance(found, str):
                return found
            used.append(found[0])
            windows.append(cut(found[1], self.reader.look, torch.tensor(chance)))
        return torch.stack(windows), None if self.labels is None else self.labels[used], passed

    def _good(self, wanted: int, passed: list[int]) -> tuple[int, Tensor] | str:
        """The file wanted or the next good one after it, the first following the last."""
        for step in range(len(self.reader)):
            i = (wanted + step) % len(self.reader)
            image = self.reader[i]
            if isinstance(image, Tensor):
                return i, image
            if not self.skip:
                return image
            passed.append(i)
        return none_readable(self.reader.files)


def none_readable(files: list[Path]) -> str:
    """What to say where every file is broken."""
    return f"none of the {len(files)} images can be read (one is {files[0]}): set data.root to good ones"


class Files(Source):
    """Images that are read when a batch wants them, by `num_workers` processes."""

    def __init__(self, found: Listing, look: Look, num_workers: int, skipped: list[str] | None):
        self.labels = found.labels
        self.reader = Reader(found.files, look)
        self.num_workers = num_workers
        self.skipped = skipped
        self.augments = look.flip or look.crop == "random"

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def num_bytes(self) -> int:
        """What the images would take in memory; those to be cropped at random are taken for twice as long."""
        look = self.reader.look
        return len(self) * look.channels * look.height * look.width * (2 if look.crop == "random" else 1)

    def move(self, device: torch.device) -> None:
        """Nothing is held in memory."""

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        reading = Batches(self.reader, self.labels, skip=self.skipped is not None)
        for answer in self._read(reading, map(_lists, requests)):
            if isinstance(answer, str):
                raise Refused(answer)
            x, labels, passed = answer
            self._note(passed)
            yield x, labels

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        kept: list[tuple[int, Tensor]] = []
        for i, image in self.images():
            kept.append((i, cut(image, self.reader.look, still(1)[0])))
            if len(kept) == batch_size:
                yield self._together(kept)
                kept = []
        if kept:
            yield self._together(kept)

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """Every image that can be read, [C, h, w] not yet cut, with its number."""
        good = 0
        chunks = [range(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]
        for i, answer in enumerate(chain.from_iterable(self._read(Chunks(self.reader), chunks))):
            if not isinstance(answer, str):
                good += 1
                yield i, torch.from_numpy(answer)
            elif self.skipped is None:
                raise Refused(answer)
            else:
                self._note([i])
        if not good:
            raise Refused(none_readable(self.reader.files))

    def held(self) -> Source:
        """The same samples, read into memory now: the same batches, bit for bit."""
        look = self.reader.look
        numbers, kept = [], []
        for i, image in self.images():
            numbers.append(i)
            kept.append(image if look.crop == "random" else cut(image, look, still(1)[0]))
        good = torch.tensor(numbers)
        labels = None if self.labels is None else self.labels[good]
        if look.crop == "random":
            source: Source = Ragged(kept, labels, (look.channels, look.height, look.width), look.flip)
        else:
            source = Memory(torch.stack(kept), labels, look.flip)
        return source if len(good) == len(self) else Patched(source, good, len(self))

    def _together(self, kept: list[tuple[int, Tensor]]) -> Samples:
        numbers, windows = zip(*kept, strict=True)
        return torch.stack(windows), None if self.labels is None else self.labels[list(numbers)]

    def _note(self, numbers: Iterable[int]) -> None:
        for i in numbers:
            name = str(self.reader.files[i])
            if self.skipped is not None and name not in self.skipped:
                self.skipped.append(name)

    def _read(self, what: Dataset[Any], keys: Iterable[Any]) -> Iterable[Any]:
        return DataLoader(
            what,
            batch_size=None,
            sampler=keys,
            num_workers=self.num_workers,
            collate_fn=_unchanged,
            generator=torch.Generator(),  # else each start draws a number from the game's own stream
        )


def _lists(request: Request) -> tuple[list[int], list[list[float]]]:
    """A request for a worker: a tensor would travel as shared memory, and take the whole epoch's along."""
    chance = still(len(request.rows)) if request.chance is None else request.chance
    return request.rows.tolist(), chance.tolist()


def _unchanged(answer: Any) -> Any:
    return answer


class Patched(Source):
    """The good images behind the numbers of all: in a bad one's place stands the next good one."""

    def __init__(self, source: Source, good: Tensor, size: int):
        self.source = source
        following = torch.searchsorted(good, torch.arange(size))  # [size], len(good) after the last
        self.place = following % len(good)
        self.augments = source.augments

    def __len__(self) -> int:
        return len(self.place)

    def move(self, device: torch.device) -> None:
        self.source.move(device)

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        return self.source.batches(Request(self.place[rows], chance) for rows, chance in requests)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        return self.source.sweep(batch_size)
