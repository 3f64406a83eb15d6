"""How near samples on the line come to real ones."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.metrics.base import SampleMetric


class Wasserstein(SampleMetric):
    """Wasserstein-1 distance between fakes and reals on the line, in the units of the data; 0 is best.

    It is the area between their empirical distribution functions. Two samples of one distribution keep
    a distance that falls with the root of their number: compare it with the floor.
    """

    input_kind = "points"
    names = ("wasserstein",)
    higher_is_better = False

    def __init__(self) -> None:
        self._reals: list[Tensor] = []
        self._fakes: list[Tensor] = []

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        if data.shape != (1,):
            raise ConfigError(
                f"wasserstein measures samples of shape [1], not {list(data.shape)}: choose metric=none"
            )

    def update(self, x: Tensor, real: bool) -> None:
        (self._reals if real else self._fakes).append(x.detach().flatten().double().cpu())

    def compute(self) -> dict[str, float]:
        from scipy.stats import wasserstein_distance  # half a second that who only builds a game need not pay

        for kind, seen in {"reals": self._reals, "fakes": self._fakes}.items():
            if not seen:
                raise ConfigError(f"wasserstein of no {kind}: show 1 or more")
        return {"wasserstein": float(wasserstein_distance(torch.cat(self._reals), torch.cat(self._fakes)))}

    def reset(self) -> None:
        self._fakes = []

    def protocol(self) -> dict[str, str | int | float]:
        return {
            "n_real": sum(map(len, self._reals)),
            "n_fake": sum(map(len, self._fakes)),
            "dtype": "float64",
            "scipy": version("scipy"),
        }
