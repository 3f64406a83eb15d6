"""Image files as a source: read by worker processes batch by batch, or into memory at once."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, cycle, islice
from math import ceil
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, ProcessLost, printable
from ganlab.data.image import ImageSpec, Unreadable, crop_image, decode_image, resource_error
from ganlab.data.sampler import BatchIndices, no_augmentation
from ganlab.data.sources import InMemory, Memory, Samples, Source, VariableSizeImages, labels_at

CHUNK = 64  # files that a worker reads before it sends a result
# Limits of what a fingerprint reads: bytes of one file, number of files, bytes of all files.
FILE_BYTES, MAX_FILES, TOTAL_BYTES = 2**20, 10_000, 2**26

Key = TypeVar("Key")
Result = TypeVar("Result")
# Arrays, because tensors would travel in shared memory, of which a container has little.
Images = TypeVar("Images", np.ndarray, list[np.ndarray])  # [b, C, H, W], or of several sizes
Found = tuple[Images, list[int], list[int]]  # with the positions of their files, and of those skipped


@dataclass(eq=False)
class ImageFiles(Source):
    """Images that are read when a batch needs them, by `num_workers` processes.

    Args:
        files: N paths.
        labels: of the files, [N] int64; None: there are no classes.
        spec: the form of the decoded images.
        num_workers: 0: this process reads them.
        skipped: receives the path of each unreadable file, escaped. The next readable file replaces it, and
            the first follows the last. None: an unreadable file is refused when it is met.
        remedy: for unreadable files.
    """

    files: list[Path]
    labels: Tensor | None
    spec: ImageSpec
    num_workers: int
    skipped: list[str] | None
    remedy: str

    def __post_init__(self) -> None:
        self.augments = self.spec.flip or self.spec.crop == "random"
        self._remarks: dict[str, str] = {}  # by kind; of the process that decodes
        self._printed: set[str] = set()  # kinds of remarks

    def __len__(self) -> int:
        return len(self.files)

    def move(self, device: torch.device) -> None:
        """Nothing is held in memory."""

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for images, used in self._read(self._read_batch, indices):
            yield torch.from_numpy(images), labels_at(self.labels, used)

    def sweep(self, batch_size: int) -> Iterator[Samples]:
        crops = ((i, crop_image(image, self.spec)) for i, image in self.images())
        while batch := list(islice(crops, batch_size)):
            positions, x = zip(*batch, strict=True)
            yield torch.stack(x), labels_at(self.labels, list(positions))

    def contents(self) -> Iterator[Tensor | str]:
        """The paths of the files, relative to the folder that all of them share, their sizes and hashes.

        Only the first mebibyte is hashed and, if that is too much, only of every second, third, ... file.
        """
        home = os.path.commonpath([file.parent for file in self.files])
        sizes = [file.stat().st_size if file.is_file() else 0 for file in self.files]
        total = sum(min(size, FILE_BYTES) for size in sizes)
        every = max(ceil(total / TOTAL_BYTES), ceil(len(self) / MAX_FILES), 1)
        for i, (file, size) in enumerate(zip(self.files, sizes, strict=True)):
            yield f"{file.relative_to(home)} {size}"
            if size and i % every == 0 and os.access(file, os.R_OK):
                with file.open("rb") as stream:
                    yield sha256(stream.read(FILE_BYTES)).hexdigest()
        if self.labels is not None:
            yield self.labels

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """Every readable image, [C, h, w] before cropping, with the position of its file."""
        chunks = [range(len(self))[i : i + CHUNK] for i in range(0, len(self), CHUNK)]
        readable = 0
        for images, used in self._read(self._read_chunk, chunks):
            readable += len(used)
            yield from zip(used, map(torch.from_numpy, images), strict=True)
        if not readable:
            raise self._none_readable()

    def in_memory(self) -> Source:
        """The same samples, read into memory now. Their batches are the same, bit for bit."""
        spec, keeps_all = self.spec, self.spec.crop == "random"
        found = ((i, image if keeps_all else crop_image(image, spec)) for i, image in self.images())
        positions, images = map(list, zip(*found, strict=True))
        readable = torch.tensor(positions)  # [M] of N
        replaced = torch.searchsorted(readable, torch.arange(len(self))) % len(readable)  # [N]
        images = [images[i] for i in replaced.tolist()]
        labels = labels_at(self.labels, readable[replaced])
        if keeps_all:
            source: InMemory = VariableSizeImages(images, labels, spec[:3], spec.flip)
        else:
            source = Memory(torch.stack(images), labels, spec.flip)
        source.swept = readable
        return source

    def _read(
        self, make: Callable[[Key], Found[Images]], keys: Iterable[Key]
    ) -> Iterator[tuple[Images, list[int]]]:
        """The images of each key, read by the workers, and their files; prints remarks, each kind once."""
        found = parallel_map(lambda key: (make(key), self._remarks), keys, self.num_workers)
        try:
            for (images, used, skipped), remarks in found:
                for kind in sorted(remarks.keys() - self._printed):
                    print(f"data: {printable(remarks[kind])}", file=sys.stderr, flush=True)
                    self._printed.add(kind)
                for name in (printable(str(self.files[i])) for i in skipped):
                    if self.skipped is not None and name not in self.skipped:
                        self.skipped.append(name)
                yield images, used
        except Unreadable as error:
            raise ConfigError(str(error), self.remedy) from error

    def _read_chunk(self, positions: range) -> Found[list[np.ndarray]]:
        """Many files at once, because for each alone the workers would be busy with communication."""
        skipped: list[int] = []
        decoded = list(self._decode(positions, skipped))
        return [image for _, image in decoded], [i for i, _ in decoded], skipped

    def _read_batch(self, indices: BatchIndices) -> Found[np.ndarray]:
        """The crops of a batch; the next readable file replaces each unreadable one."""
        crops: list[Tensor] = []
        used: list[int] = []
        skipped: list[int] = []
        rows, numbers = indices.rows, indices.random_numbers
        numbers = no_augmentation(len(rows)) if numbers is None else numbers
        for row, own in zip(rows.tolist(), numbers, strict=True):
            candidates = chain(range(row, len(self)), range(row))
            found = next(self._decode(candidates, skipped), None)
            if found is None:
                raise self._none_readable()
            used.append(found[0])
            crops.append(crop_image(torch.from_numpy(found[1]), self.spec, own))
        return torch.stack(crops).numpy(), used, skipped

    def _decode(self, positions: Iterable[int], skipped: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The images of the readable files among these; the others are noted in `skipped`, or refused."""
        for i in positions:
            try:
                yield i, decode_image(self.files[i], self.spec, self._remarks)
            except Unreadable:
                if self.skipped is None:
                    raise
                skipped.append(i)

    def _none_readable(self) -> ConfigError:
        reason = f"none of the {len(self)} images can be read (one is {self.files[0]})"
        return ConfigError(reason, "set data.root to a folder of images")


