"""Image files as a source: read by worker processes when a batch wants them, or into memory at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ganlab.data.listing import Listing
from ganlab.data.look import Look, cut, decode
from ganlab.data.order import Request, still
from ganlab.data.sources import Memory, Ragged, Samples, Source, pick, present
from ganlab.errors import Refused

CHUNK = 64  # files that a worker reads before it answers

Wanted = tuple[list[int], list[list[float]]]  # a request as plain numbers: [b] files, [b, 3] chance
Found = tuple[Tensor, list[int], list[int]]  # images [b, C, H, W], the files used, those passed over


class Files(Source):
    """Images that are read when a batch wants them, by `num_workers` processes.

    A broken file is refused when it is met; or, where there is a list `skipped`, the next good one takes
    its place, the first following the last, and its path is appended.
    """

    remedy = "remove it, or set data.on_corrupt=skip"  # of a file that cannot be read

    def __init__(self, found: Listing, look: Look, num_workers: int, skipped: list[str] | None):
        self.files = found.files
        self.labels = found.labels
        self.look = look
        self.num_workers = num_workers
        self.skipped = skipped
        self.augments = look.flip or look.crop == "random"

    def __len__(self) -> int:
        return len(self.files)

    @property
    def num_bytes(self) -> int:
        """What the images would take in memory, guessed at two windows each where crops are random."""
        look = self.look
        return len(self) * look.channels * look.height * look.width * (2 if look.crop == "random" else 1)

    def move(self, device: torch.device) -> None:
        """Nothing is held in memory."""

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        reading = Batches(self.files, self.look, skip=self.skipped is not None)
        for answer in self._read(reading, map(_plain, requests)):
            if isinstance(answer, str):
                raise Refused(f"{answer}: {self.remedy}")
            x, used, passed = answer
            for i in passed:
                self._note(i)
            yield x, pick(self.labels, used)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        middles = ((i, cut(image, self.look, still(1)[0])) for i, image in self.images())
        while some := list(islice(middles, batch_size)):
            numbers, windows = zip(*some, strict=True)
            yield torch.stack(windows), pick(self.labels, list(numbers))

    def contents(self) -> Iterator[Tensor | str]:
        """The names of the files, from the folder on that all of them share, and their sizes in bytes."""
        home = os.path.commonpath([file.parent for file in self.files])
        for file in self.files:
            yield f"{file.relative_to(home)} {file.stat().st_size}"
        yield from present(self.labels)

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """Every image that can be read, [C, h, w] not yet cut, with its number."""
        good = 0
        chunks = [range(i, min(i + CHUNK, len(self))) for i in range(0, len(self), CHUNK)]
        answers = self._read(Chunks(self.files, self.look), chunks)
        for i, answer in enumerate(chain.from_iterable(answers)):
            if not isinstance(answer, str):
                good += 1
                yield i, torch.from_numpy(answer)
            elif self.skipped is None:
                raise Refused(f"{answer}: {self.remedy}")
            else:
                self._note(i)
        if not good:
            raise Refused(none_readable(self.files))

    def held(self) -> Source:
        """The same samples, read into memory now: the same batches, bit for bit."""
        look = self.look
        numbers, kept = [], []
        for i, image in self.images():
            numbers.append(i)
            kept.append(image if look.crop == "random" else cut(image, look, still(1)[0]))
        labels = pick(self.labels, numbers)
        if look.crop == "random":
            source: Source = Ragged(kept, labels, (look.channels, look.height, look.width), look.flip)
        else:
            source = Memory(torch.stack(kept), labels, look.flip)
        return source if len(numbers) == len(self) else Patched(source, torch.tensor(numbers), len(self))

    def _note(self, i: int) -> None:
        """Notes a broken file, once however often it is met."""
        name = str(self.files[i])
        if self.skipped is not None and name not in self.skipped:
            self.skipped.append(name)

    def _read(self, what: Dataset[Any], keys: Iterable[Any]) -> Iterable[Any]:
        return DataLoader(
            what,
            batch_size=None,
            sampler=keys,
            num_workers=self.num_workers,
            collate_fn=_unchanged,
            worker_init_fn=_deaf,
            generator=torch.Generator(),  # else each start draws a number from the game's own stream
        )


def _deaf(worker: int) -> None:
    """Leaves the signals that end a run to its first process, which ends its workers in order."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class Chunks(Dataset[list["np.ndarray | str"]]):
    """Many files at a time, [C, h, w] each: one by one they would spend their time between processes."""

    def __init__(self, files: list[Path], look: Look):
        self.files = files
        self.look = look

    def __getitem__(self, numbers: range) -> list[np.ndarray | str]:
        # As arrays they come through a pipe; a tensor would hold a file descriptor for as long as it lives.
        answers = [decode(self.files[i], self.look) for i in numbers]
        return [answer if isinstance(answer, str) else answer.numpy() for answer in answers]


class Batches(Dataset[Found | str]):
    """Whole batches, a broken file replaced by the next good one (`skip`), or the reason for none."""

    def __init__(self, files: list[Path], look: Look, skip: bool):
        self.files = files
        self.look = look
        self.skip = skip

    def __getitem__(self, wanted: Wanted) -> Found | str:
        windows: list[Tensor] = []
        used: list[int] = []
        passed: list[int] = []
        for number, chance in zip(*wanted, strict=True):
            found = self._good(number, passed)
            if isinstance(found, str):
                return found
            i, image = found
            used.append(i)
            windows.append(cut(image, self.look, torch.tensor(chance)))
        return torch.stack(windows), used, passed

    def _good(self, wanted: int, passed: list[int]) -> tuple[int, Tensor] | str:
        """The file wanted or the next good one after it, the first following the last."""
        for step in range(len(self.files)):
            i = (wanted + step) % len(self.files)
            image = decode(self.files[i], self.look)
            if isinstance(image, Tensor):
                return i, image
            if not self.skip:
                return image
            passed.append(i)
        return none_readable(self.files)


def none_readable(files: list[Path]) -> str:
    """What to say where every file is broken."""
    return f"none of the {len(files)} images can be read (one is {files[0]}): set data.root to good ones"


def _plain(request: Request) -> Wanted:
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
        self.labels = None if source.labels is None else source.labels[self.place]

    def __len__(self) -> int:
        return len(self.place)

    def move(self, device: torch.device) -> None:
        self.source.move(device)

    def batches(self, requests: Iterator[Request]) -> Iterator[Samples]:
        return self.source.batches(Request(self.place[rows], chance) for rows, chance in requests)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        return self.source.sweep(batch_size)

    def contents(self) -> Iterator[Tensor | str]:
        yield from self.source.contents()
        yield self.place
