"""Parzen window log-likelihood, the usual measure in papers of 2014 and 2015."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.validation import NonEmpty, Positive, TwoOrMore
from ganlab.functional.kernels import squared_distances
from ganlab.metrics.base import GENERATED, Generated, ProtocolFields, SampleMetric, Split

CHUNK = 500  # real images at a time; the distances of a chunk to all generated samples are held in memory


class Parzen(SampleMetric):
    """The mean log-density of real images under a mixture of Gaussians around the generated samples, in nats.

        log p(x) = log mean_j exp(-|x - s_j|^2 / (2 w^2)) - D log(w sqrt(2 pi))

    for an image x of D pixels, generated samples s_j, and the standard deviation w of the Gaussians, which
    the papers call their width (Breuleux et al. 2011; Goodfellow et al. 2014). The width is the one that is
    best on validation images. One value is measured on all test images, a second one on the validation images
    that chose the width. Pixels lie in [0, 1], because `Evaluation` rescales images, and are not dequantised.
    The standard errors in `extras` are over images only, not over seeds or generated samples.

    Higher values are better only up to the value of real images. Blurred images, such as the centroids of
    k-means, have even higher values, so the metric is a poor measure of sample quality (Theis et al. 2016).

    Args:
        widths: the widths from which the best one is chosen.
        num_validation: the number of validation images that choose the width, the first ones of the split;
            None: all.
    """

    higher_is_better = True
    references = ("validation", "test")
    floor_split = "train"  # the only split that is not a reference
    names = ("parzen/validation", "parzen/test")

    def __init__(self, widths: NonEmpty[Positive], num_validation: TwoOrMore | None):
        self._widths = [float(width) for width in widths]
        self._num_validation = num_validation
        # Batches of flattened samples, by their split, or `GENERATED`.
        self._samples: dict[Split | Generated, list[Tensor]] = {"validation": [], "test": [], GENERATED: []}

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        self._samples[split].append(x.detach().flatten(1).float())

    def compute(self) -> dict[str, float]:
        require(all(self._samples.values()), "needs generated samples, and images of validation and test")
        fake = torch.cat(self._samples[GENERATED])
        densities_by_width = log_densities(self.validation_images, fake, self._widths)  # [W, N]
        best = int(densities_by_width.mean(1).argmax())
        validation_densities, width = densities_by_width[best], self._widths[best]
        (test_densities,) = log_densities(torch.cat(self._samples["test"]), fake, [width])
        self.extras = {
            "width": width,
            "standard_error": standard_error(test_densities),
            "standard_error_validation": standard_error(validation_densities),
        }
        values = float(validation_densities.mean()), float(test_densities.mean())
        return dict(zip(self.names, values, strict=True))

    @property
    def validation_images(self) -> Tensor:
        """The images on which the width is chosen, flattened: [N, D]."""
        return torch.cat(self._samples["validation"])[: self._num_validation]

    def reset(self) -> None:
        self._samples[GENERATED] = []

    def protocol(self) -> ProtocolFields:
        return {
            "unit": "nats",
            "pixels": "[0, 1], not dequantised",
            "widths": " ".join(f"{width:g}" for width in self._widths),
            "n_validation": len(self.validation_images),
            "n_test": sum(map(len, self._samples["test"])),
            "n_fake": sum(map(len, self._samples[GENERATED])),
            "dtype": "float32",
            "torch": str(torch.__version__),
        }


@torch.no_grad()
def log_densities(x: Tensor, centres: Tensor, widths: Sequence[float]) -> Tensor:
    """Log-densities of x [N, D] under mixtures of Gaussians at centres [M, D], in nats: float64 [W, N].

    Each of the W mixtures has one of the widths.
    """
    # |x - s|^2 is computed as |x|^2 - 2 x.s + |s|^2. The rounding errors of this formula are smallest for
    # points near the origin, so all points are shifted by the mean of the centres.
    mean = centres.mean(0)
    x, centres = x - mean, centres - mean
    parts = []
    for chunk in torch.split(x, CHUNK):
        distances = squared_distances(chunk, centres)  # [n, M]
        logarithms = [torch.logsumexp(distances * (-0.5 / width**2), 1) for width in widths]
        parts.append(torch.stack(logarithms).double())  # [W, n]
    num_centres, dim = centres.shape
    normalisers = [math.log(num_centres) + dim * math.log(w * math.sqrt(2 * math.pi)) for w in widths]
    return torch.cat(parts, 1) - torch.tensor(normalisers, dtype=torch.float64, device=x.device)[:, None]


def standard_error(values: Tensor) -> float:
    """The standard error of the mean of values [N]."""
    return float(values.std(correction=0) / math.sqrt(len(values)))
