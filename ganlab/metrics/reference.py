"""The real samples that metrics measure against, and what names them in a record."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import torch
from torch import Tensor

from ganlab.data.base import Data, Split
from ganlab.metrics.base import SampleMetric

BATCH = 100  # samples at a time; the numbers do not depend on it
DIGITS = 16  # of a hash that are kept


class ReferenceSamples:
    """Splits of the data, each whole or as a choice of at most `n` samples, the same in every run."""

    def __init__(self, data: Data, n: int | None):
        self.data = data
        self.n = n
        self._hashes: dict[tuple[Split, bool], str] = {}

    def count(self, split: Split, limited: bool) -> int:
        """How many samples of a split there are to see."""
        there = len(self.data.sources[split])
        return min(self.n, there) if limited and self.n is not None else there

    def shown(self, split: Split, limited: bool, device: torch.device) -> Iterator[Tensor]:
        """The samples of a split in batches [b, *shape]; when all were taken, their hash is known."""
        content, between = sha256(), self.data.value_range
        for x in fixed_subset(self.data, split, self.n if limited else None, device):
            levels = x if between is None else (to_unit_range(x, between) * 255).round().byte()
            content.update(levels.cpu().contiguous().numpy().tobytes())
            yield x
        self._hashes[split, limited] = content.hexdigest()[:DIGITS]

    def named(self, metric: SampleMetric) -> dict[str, str]:
        """Which samples a metric was shown, by the hash of their levels."""
        hashes = [self._hashes[split, split == metric.subsampled_split] for split in metric.references]
        return {"reference_sha256": "+".join(hashes)} if hashes else {}


def fixed_subset(data: Data, split: Split, n: int | None, device: torch.device) -> Iterator[Tensor]:
    """At most n samples of a split, the same in every run; all in their order where n is None."""
    found = data.split(split, device, BATCH) if n is None else data.subset(split, n, device, BATCH)
    return (x for x, _ in found)


def to_unit_range(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Samples in [0, 1]."""
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)
