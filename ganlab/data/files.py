"""Image files as a source: read by worker processes when a batch wants them, or into memory at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain, islice
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, printable
from ganlab.data.image import ImageSpec, cut, decode
from ganlab.data.listing import Listing
from ganlab.data.readers import Answer, Key, read
from ganlab.data.sampler import BatchIndices, no_augmentation
from ganlab.data.sources import Memory, Samples, Source, VariableSizeImages, pick, present

CHUNK = 64  # files that a worker reads before it answers
PIECE, PIECES, BUDGET = 2**20, 10_000, 2**26  # of contents that are compared: bytes a file, files, bytes

# Arrays, since tensors would travel in shared memory, of which a container has little.
Found = tuple[np.ndarray, list[int], list[int]]  # [b, C, H, W], the files used, those passed over


class Files(Source):
    """Images that are read when a batch wants them, by `num_workers` processes.

    A broken file is refused when it is met; or, where there is a list `skipped`, the next good one takes
    its place, the first following the last, and its path is appended.
    """

    remedy = "mend or remove it, or set data.on_corrupt=skip"  # of a file that cannot be read

    def __init__(self, found: Listing, look: ImageSpec, num_workers: int, skipped: list[str] | None):
        self.files = found.files
        self.labels = found.labels
        self.look = look
        self.num_workers = num_workers
        self.skipped = skipped
        self.augments = look.flip or look.crop == "random"
        self._met: dict[str, str] = {}  # remarks of those who decode
        self._said: set[str] = set()  # kinds of them

    def __len__(self) -> int:
        return len(self.files)

    @property
    def num_bytes(self) -> int:
        """What the images would take in memory, guessed at two windows each where crops are random."""
        look = self.look
        return len(self) * look.channels * look.height * look.width * (2 if look.crop == "random" else 1)

    def move(self, device: torch.device) -> None:
        """Nothing is held in memory."""

    def batches(self, requests: Iterator[BatchIndices]) -> Iterator[Samples]:
        for answer in self._read(self._batch, requests):
            if isinstance(answer, str):
                raise ConfigError(f"{answer}: {self.remedy}")
            x, used, passed = answer
            for i in passed:
                self._note(i)
            yield torch.from_numpy(x), pick(self.labels, used)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        middles = ((i, cut(image, self.look, no_augmentation(1)[0])) for i, image in self.images())
        while some := list(islice(middles, batch_size)):
            numbers, windows = zip(*some, strict=True)
            yield torch.stack(windows), pick(self.labels, list(numbers))

    def contents(self) -> Iterator[Tensor | str]:
        """The names of the files, from the folder on that all of them share, their sizes and contents.

        Of contents it is the first mebibyte, and where that is too much, of every second, third, ... file.
        """
        home = os.path.commonpath([file.parent for file in self.files])
        sizes = [file.stat().st_size if file.is_file() else 0 for file in self.files]
        total = sum(min(size, PIECE) for size in sizes)
        every = max(ceil(total / BUDGET), ceil(len(self) / PIECES), 1)
        for i, (file, size) in enumerate(zip(self.files, sizes, strict=True)):
            yield f"{file.relative_to(home)} {size}"
            if size and i % every == 0 and os.access(file, os.R_OK):
                with file.open("rb") as opened:
                    yield sha256(opened.read(PIECE)).hexdigest()
        yield from present(self.labels)

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """Every image that can be read, [C, h, w] not yet cut, with its number."""
        good = 0
        chunks = [range(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]
        answers = self._read(self._chunk, chunks)
        for i, answer in enumerate(chain.from_iterable(answers)):
            if not isinstance(answer, str):
                good += 1
                yield i, torch.from_numpy(answer)
            elif self.skipped is None:
                raise ConfigError(f"{answer}: {self.remedy}")
            else:
                self._note(i)
        if not good:
            raise ConfigError(none_readable(self.files))

    def held(self) -> Source:
        """The same samples, read into memory now: the same batches, bit for bit."""
        look = self.look
        numbers, kept = [], []
        for i, image in self.images():
            numbers.append(i)
            kept.append(image if look.crop == "random" else cut(image, look, no_augmentation(1)[0]))
        labels = pick(self.labels, numbers)
        if look.crop == "random":
            source: Source = VariableSizeImages(
                kept, labels, (look.channels, look.height, look.width), look.flip
            )
        else:
            source = Memory(torch.stack(kept), labels, look.flip)
        return (
            source
            if len(numbers) == len(self)
            else WithReplacements(source, torch.tensor(numbers), len(self))
        )

    def _note(self, i: int) -> None:
        """Notes a broken file, once however often it is met."""
        name = printable(str(self.files[i]))
        if self.skipped is not None and name not in self.skipped:
            self.skipped.append(name)

    def _read(self, make: Callable[[Key], Answer], keys: Iterable[Key]) -> Iterator[Answer]:
        """make(key) of each key, by the workers; what they remark is told once."""
        for answer, met in read(lambda key: (make(key), self._met), keys, self.num_workers):
            for kind in sorted(met.keys() - self._said):
                print(f"data: {printable(met[kind])}", file=sys.stderr, flush=True)
                self._said.add(kind)
            yield answer

    def _chunk(self, numbers: range) -> list[np.ndarray | str]:
        """Many files at a time: one by one they would spend their time between processes."""
        return [decode(self.files[i], self.look, self._met) for i in numbers]

    def _batch(self, wanted: BatchIndices) -> Found | str:
        """A whole batch, a broken file replaced by the next good one, or the reason for none."""
        chances = no_augmentation(len(wanted.rows)) if wanted.chance is None else wanted.chance
        windows: list[Tensor] = []
        used: list[int] = []
        passed: list[int] = []
        for number, chance in zip(wanted.rows.tolist(), chances, strict=True):
            found = self._good(number, passed)
            if isinstance(found, str):
                return found
            i, image = found
            used.append(i)
            windows.append(cut(image, self.look, chance))
        return torch.stack(windows).numpy(), used, passed

    def _good(self, wanted: int, passed: list[int]) -> tuple[int, Tensor] | str:
        """The file wanted or, where that is broken and may be skipped, the next good one."""
        for step in range(len(self.files)):
            i = (wanted + step) % len(self.files)
            image = decode(self.files[i], self.look, self._met)
            if not isinstance(image, str):
                return i, torch.from_numpy(image)
            if self.skipped is None:
                return image
            passed.append(i)
        return none_readable(self.files)


def none_readable(files: list[Path]) -> str:
    """What to say where every file is broken."""
    return f"none of the {len(files)} images can be read (one is {files[0]}): set data.root to good ones"


class WithReplacements(Source):
    """The good images behind the numbers of all: in a bad one's place stands the next good one."""

    def __init__(self, source: Source, good: Tensor, size: int):
        self.source = source
        following = torch.searchsorted(good, torch.arange(size))  # [size], len(good) after the last
        self.place = following % len(good)
        self.augments = source.augments
        self.labels = None if source.labels is None else source.labels[self.place]

    def __len__(self) -> int:
        return len(self.place)

    def move(self, device: torch.device) -> None:
        self.source.move(device)

    def batches(self, requests: Iterator[BatchIndices]) -> Iterator[Samples]:
        return self.source.batches(BatchIndices(self.place[rows], chance) for rows, chance in requests)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        return self.source.sweep(batch_size)

    def contents(self) -> Iterator[Tensor | str]:
        yield from self.source.contents()
        yield self.place
