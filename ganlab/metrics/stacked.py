"""Modes of stacked digits, found by a classifier of single digits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.metrics.feature_metric import ReservoirMetric
from ganlab.metrics.features import Extractor

DIGITS = 10


class StackedModes(ReservoirMetric):
    """The number of modes that samples cover, and their reverse KL in nats (Srivastava et al. 2017).

    The classifier recognises the digit of each channel, and the digits together are the mode. With q_k the
    share of samples in mode k of K = 10^channels modes: sum_k q_k log(K q_k), which is 0 if all modes are
    equally frequent and log K if all samples are of one mode. Real images are not used: their modes are
    equally likely.
    """

    kinds = ("modes", "reverse_kl")
    higher_is_better = True

    def __init__(self, extractor: str | Extractor):
        super().__init__(extractor)
        self._num_modes = 0

    def is_higher_better(self, name: str) -> bool:
        return name.startswith("modes/")

    def observe(self, x: Tensor) -> tuple[Tensor, ...]:
        shape, remedy = list(x.shape[1:]), "choose data=stacked_mnist, or another metric"
        reason = f"counts stacks of digits, and these samples have the shape {shape}"
        require(x.ndim == 4 and shape[0] > 1, "", UNSET, reason, remedy)
        logits = [self.extractor.extract(channel).logits for channel in x.split(1, 1)]
        name, num_classes = self.extractor.network.name, logits[0].shape[1]
        reason = f"has {num_classes} classes, but the metric needs {DIGITS} digits"
        require(num_classes == DIGITS, "extractor", name, reason, "choose extractor=mnist")
        self._num_modes = DIGITS ** len(logits)
        modes = torch.zeros(len(x), dtype=torch.long)
        for channel in logits:
            modes = modes * DIGITS + channel.argmax(1)
        return (modes,)

    def values(self) -> tuple[float, ...]:
        counts = self.rows(None).bincount().double()
        share = counts[counts > 0] / counts.sum()
        return float(len(share)), float((share * share.log()).sum()) + math.log(self._num_modes)
