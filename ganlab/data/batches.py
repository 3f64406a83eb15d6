"""Which samples are in batch k, as a function of (seed, k), and how they are mirrored and cropped."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError, require
from ganlab.core.randomness import derive_seed, seeded_generator

# A function that is given the number k and the size B of a global batch, and returns the positions of its
# samples in their source, [B] int64.
RowsOfBatch = Callable[[int, int], Tensor]
# The random numbers of a sample that is not mirrored, and is cropped in the middle.
NOT_AUGMENTED = torch.full((3,), 0.5)


class BatchIndices(NamedTuple):
    """Which samples of a source are in one batch, and how they are augmented. The tensors are on the CPU."""

    rows: Tensor  # [b] int64, the positions of the samples in the source
    # [b, 3] float32, uniform in [0, 1): for each sample, whether it is mirrored, and the row and the column
    # at which its crop begins.
    random_numbers: Tensor


def rows_by_epoch(seed: int, num_samples: int) -> RowsOfBatch:
    """Returns a function that gives the rows of global batch k, for training epoch by epoch.

    An epoch is a random permutation of all samples. The samples that remain after its last whole batch are
    left out.
    """

    @lru_cache(maxsize=1)
    def permutation(epoch: int) -> Tensor:
        # Drawn on the CPU, so that it is the same for every device.
        return torch.randperm(num_samples, generator=seeded_generator(seed, "data", epoch))

    def rows_of_batch(k: int, size: int) -> Tensor:
        epoch, i = divmod(k, num_samples // size)  # batch i of the epoch
        return permutation(epoch)[i * size : (i + 1) * size]

    return rows_of_batch


class LabelledSubset:
    """The training samples whose labels a semi-supervised trick may see, equally many of each class.

    Args:
        labels: the labels of all training samples, [N].
        count: the size of the subset.
        num_classes: the number of classes; None: games are told no labels.

    Raises:
        ConfigError: there are no labels, `count` is not a multiple of `num_classes`, or a class is too small.
    """

    def __init__(self, labels: Tensor | None, count: int, num_classes: int | None):
        if labels is None or num_classes is None:
            reason = "the labels of these data only choose samples, because games are not told them"
            reason = "needs data with labels" if labels is None else reason
            raise ConfigError(reason, "remove it", ".labelled", count)
        self.labels, self.num_classes = labels.cpu(), num_classes
        self.per_class, rest = divmod(count, num_classes)
        reason = f"cannot be divided among the {num_classes} classes"
        require(rest == 0, reason, f"set it to a multiple of {num_classes}", ".labelled", count)
        smallest = int(torch.bincount(self.labels, minlength=num_classes).min())
        reason = f"takes {self.per_class} samples of each class, but one class has only {smallest}"
        remedy = f"set it to {smallest * num_classes} or less"
        require(self.per_class <= smallest, reason, remedy, ".labelled", count)

    def rows(self, seed: int) -> Tensor:
        """The rows of the subset's samples among the training samples, [count]. The seed chooses them."""
        order = torch.randperm(len(self.labels), generator=seeded_generator(seed, "labelled"))
        classes = self.labels[order]
        return torch.cat([order[classes == label][: self.per_class] for label in range(self.num_classes)])

    def rows_by_permutation(self, seed: int) -> RowsOfBatch:
        """Returns a function that gives the rows of global batch k, all of them rows of the subset.

        Batches are successive parts of an endless sequence, which consists of one permutation of the subset
        after another. A batch that extends over several permutations may contain samples more than once.
        """
        rows, order_seed = self.rows(seed), derive_seed(seed, "labelled")
        count = len(rows)

        def rows_of_batch(k: int, size: int) -> Tensor:
            first, last = k * size, (k + 1) * size - 1  # the batch's first and last position in the sequence
            needed = range(first // count, last // count + 1)  # the permutations over which it extends
            order = [torch.randperm(count, generator=seeded_generator(order_seed, i)) for i in needed]
            return rows[torch.cat(order)[first % count :][:size]]  # without what precedes the batch

        return rows_of_batch


def sequential_batches(rows: Tensor, batch_size: int) -> Iterator[BatchIndices]:
    """Divides rows [n] into batches in their order, not augmented; the last batch may be smaller."""
    return (BatchIndices(part, NOT_AUGMENTED.expand(len(part), 3)) for part in rows.split(batch_size))


def is_mirrored(random_numbers: Tensor) -> Tensor:
    """Whether each sample is mirrored, by its random numbers, [..., 3] -> [...] bool."""
    return random_numbers[..., 0] < 0.5


def crop_offset(random_number: Tensor, max_offset: Tensor) -> Tensor:
    """The first row or column of each crop, uniform in {0, ..., max_offset}.

    Args:
        random_number: the second or the third random number of each sample, [b] float32. The type is the
            same for images in files and in memory, so that both round alike.
        max_offset: the largest offset, the size of the image minus that of the crop, [b] int64.
    """
    return (random_number * (max_offset + 1)).long().minimum(max_offset)