def parallel_map(make: Callable[[Key], Result], keys: Iterable[Key], num_workers: int) -> Iterator[Result]:
    """make(key) of every key, in order, by `num_workers` processes in turn, each one result ahead.

    Results travel through pipes, because containers have little shared memory; none may be None. A reader
    ends when no process holds the other end of its pipe, so none survives, however this process ends.

    Raises:
        ProcessLost: a reader died.
        ConfigError: the system has too few processes, open files or memory.
    """
    if num_workers == 0:
        yield from map(make, keys)
        return
    readers: list[tuple[int, Connection]] = []
    own_process = os.getpid()
    try:
        for turn in range(num_workers):
            readers.append(_start_reader(make, islice(keys, turn, None, num_workers)))
        for _, pipe in cycle(readers):
            result = pipe.recv()
            if isinstance(result, Exception):
                raise result
            if result is None:
                return
            yield result
    except (EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a pipe that ends amid a result has none
            raise resource_error("images", error) from error
        raise ProcessLost(
            "a process that reads images has died, perhaps for lack of memory. Continue from the last "
            "checkpoint with resume=, and lower data.num_workers if that was the cause."
        ) from error
    finally:
        for process, pipe in readers if os.getpid() == own_process else ():  # a fork may drop its copy
            pipe.close()
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _start_reader(make: Callable[[Key], Result], keys: Iterable[Key]) -> tuple[int, Connection]:
    """A new process, and the end of the pipe from which its results are received."""
    receiver, sender = Pipe(duplex=False)
    if process := os.fork():
        sender.close()
        return process, receiver
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the main process ends a run, and then its readers
        # Locks and sockets of a process that was killed must not stay open in its readers.
        last = max(map(int, os.listdir("/dev/fd")))
        os.closerange(3, sender.fileno())
        os.closerange(sender.fileno() + 1, last + 1)
        torch.set_num_threads(1)
        for key in keys:
            sender.send(make(key))
        sender.send(None)
    except Exception as error:
        sender.send(error)
    finally:
        os._exit(0)  # what this process has open and registered is for its parent to end
