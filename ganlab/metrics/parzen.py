"""Parzen window log-likelihood, the usual measure in papers of 2014 and 2015."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.core.validation import NonEmpty, Positive, TwoOrMore
from ganlab.data.base import Data, Split
from ganlab.functional.kernels import squared_distances
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.features import ProtocolFields

CHUNK = 500  # real images at a time, because their distances to all samples are in memory


class Parzen(SampleMetric):
    """The mean log-density of real images under Gaussians around the generated samples s_j, in nats.

        log p(x) = log mean_j exp(-|x - s_j|^2 / (2 w^2)) - D log(w sqrt(2 pi))

    (Breuleux et al. 2011; Goodfellow et al. 2014). The width w is the best of `widths` on the first
    `num_validation` images of the validation split (None: all images). The value is that of the whole test
    split; a second value is that of the validation images. Pixels lie in [0, 1] and are not dequantised. The
    standard error is over test images only, not over seeds or samples.

    Higher values are better only up to the value of real images: blurred images, such as the centroids of
    k-means, have higher values, and the metric is a poor measure of sample quality (Theis et al. 2016).
    """

    higher_is_better = True
    references = ("validation", "test")
    floor_split = "train"  # the widths are chosen on the validation split
    names = ("parzen/validation", "parzen/test")

    def __init__(self, widths: NonEmpty[Positive], num_validation: TwoOrMore | None):
        self._widths = [float(width) for width in widths]
        self._num_validation = num_validation
        # Batches of flattened samples by split, with None for generated ones.
        self._samples: dict[Split | None, list[Tensor]] = {"validation": [], "test": [], None: []}

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        """Nothing to check or prepare."""

    def update(self, x: Tensor, split: Split | None = None) -> None:
        self._samples[split].append(x.detach().flatten(1).float())

    def compute(self) -> dict[str, float]:
        reason = "needs generated samples, and images of validation and test"
        require(all(self._samples.values()), "", UNSET, reason)
        fake = torch.cat(self._samples[None])
        validation = log_densities(self.validation_images, fake, self._widths)  # [W, N]
        best = int(validation.mean(1).argmax())
        width = self._widths[best]
        (test,) = log_densities(torch.cat(self._samples["test"]), fake, [width])
        self.extras = {
            "width": width,
            "standard_error": standard_error(test),
            "standard_error_validation": standard_error(validation[best]),
        }
        return dict(zip(self.names, (float(validation[best].mean()), float(test.mean())), strict=True))

    @property
    def validation_images(self) -> Tensor:
        """The images on which the width is chosen, flattened: [N, D]."""
        return torch.cat(self._samples["validation"])[: self._num_validation]

    def reset(self) -> None:
        self._samples[None] = []

    def protocol(self) -> ProtocolFields:
        return {
            "unit": "nats",
            "pixels": "[0, 1], not dequantised",
            "widths": " ".join(f"{width:g}" for width in self._widths),
            "n_validation": len(self.validation_images),
            "n_test": sum(map(len, self._samples["test"])),
            "n_fake": sum(map(len, self._samples[None])),
            "dtype": "float32",
            "torch": str(torch.__version__),
        }


@torch.no_grad()
def log_densities(x: Tensor, centres: Tensor, widths: Sequence[float]) -> Tensor:
    """Log-densities of x [N, D] under Gaussians of each width at centres [M, D], in nats: float64 [W, N]."""
    # Squared distances are computed as differences of squares, which lose least to rounding near the origin.
    mean = centres.mean(0)
    x, centres = x - mean, centres - mean
    dimensions = x.shape[1]
    rows = []
    for chunk in torch.split(x, CHUNK):
        distances = squared_distances(chunk, centres)  # [n, M]
        sums = [torch.logsumexp(distances * (-0.5 / width**2), 1) for width in widths]
        rows.append(torch.stack(sums).double())  # [W, n]
    norms = [math.log(len(centres)) + dimensions * math.log(w * math.sqrt(2 * math.pi)) for w in widths]
    return torch.cat(rows, 1) - torch.tensor(norms, dtype=torch.float64, device=x.device)[:, None]


def standard_error(values: Tensor) -> float:
    """The standard error of the mean of values [N]."""
    return float(values.std(correction=0) / math.sqrt(len(values)))
