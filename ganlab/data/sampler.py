"""The rows of batch k and the random numbers of its augmentation, as functions of (seed, k)."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.core.randomness import derive_seed, seeded_generator

GlobalBatch = Callable[[int, int], Tensor]  # k, B -> the rows of global batch k, [B] int64


class BatchIndices(NamedTuple):
    """The part of one global batch that one process reads, on the CPU."""

    rows: Tensor  # [b] int64, the positions of samples in their source
    random_numbers: Tensor | None  # [b, 3] uniform in [0, 1): flip, top, left; None: no augmentation


@dataclass(frozen=True)
class BatchSampler:
    """The batches of one process: rank r of W has rows r B / W to (r + 1) B / W - 1 of each global batch.

    Args:
        global_batch: returns the rows of a global batch.
        seed: the seed of the random numbers for augmentation.
        stages: the number of batches of each stage, and their global size B, a multiple of `world_size`. The
            last stage has no end.
        augments: whether batches come with random numbers.
    """

    global_batch: GlobalBatch
    seed: int
    stages: Sequence[tuple[int, int]]
    rank: int
    world_size: int
    augments: bool

    def batch(self, k: int) -> BatchIndices:
        """This process's part of global batch k, where k counts the batches of all stages."""
        ends = accumulate(length for length, _ in self.stages[:-1])
        _, size = self.stages[bisect_right(list(ends), k)]
        local = slice(self.rank * size // self.world_size, (self.rank + 1) * size // self.world_size)
        random_numbers = None
        if self.augments:
            random_numbers = torch.rand(size, 3, generator=seeded_generator(self.seed, "augment", k))[local]
        return BatchIndices(self.global_batch(k, size)[local], random_numbers)


def epoch_batches(seed: int, num_samples: int) -> GlobalBatch:
    """Batches of epochs, each a permutation of all samples, whose incomplete last batch is dropped."""

    @lru_cache(maxsize=1)
    def permutation(epoch: int) -> Tensor:
        # Drawn on the CPU, so that it is the same for every device.
        return torch.randperm(num_samples, generator=seeded_generator(seed, "data", epoch))

    def batch(k: int, size: int) -> Tensor:
        epoch, i = divmod(k, num_samples // size)
        return permutation(epoch)[i * size : (i + 1) * size]

    return batch


class LabelledSubset:
    """The training samples whose labels a semi-supervised run may see: `count / num_classes` of each class.

    Args:
        labels: the labels of all training samples, [N].
        count: the size of the subset.
        num_classes: the number of classes of the data.

    Raises:
        ConfigError: there are no labels, `count` is no multiple of `num_classes`, or a class is too small.
    """

    def __init__(self, labels: Tensor | None, count: int, num_classes: int | None):
        if labels is None or num_classes is None:
            raise ConfigError("needs data with labels", key=".labelled", value=count)
        self.labels, self.num_classes = labels.cpu(), num_classes
        self.per_class, rest = divmod(count, num_classes)
        reason = f"cannot be divided among the {num_classes} classes"
        require(not rest, ".labelled", count, reason, f"set it to a multiple of {num_classes}")
        fewest = int(torch.bincount(self.labels, minlength=num_classes).min())
        reason = f"takes {self.per_class} samples of each class, but one class has only {fewest}"
        maximum = fewest * num_classes
        require(count <= maximum, ".labelled", count, reason, f"set it to {maximum} or less")

    def rows(self, seed: int) -> Tensor:
        """The rows of the subset among the training samples, [count]; the seed determines them."""
        order = torch.randperm(len(self.labels), generator=seeded_generator(seed, "labelled"))
        classes = self.labels[order]
        return torch.cat([order[classes == label][: self.per_class] for label in range(self.num_classes)])

    def batches(self, seed: int) -> GlobalBatch:
        """Batches of a sequence of permutations of the subset, without a gap between two permutations.

        A batch may be larger than the subset, and then contains samples more than once.
        """
        rows, order_seed = self.rows(seed), derive_seed(seed, "labelled")
        length = len(rows)

        def batch(k: int, size: int) -> Tensor:
            first, end = k * size, (k + 1) * size
            passes = range(first // length, -(-end // length))  # the permutations that the batch overlaps
            order = [torch.randperm(length, generator=seeded_generator(order_seed, i)) for i in passes]
            return rows[torch.cat(order)[first % length :][:size]]

        return batch


def sequential_batches(rows: Tensor, batch_size: int) -> Iterator[BatchIndices]:
    """Batches of the given rows [n] in their order, not augmented; the last batch may be smaller."""
    return (BatchIndices(part, None) for part in rows.split(batch_size))


def no_augmentation(n: int, device: torch.device | str = "cpu") -> Tensor:
    """The random numbers [n, 3] with which samples are not mirrored, and are cropped in the middle."""
    return torch.full((n, 3), 0.5, device=device)


def is_mirrored(random_numbers: Tensor) -> Tensor:
    """Whether each sample is mirrored, by its random numbers, [b, 3] -> [b] bool."""
    return random_numbers[:, 0] < 0.5


def crop_offset(uniform: Tensor, spare: Tensor) -> Tensor:
    """The first row or column of a crop, uniform in {0, ..., spare}, in the shape of `uniform`."""
    # In float32, because samples in files are cropped one by one and those in memory together, and both ways
    # must round equally.
    return (uniform * (spare + 1)).long().minimum(spare)
