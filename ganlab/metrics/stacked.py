"""How many modes of stacked digits are found, by a classifier of single digits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.metrics.feature_cache import Features
from ganlab.metrics.feature_metric import FeatureMetric
from ganlab.metrics.features import Extractor

DIGITS = 10


class StackedModes(FeatureMetric):
    """The number of modes that samples find, and their reverse KL, in nats (Srivastava et al. 2017).

    The classifier says the digit of each channel, and the three of them the mode. With q_k the share of the
    samples in mode k, of K = classes^channels modes: sum_k q_k log(K q_k), which is 0 where all are equally
    often found and log K where one is. The reals are not looked at; their modes are equally likely.
    """

    kinds = ("modes", "reverse_kl")
    higher_is_better = True

    def __init__(self, extractor: str | Extractor):
        super().__init__(extractor, None)
        self._found: list[Tensor] = []
        self._modes = 0

    def more_is_better(self, name: str) -> bool:
        return name.startswith("modes/")

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        if len(data.shape) != 3 or data.shape[0] < 2:
            raise ConfigError(
                f"metric=stacked counts stacks of digits, not samples of shape {list(data.shape)}: choose "
                "data=stacked_mnist, or another metric"
            )
        self._named(n_fake)
        num_classes = self.extractor.extract(torch.zeros(1, 1, *data.shape[1:])).logits.shape[1]
        if num_classes != DIGITS:
            raise ConfigError(
                f"metric=stacked reads digits, and extractor {self.extractor.network.name} tells "
                f"{num_classes} classes: choose extractor=mnist"
            )

    def update(self, x: Tensor, real: bool) -> None:
        if real:
            return
        digits = [self.extractor.extract(channel).logits for channel in x.split(1, 1)]
        num_classes = digits[0].shape[1]
        self._modes = num_classes ** len(digits)
        mode = torch.zeros(len(x), dtype=torch.long)
        for logits in digits:
            mode = mode * num_classes + logits.argmax(1)
        self._found.append(mode)
        self.n_fake += len(x)

    def take(self, seen: Features, real: bool) -> None:
        """Channels are looked at one by one."""

    def check_sample_size(self, n_fake: int, n_real: int) -> None:
        self.needs(1, "modes", "choose another metric", fakes=n_fake)

    def numbers(self) -> tuple[float, ...]:
        counts = torch.cat(self._found).bincount().double()
        share = counts[counts > 0] / counts.sum()
        return float(len(share)), float((share * share.log()).sum()) + math.log(self._modes)

    def reset(self) -> None:
        super().reset()
        self._found = []
