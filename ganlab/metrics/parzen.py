"""How likely real images are under Gaussians around the fakes: the numbers of 2014 and 2015."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive, TwoOrMore
from ganlab.data.base import Data, Split
from ganlab.functional.kernels import squared_distances
from ganlab.metrics.base import SampleMetric

CHUNK = 500  # reals at a time: a matrix of their distances to all fakes is held


class Parzen(SampleMetric):
    """Mean log-density of reals under a Gaussian window around each of N fakes, in nats.

        log p(x) = log mean_j exp(-|x - s_j|^2 / (2 w^2)) - D log(w sqrt(2 pi))

    (Breuleux et al. 2011; Goodfellow et al. 2014). The width w is the best of `widths` on the first
    `num_validation` images of the validation split (None: all of it), the result that of the whole test
    split. The pixels lie in [0, 1] and nothing is added to them. The standard error is that over test
    images alone: not over seeds, nor over samples.

    Higher is better only up to the score of real images: blurred ones, such as
    centroids, score higher, and the number says little of sample quality (Theis et al. 2016).
    """

    higher_is_better = True
    references = ("validation", "test")
    baseline_split = "train"
    names = ("parzen/validation", "parzen/test")

    def __init__(self, widths: Annotated[Sequence[Positive], 1], num_validation: TwoOrMore | None):
        self._widths = [float(width) for width in widths]
        self._num_validation = num_validation
        self._reals: dict[Split, list[Tensor]] = {"validation": [], "test": []}
        self._fakes: list[Tensor] = []
        self._found: dict[str, float] = {}  # width and standard errors of the last numbers

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        """Any samples will do."""

    def update_reference(self, x: Tensor, split: Split) -> None:
        self._reals[split].append(flat(x))

    def update(self, x: Tensor, real: bool) -> None:
        if real:
            raise ConfigError("parzen: reals belong to a split: show them by refer")
        self._fakes.append(flat(x))

    def compute(self) -> dict[str, float]:
        if not self._fakes or not all(self._reals.values()):
            raise ConfigError(f"parzen: needs fakes, and reals of both {' and '.join(self.references)}")
        fakes = torch.cat(self._fakes)
        validation = log_densities(self.validation, fakes, self._widths)
        best = int(validation.mean(1).argmax())
        width = self._widths[best]
        (test,) = log_densities(torch.cat(self._reals["test"]), fakes, [width])
        self._found = {
            "width": width,
            "standard_error": standard_error(test),
            "standard_error_validation": standard_error(validation[best]),
        }
        return dict(zip(self.names, (float(validation[best].mean()), float(test.mean())), strict=True))

    @property
    def validation(self) -> Tensor:
        """The images that the width is chosen on, [N, D]."""
        return torch.cat(self._reals["validation"])[: self._num_validation]

    def reset(self) -> None:
        self._fakes = []

    def extras(self) -> dict[str, float]:
        return dict(self._found)

    def protocol(self) -> dict[str, str | int | float]:
        return {
            "unit": "nats",
            "pixels": "[0, 1], not dequantised",
            "widths": " ".join(f"{width:g}" for width in self._widths),
            "n_validation": len(self.validation),
            "n_test": sum(map(len, self._reals["test"])),
            "n_fake": sum(map(len, self._fakes)),
            "dtype": "float32",
            "torch": str(torch.__version__),
        }


@torch.no_grad()
def log_densities(x: Tensor, centres: Tensor, widths: Sequence[float]) -> Tensor:
    """log p(x_i) of x [N, D] under Gaussians of each width around centres [M, D]: [W, N] float64, in nats."""
    # Near the origin the distances, which are differences of squares, lose least to rounding.
    middle = centres.mean(0)
    x, centres = x - middle, centres - middle
    dimensions = x.shape[1]
    rows = []
    for chunk in torch.split(x, CHUNK):
        distances = squared_distances(chunk, centres)  # [n, M]
        sums = [torch.logsumexp(distances * (-0.5 / width**2), 1) for width in widths]
        rows.append(torch.stack(sums).double())  # [W, n]
    norms = [
        math.log(len(centres)) + dimensions * math.log(width * math.sqrt(2 * math.pi)) for width in widths
    ]
    return torch.cat(rows, 1) - torch.tensor(norms, dtype=torch.float64, device=x.device)[:, None]


def standard_error(values: Tensor) -> float:
    """Of the mean of values [N]."""
    return float(values.std(correction=0) / math.sqrt(len(values)))


def flat(x: Tensor) -> Tensor:
    """Samples [N, *shape] as rows [N, D] of float32."""
    return x.detach().flatten(1).float()
