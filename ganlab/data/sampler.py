"""The rows of batch k, as functions of (seed, k), and what random numbers do to a sample."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.core.randomness import derive_seed, seeded_generator

# The random numbers of a sample that is not mirrored, and is cropped in the middle.
NOT_AUGMENTED = torch.full((3,), 0.5)
GlobalRows = Callable[[int, int], Tensor]  # (k, B) -> the rows of global batch k of B samples, [B] int64


class BatchIndices(NamedTuple):
    """The part of one global batch that one process reads, on the CPU."""

    rows: Tensor  # [b] int64, the positions of samples in their source
    # [b, 3] uniform in [0, 1). The numbers of a sample determine whether it is mirrored, the first row of its
    # crop, and the first column of its crop.
    random_numbers: Tensor


def epoch_batches(seed: int, num_samples: int) -> GlobalRows:
    """Batches of successive epochs. An epoch is a permutation of all samples without its incomplete batch."""

    @lru_cache(maxsize=1)
    def permutation(epoch: int) -> Tensor:
        # Drawn on the CPU, so that it is the same for every device.
        return torch.randperm(num_samples, generator=seeded_generator(seed, "data", epoch))

    def batch(k: int, size: int) -> Tensor:
        epoch, i = divmod(k, num_samples // size)  # batch i of the epoch
        return permutation(epoch)[i * size : (i + 1) * size]

    return batch


class LabelledSubset:
    """The training samples whose labels a semi-supervised run may see, equally many of each class.

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
        uneven = f"cannot be divided among the {num_classes} classes"
        require(rest == 0, uneven, f"set it to a multiple of {num_classes}", ".labelled", count)
        smallest = int(torch.bincount(self.labels, minlength=num_classes).min())
        too_many = f"takes {self.per_class} samples of each class, but one class has only {smallest}"
        remedy = f"set it to {smallest * num_classes} or less"
        require(self.per_class <= smallest, too_many, remedy, ".labelled", count)

    def rows(self, seed: int) -> Tensor:
        """The rows of the subset among the training samples, [count], as chosen by the seed."""
        order = torch.randperm(len(self.labels), generator=seeded_generator(seed, "labelled"))
        classes = self.labels[order]
        return torch.cat([order[classes == label][: self.per_class] for label in range(self.num_classes)])

    def batches(self, seed: int) -> GlobalRows:
        """Batches of an endless sequence: one permutation of the subset after the other.

        A batch may extend over several permutations, and then contains samples more than once.
        """
        rows, order_seed = self.rows(seed), derive_seed(seed, "labelled")
        count = len(rows)

        def batch(k: int, size: int) -> Tensor:
            first, last = k * size, (k + 1) * size - 1  # positions in the sequence
            overlapped = range(first // count, last // count + 1)  # the numbers of the permutations
            order = [torch.randperm(count, generator=seeded_generator(order_seed, i)) for i in overlapped]
            return rows[torch.cat(order)[first % count :][:size]]  # skips the part before the batch

        return batch


def sequential_batches(rows: Tensor, batch_size: int) -> Iterator[BatchIndices]:
    """Batches of the given rows [n] in their order, not augmented; the last batch may be smaller."""
    return (BatchIndices(part, NOT_AUGMENTED.expand(len(part), 3)) for part in rows.split(batch_size))


def is_mirrored(random_numbers: Tensor) -> Tensor:
    """Whether each sample is mirrored, by its random numbers, [..., 3] -> [...] bool."""
    return random_numbers[..., 0] < 0.5


def crop_offset(random_numbers: Tensor, max_offset: Tensor) -> Tensor:
    """The first row or column of each crop, uniform in {0, ..., max_offset}, [b] -> [b] int64."""
    # Always float32, so that crops of single files and crops of whole batches in memory round equally.
    return (random_numbers * (max_offset + 1)).long().minimum(max_offset)
