"""Wasserstein-1 distance of samples on the line."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.data.base import Data, Split
from ganlab.metrics.base import ProtocolFields, SampleMetric


class Wasserstein(SampleMetric):
    """Wasserstein-1 distance of generated and real samples on the line, in the data's units; 0 is best.

    It is the area between their empirical distribution functions. Two samples of one distribution have a
    distance that falls with the square root of their size: compare it with the baseline of real samples.
    """

    input_kind = "points"
    names = ("wasserstein",)
    higher_is_better = False

    def __init__(self) -> None:
        self._real, self._fake = list[Tensor](), list[Tensor]()

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        reason = f"measures samples of shape [1], not {list(data.shape)}"
        require(data.shape == (1,), "", UNSET, reason, "choose metric=none")

    def update(self, x: Tensor, split: Split | None = None) -> None:
        (self._real if split else self._fake).append(x.detach().flatten().double().cpu())

    def compute(self) -> dict[str, float]:
        from scipy.stats import wasserstein_distance  # imported here because it takes half a second

        require(self._real and self._fake, "", UNSET, "needs real and generated samples")
        return {"wasserstein": float(wasserstein_distance(torch.cat(self._real), torch.cat(self._fake)))}

    def reset(self) -> None:
        self._fake = []

    def protocol(self) -> ProtocolFields:
        return {
            "n_real": sum(map(len, self._real)),
            "n_fake": sum(map(len, self._fake)),
            "dtype": "float64",
            "scipy": version("scipy"),
        }
