"""A source of samples in image files. Worker processes read them batch by batch, or all into memory."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, cycle, islice
from math import ceil
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, ProcessLost, escape_unprintable
from ganlab.data.batches import BatchIndices
from ganlab.data.image import ImageSpec, Unreadable, crop_image, decode_image, decode_pair, resource_error
from ganlab.data.sources import Samples, Source, TensorSource, VariableSizeImages, rows_of

# A fingerprint hashes at most MAX_FILE_BYTES of one file, at most MAX_FILES files, and of all files together
# at most MAX_TOTAL_BYTES.
MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES = 2**20, 10_000, 2**26
WORKER_DIED = (
    "a process that reads images has died, perhaps for lack of memory. Continue from the last checkpoint "
    "with resume=, and lower data.num_workers if that was the cause."
)

Item = TypeVar("Item")
Result = TypeVar("Result")
# Workers send arrays, because tensors would be sent through shared memory, of which a container has little.
Images = TypeVar("Images", np.ndarray, list[np.ndarray])  # [b, C, H, W], or b images of several sizes
# Images, the positions of their files, and the positions of skipped files.
ReadResult = tuple[Images, list[int], list[int]]


@dataclass(eq=False)
class ImageFiles(Source):
    """Images that are read when a batch needs them, by `num_workers` processes.

    Args:
        files: the paths of the N image files.
        labels: the labels of the files, [N] int64; None: there are no classes.
        spec: the channels, the size and the crop of the samples.
        num_workers: the number of reading processes; 0: this process reads the files.
        skipped: a list to which the path of each unreadable file is appended, with unprintable characters
            escaped. The next readable file replaces an unreadable one; after the last file, the search for it
            goes on at the first. None: an unreadable file is refused when it is read.
        remedy: what the user should do about an unreadable file, for the error that refuses it.
        conditions: the files of the conditions, [N]; None: no condition is an image in a file of its own.
    """

    files: list[Path]
    labels: Tensor | None
    spec: ImageSpec
    num_workers: int
    skipped: list[str] | None
    remedy: str
    conditions: list[Path] | None = None

    def __post_init__(self) -> None:
        self.augments = self.spec.flip or self.spec.crops_at_random
        # The warnings of `decode_image`: one text for each subject. A subject is a kind of problem, such as
        # "dark" for images that use only the lowest part of their range.
        self._warnings: dict[str, str] = {}
        self._printed: set[str] = set()  # the subjects of the warnings that have been printed

    def __len__(self) -> int:
        return len(self.files)

    def at(self, rows: Tensor) -> Self:
        files = [self.files[row] for row in rows.tolist()]
        conditions = self.conditions and [self.conditions[row] for row in rows.tolist()]
        part = replace(self, files=files, labels=rows_of(self.labels, rows), conditions=conditions)
        part.vectors = rows_of(self.vectors, rows)
        return part

    def move(self, device: torch.device) -> None:
        """Does nothing, because no sample is held in memory."""

    def batches(self, indices: Iterator[BatchIndices]) -> Iterator[Samples]:
        for images, positions in self._read(self._read_batch, indices):
            yield torch.from_numpy(images), self.told(positions)

    def all_samples(self, batch_size: int) -> Iterator[Samples]:
        samples = ((position, crop_image(image, self.spec)) for position, image in self.images())
        while batch := list(islice(samples, batch_size)):
            positions, x = zip(*batch, strict=True)
            yield torch.stack(x), self.told(list(positions))

    def fingerprint_parts(self) -> Iterator[Tensor | str]:
        """What `Data.fingerprint` hashes: the paths, the sizes and hashes of the files, labels and vectors.

        The paths are relative to the common folder of the files. Of each file, the beginning is hashed. If
        that is too much for all files, only every k-th file is hashed, with the smallest k that stays within
        the limits.
        """
        files = [*self.files, *(self.conditions or [])]
        folder = os.path.commonpath([file.parent for file in files])
        sizes = [file.stat().st_size if file.is_file() else 0 for file in files]
        total = sum(min(size, MAX_FILE_BYTES) for size in sizes)
        k = max(ceil(total / MAX_TOTAL_BYTES), ceil(len(files) / MAX_FILES), 1)
        for i, (file, size) in enumerate(zip(files, sizes, strict=True)):
            yield f"{file.relative_to(folder)} {size}"
            if size and i % k == 0 and os.access(file, os.R_OK):
                with file.open("rb") as stream:
                    yield sha256(stream.read(MAX_FILE_BYTES)).hexdigest()
        yield from (x for x in (self.labels, self.vectors) if x is not None)

    def images(self) -> Iterator[tuple[int, Tensor]]:
        """The position of each readable file in `files`, and its image before cropping, [C, h, w]."""
        num_readable = 0
        # A worker reads 64 files for one result.
        for images, positions in self._read(self._read_chunk, torch.arange(len(self)).split(64)):
            num_readable += len(positions)
            yield from zip(positions, map(torch.from_numpy, images), strict=True)
        if num_readable == 0:
            raise self._none_readable_error()

    def load_into_memory(self) -> Source:
        """Reads all samples into a source in memory, whose batches equal those of this source bit for bit.

        Row i of the new source is the sample of file i. If file i is unreadable, row i is a copy of the next
        readable file's row; after the last file, the search for it goes on at the first. `distinct_rows` are
        the rows of readable files.
        """
        spec, uncropped = self.spec, self.spec.crops_at_random
        samples = ((i, image if uncropped else crop_image(image, spec)) for i, image in self.images())
        positions, images = map(list, zip(*samples, strict=True))
        readable = torch.tensor(positions)  # [M], increasing
        # For each row, the index in `readable` of the file that it shows, [N]. After the last readable file,
        # the modulus leads to the first.
        indices = torch.searchsorted(readable, torch.arange(len(self))) % len(readable)
        images = [images[index] for index in indices.tolist()]
        labels = rows_of(self.labels, readable[indices])
        source: Source
        if uncropped:
            source = VariableSizeImages(images, labels, spec.shape, spec.flip, readable)
        else:
            source = TensorSource(torch.stack(images), labels, spec.flip, readable)
        source.vectors = rows_of(self.vectors, readable[indices])
        return source

    def _read(
        self, read: Callable[[Item], ReadResult[Images]], items: Iterable[Item]
    ) -> Iterator[tuple[Images, list[int]]]:
        """Calls `read` for each item in the workers; yields the images and the positions of their files.

        Prints the first warning about each subject, and records skipped files.
        """
        # Each worker has its own copy of this source, and sends the warnings of that copy with each result.
        results = parallel_map(lambda item: (read(item), self._warnings), items, self.num_workers)
        try:
            for (images, positions, skipped), warnings in results:
                for subject in sorted(warnings.keys() - self._printed):
                    print(f"data: {escape_unprintable(warnings[subject])}", file=sys.stderr, flush=True)
                    self._printed.add(subject)
                for path in (escape_unprintable(str(self.files[i])) for i in skipped):
                    if self.skipped is not None and path not in self.skipped:
                        self.skipped.append(path)
                yield images, positions
        except Unreadable as error:
            raise ConfigError(error.reason, self.remedy) from error

    def _read_chunk(self, positions: Tensor) -> ReadResult[list[np.ndarray]]:
        """The images of many files in one result, because sending a result is slower than reading a file."""
        skipped: list[int] = []
        decoded = dict(self._decode(positions.tolist(), skipped))
        return list(decoded.values()), list(decoded), skipped

    def _read_batch(self, indices: BatchIndices) -> ReadResult[np.ndarray]:
        """The crops of a batch, in which the next readable file replaces each unreadable file."""
        crops, positions = [], []
        skipped: list[int] = []
        for position, random_numbers in zip(indices.rows.tolist(), indices.random_numbers, strict=True):
            # The file at this position, then the files that can replace it, in their order.
            candidates = chain(range(position, len(self)), range(position))
            if (first_readable := next(self._decode(candidates, skipped), None)) is None:
                raise self._none_readable_error()
            readable_position, image = first_readable
            positions.append(readable_position)
            crops.append(crop_image(torch.from_numpy(image), self.spec, random_numbers))
        return torch.stack(crops).numpy(), positions, skipped

    def _decode(self, positions: Iterable[int], skipped: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The positions and images of readable files. Adds unreadable files to `skipped`, or refuses them."""
        for position in positions:
            file, spec, told = self.files[position], self.spec, self._warnings
            try:
                if self.conditions is None:
                    yield position, decode_image(file, spec, told)
                else:
                    yield position, decode_pair(file, self.conditions[position], spec, told)
            except Unreadable:
                if self.skipped is None:
                    raise
                skipped.append(position)

    def _none_readable_error(self) -> ConfigError:
        reason = f"none of the {len(self)} images can be read (one is {self.files[0]})"
        return ConfigError(reason, "set data.root to a folder of images")


