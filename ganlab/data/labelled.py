"""The few samples whose labels a semi-supervised run may see: a second stream beside the training batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import derive_seed, seeded_generator
from ganlab.data.sampler import BatchIndices, Plan
from ganlab.data.sources import LabelledBatch, Samples, Source


class Labelled:
    """Which `count` training samples show their labels: as many of each class, chosen by the seed.

    Raises:
        ConfigError: the count does not divide among the classes, or a class has too few samples.
    """

    def __init__(self, labels: Tensor, count: int, num_classes: int):
        if count % num_classes:
            raise ConfigError(
                f"data.labelled={count} must be as many of each of the {num_classes} classes: "
                "set it to a multiple of them"
            )
        self.each = count // num_classes
        self.num_classes = num_classes
        self.labels = labels.cpu()
        fewest = int(torch.bincount(self.labels, minlength=num_classes).min())
        if self.each > fewest:
            raise ConfigError(
                f"data.labelled={count} wants {self.each} samples of each class, but one has only {fewest}: "
                f"set it to {fewest * num_classes} or less"
            )

    def rows(self, seed: int) -> Tensor:
        """Their numbers among the training samples, [count]."""
        order = torch.randperm(len(self.labels), generator=seeded_generator(seed, "labelled"))
        classes = self.labels[order]
        return torch.cat([order[classes == label][: self.each] for label in range(self.num_classes)])


def labelled_among(source: Source, count: int | None, num_classes: int) -> Labelled | None:
    """The labelled samples of a source; None where no count is given."""
    assert source.labels is not None
    return None if count is None else Labelled(source.labels, count, num_classes)


class LabelledPlan(Plan):
    """Batch k of some chosen samples: one permutation of them after another, cut into batches without a rest.

    They may be fewer than a batch holds: it then shows some of them more than once.
    """

    def __init__(
        self, chosen: Tensor, seed: int, batch_size: int, rank: int, world_size: int, augments: bool
    ):
        # A seed of its own: what chance does to it has nothing to do with the batch beside it.
        super().__init__(derive_seed(seed, "labelled"), len(chosen), batch_size, rank, world_size, augments)
        self.chosen = chosen

    def request(self, k: int) -> BatchIndices:
        first, last = k * self.batch_size, (k + 1) * self.batch_size
        turns = range(first // self.size, -(-last // self.size))
        order = torch.cat([self._permutation(turn) for turn in turns])[first - turns[0] * self.size :]
        return BatchIndices(self.chosen[order[: self.batch_size]][self.rows], self._chance(k))

    def _permutation(self, turn: int) -> Tensor:
        return torch.randperm(self.size, generator=seeded_generator(self.seed, turn))


@dataclass
class Pairs:
    """Two streams side by side."""

    batches: Iterable[Samples]
    labelled: Iterable[Samples]

    def __iter__(self) -> Iterator[LabelledBatch]:
        for batch, labelled in zip(self.batches, self.labelled, strict=True):
            yield *batch, *labelled
