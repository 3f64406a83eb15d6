"""A source of image files: worker processes read them batch by batch, or all of them into memory."""

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

from ganlab.core.errors import ConfigError, ProcessLost, escape_unprintable
from ganlab.data.image import ImageSpec, Unreadable, crop_image, decode_image, resource_error
from ganlab.data.sampler import BatchIndices, no_augmentation
from ganlab.data.sources import Memory, Samples, Source, VariableSizeImages, labels_at

CHUNK = 64  # files that a worker reads before it sends a result
# Limits on what a fingerprint reads: bytes of one file, number of files, bytes of all files.
FILE_BYTES, MAX_FILES, TOTAL_BYTES = 2**20, 10_000, 2**26

Key = TypeVar("Key")
Result = TypeVar("Result")
# Arrays, because tensors would be sent through shared memory, of which a container has little.
Images = TypeVar("Images", np.ndarray, list[np.ndarray])  # [b, C, H, W], or b images of several sizes
Decoded = tuple[Images, list[int], list[int]]  # images, the positions of their files and of skipped files


@dataclass(eq=False)
class ImageFiles(Source):
    """Images that are read when a batch needs them, by `num_workers` processes.

    Args:
        files: the paths of the N files.
        labels: the labels of the files, [N] int64; None: there are no classes.
        spec: the form of the decoded images.
        num_workers: the number of reading processes; 0: this process reads the files.
        skipped: receives the escaped path of each unreadable file, which the next readable file replaces
            (after the last file, the first). None: an unreadable file is refused when it is read.
        remedy: the remedy of the error about an unreadable file.
    """

    files: list[Path]
    labels: Tensor | None
    spec: ImageSpec
    num_workers: int
    skipped: list[str] | None
    remedy: str

    def __post_init__(self) -> None:
        self.augments = self.spec.flip or self.spec.crop == "random"
        self._warnings: dict[str, str] = {}  # a warning of each kind; every reading process has a copy
        self._printed: set[str] = set()  # the kinds of the warnings that were printed

    def __len__(self) -> int:
        return len(self.files)

    def move(self, device: torch.device) -> None:
        """Does nothing, because no sample is held in memory."""

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for images, positions in self._read(self._read_batch, indices):
            yield torch.from_numpy(images), labels_at(self.labels, positions)

    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        crops = ((i, crop_image(image, self.spec)) for i, image in self.images())
        while batch := list(islice(crops, batch_size)):
            positions, x = zip(*batch, strict=True)
            yield torch.stack(x), labels_at(self.labels, list(positions))

    def contents(self) -> Iterator[Tensor | str]:
        """The paths of the files relative to their common folder, their sizes, and hashes.

        Only the first mebibyte of a file is hashed. If that exceeds the limits, only every k-th file is
        hashed, with the smallest k that stays within them.
        """
        folder = os.path.commonpath([file.parent for file in self.files])
        sizes = [file.stat().st_size if file.is_file() else 0 for file in self.files]
        total = sum(min(size, FILE_BYTES) for size in sizes)
        every = max(ceil(total / TOTAL_BYTES), ceil(len(self) / MAX_FILES), 1)
        for i, (file, size) in enumerate(zip(self.files, sizes, strict=True)):
            yield f"{file.relative_to(folder)} {size}"
            if size and i % every == 0 and os.access(file, os.R_OK):
                with file.open("rb") as stream:
                    yield sha256(stream.read(FILE_BYTES)).hexdigest()
        if self.labels is not None:
            yield self.labels

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """Every readable image, [C, h, w] before cropping, with the position of its file."""
        chunks = [range(len(self))[i : i + CHUNK] for i in range(0, len(self), CHUNK)]
        readable = 0
        for images, positions in self._read(self._read_chunk, chunks):
            readable += len(positions)
            yield from zip(positions, map(torch.from_numpy, images), strict=True)
        if not readable:
            raise self._none_readable()

    def load_into_memory(self) -> Source:
        """Reads all samples into a source in memory, whose batches equal those of this one bit for bit."""
        spec, uncropped = self.spec, self.spec.crop == "random"
        decoded = ((i, image if uncropped else crop_image(image, spec)) for i, image in self.images())
        positions, images = map(list, zip(*decoded, strict=True))
        readable = torch.tensor(positions)  # [M] positions of the readable files among all N, increasing
        # For each file, the index of the first readable one from there on; after the last, the first.
        replacement = torch.searchsorted(readable, torch.arange(len(self))) % len(readable)  # [N]
        images = [images[i] for i in replacement.tolist()]
        labels = labels_at(self.labels, readable[replacement])
        if uncropped:
            return VariableSizeImages(images, labels, spec.shape, spec.flip, distinct_rows=readable)
        return Memory(torch.stack(images), labels, spec.flip, distinct_rows=readable)

    def _read(
        self, make: Callable[[Key], Decoded[Images]], keys: Iterable[Key]
    ) -> Iterator[tuple[Images, list[int]]]:
        """The images of each key and the positions of their files; prints one warning of each kind."""
        results = parallel_map(lambda key: (make(key), self._warnings), keys, self.num_workers)
        try:
            for (images, positions, skipped), warnings in results:
                for kind in sorted(warnings.keys() - self._printed):
                    print(f"data: {escape_unprintable(warnings[kind])}", file=sys.stderr, flush=True)
                    self._printed.add(kind)
                for name in (escape_unprintable(str(self.files[i])) for i in skipped):
                    if self.skipped is not None and name not in self.skipped:
                        self.skipped.append(name)
                yield images, positions
        except Unreadable as error:
            raise ConfigError(str(error), self.remedy) from error

    def _read_chunk(self, positions: range) -> Decoded[list[np.ndarray]]:
        """The images of many files, sent together, because sending each takes longer than reading it."""
        skipped: list[int] = []
        decoded = list(self._decode(positions, skipped))
        return [image for _, image in decoded], [i for i, _ in decoded], skipped

    def _read_batch(self, indices: BatchIndices) -> Decoded[np.ndarray]:
        """The crops of a batch. The next readable file replaces an unreadable one."""
        crops: list[Tensor] = []
        positions: list[int] = []
        skipped: list[int] = []
        rows, numbers = indices.rows, indices.random_numbers
        numbers = no_augmentation(len(rows)) if numbers is None else numbers
        for row, sample_numbers in zip(rows.tolist(), numbers, strict=True):
            candidates = chain(range(row, len(self)), range(row))
            position, image = next(self._decode(candidates, skipped), (None, None))
            if position is None or image is None:
                raise self._none_readable()
            positions.append(position)
            crops.append(crop_image(torch.from_numpy(image), self.spec, sample_numbers))
        return torch.stack(crops).numpy(), positions, skipped

    def _decode(self, positions: Iterable[int], skipped: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The positions and images of readable files; unreadable ones are added to `skipped`, or refused."""
        for i in positions:
            try:
                yield i, decode_image(self.files[i], self.spec, self._warnings)
            except Unreadable:
                if self.skipped is None:
                    raise
                skipped.append(i)

    def _none_readable(self) -> ConfigError:
        reason = f"none of the {len(self)} images can be read (one is {self.files[0]})"
        return ConfigError(reason, "set data.root to a folder of images")


WORKER_DIED = (
    "a process that reads images has died, perhaps for lack of memory. Continue from the last checkpoint "
    "with resume=, and lower data.num_workers if that was the cause."
)


def parallel_map(make: Callable[[Key], Result], keys: Iterable[Key], num_workers: int) -> Iterator[Result]:
    """Yields make(key) for every key, in order. Worker w of W computes results w, w + W, w + 2 W, ....

    Each worker is at least one result ahead. Results travel through pipes, because containers have little
    shared memory; no result may be None, which marks the end. If this process dies, a worker's next write to
    its pipe fails and ends the worker.

    Args:
        num_workers: the number of processes; 0: this process computes the results.

    Raises:
        ProcessLost: a worker died.
        ConfigError: the system has too few processes, open files or memory.
    """
    if num_workers == 0:
        yield from map(make, keys)
        return
    workers: list[tuple[int, Connection]] = []  # process ids and pipes
    creator = os.getpid()
    try:
        for worker in range(num_workers):
            workers.append(_start_worker(make, islice(keys, worker, None, num_workers)))
        for _, pipe in cycle(workers):
            result = pipe.recv()
            if isinstance(result, Exception):
                raise result
            if result is None:
                return
            yield result
    except (EOFError, OSError) as error:
        # recv raises an OSError without errno if the pipe ends in the middle of a result: the worker died.
        has_cause = isinstance(error, OSError) and error.errno is not None
        raise (resource_error("images", error) if has_cause else ProcessLost(WORKER_DIED)) from error
    finally:
        # A forked process also gets here, when it drops its copy of this generator; only the process that
        # started the workers may kill them.
        for process, pipe in workers if os.getpid() == creator else ():
            pipe.close()
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _start_worker(make: Callable[[Key], Result], keys: Iterable[Key]) -> tuple[int, Connection]:
    """Forks a worker; returns its process id, and the end of the pipe from which its results are received."""
    receiver, sender = Pipe(duplex=False)
    if process := os.fork():  # in the parent; 0 in the worker
        sender.close()
        return process, receiver
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the main process ends the run, and kills its workers
        # Close all other files: the locks and sockets of a killed parent must not stay open in its workers.
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
        os._exit(0)  # not sys.exit: exit handlers and buffered output belong to the parent