def parallel_map(func: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """Yields func(item) for every item, in order. Worker w of W computes results w, w + W, w + 2 W, ....

    While this process waits for one worker, the others already compute their next results. Results travel
    through pipes, because containers have little shared memory. A worker marks the end of its results with
    None, so no result may be None. If this process dies, a worker's next write to its pipe fails and ends the
    worker.

    Args:
        num_workers: the number of processes; 0: this process computes the results.

    Raises:
        ProcessLost: a worker died.
        ConfigError: the system has too few processes, open files or memory.
    """
    if num_workers == 0:
        yield from map(func, items)
        return
    workers: list[tuple[int, Connection]] = []  # process ids and pipes
    creator = os.getpid()
    try:
        for w in range(num_workers):
            # A fork copies the state of `items`, even if they are an iterator. So each worker iterates over
            # all items, and computes every W-th of them.
            workers.append(_start_worker(func, islice(items, w, None, num_workers)))
        for _, pipe in cycle(workers):
            result = pipe.recv()
            if isinstance(result, Exception):
                raise result
            if result is None:
                return
            yield result
    except (EOFError, OSError) as error:
        # If a worker died, recv raises an EOFError between two results, and an OSError without errno in the
        # middle of a result.
        died = isinstance(error, EOFError) or error.errno is None
        raise (ProcessLost(WORKER_DIED) if died else resource_error("images", error)) from error
    finally:
        # A forked process also runs this block, when it discards its copy of this generator, but it must not
        # end the workers.
        if os.getpid() == creator:
            for process, pipe in workers:
                pipe.close()
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def _start_worker(func: Callable[[Item], Result], items: Iterable[Item]) -> tuple[int, Connection]:
    """Forks a worker; returns its process id, and the end of the pipe from which its results are received."""
    receiver, sender = Pipe(duplex=False)
    if process := os.fork():  # in the parent; 0 in the worker
        sender.close()
        return process, receiver
    try:
        for signal_number in (signal.SIGINT, signal.SIGTERM):  # the parent handles them, and ends its workers
            signal.signal(signal_number, signal.SIG_IGN)
        # All other files are closed. Otherwise locks and sockets of a killed parent would stay open here.
        last_descriptor = max(map(int, os.listdir("/dev/fd")))
        os.closerange(3, sender.fileno())
        os.closerange(sender.fileno() + 1, last_descriptor + 1)
        torch.set_num_threads(1)
        for item in items:
            sender.send(func(item))
        sender.send(None)
    except Exception as error:
        sender.send(error)
    finally:
        os._exit(0)  # not sys.exit, because exit handlers and buffered output belong to the parent
