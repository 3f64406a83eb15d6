"""python scripts/inpainting_anchors.py [override ...]: scores simple answers as if a model had made them.

The data are those of experiment=inpainting_mnist, or of the overrides, such as data.of.root=<folder>
data.kind=pixels. Printed are the values of metric=[imputation_error,pair_error]: of the mean image; of the
nearest of 5,000 training images in the known pixels, and the mean of the five nearest; and of the mean, and
of a draw, of a Gaussian of all training images, given the known pixels. Known pixels are kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from ganlab.config.build import build_data
from ganlab.config.compose import compose

NUM_TRAIN, NUM_TEST = 5000, 500
RIDGE = 1e-3  # added to the variances, because some pixels of digits never change
Answer = Callable[[Tensor, Tensor], Tensor]  # known values [D] and mask [D] -> values [D]


def nearest(train: Tensor, k: int) -> Answer:
    """The mean of the k training images [N, D] that are nearest in the known pixels."""
    squares = train.square()

    def answer(known: Tensor, mask: Tensor) -> Tensor:
        weights = mask.to(train.dtype)
        distances = squares @ weights - 2 * (train @ (known * weights))  # but for a constant
        return train[distances.topk(k, largest=False).indices].mean(0)

    return answer


def gaussian(train: Tensor, draw: bool) -> Answer:
    """The mean, or a draw, of the Gaussian of the training images [N, D], given the known pixels."""
    mean = train.mean(0)
    covariance = (train - mean).T @ (train - mean) / len(train) + RIDGE * torch.eye(
        len(mean), dtype=train.dtype
    )
    generator = torch.Generator().manual_seed(0)

    def answer(known: Tensor, mask: Tensor) -> Tensor:
        of_known = covariance[mask][:, mask]
        across = covariance[~mask][:, mask]
        gain = torch.linalg.solve(of_known, across.T).T
        values = mean.clone()
        values[~mask] += gain @ (known[mask] - mean[mask])
        if draw:
            rest = torch.linalg.cholesky(covariance[~mask][:, ~mask] - gain @ across.T)
            values[~mask] += rest @ torch.randn(len(rest), generator=generator, dtype=rest.dtype)
        return values

    return answer


def main() -> None:
    """Prints a row for each answer."""
    data = build_data(compose("experiment=inpainting_mnist", *sys.argv[1:]))
    train = next(data.subset("train", NUM_TRAIN, "cpu", NUM_TRAIN))[0].flatten(1).double()
    x, condition = next(data.subset("test", NUM_TEST, "cpu", NUM_TEST))
    assert condition is not None
    known, mask = condition[:, :-1].flatten(1).double(), condition[:, -1:].expand_as(x).flatten(1) > 0
    x = x.flatten(1).double()
    low, high = data.value_range or (-torch.inf, torch.inf)
    answers: dict[str, Answer] = {
        "mean image": lambda known, mask: train.mean(0),
        "nearest neighbour": nearest(train, 1),
        "mean of five neighbours": nearest(train, 5),
        "mean of a Gaussian": gaussian(train, draw=False),
        "draw of a Gaussian": gaussian(train, draw=True),
    }
    for name, answer in answers.items():
        made = torch.stack([answer(*row) for row in zip(known, mask, strict=True)]).clamp(low, high)
        differences = torch.where(mask, 0, made - x)
        rmse, error = differences[~mask].square().mean().sqrt(), differences.abs().mean()
        print(f"{name}: imputation_error {rmse:.4f}, pair_error {error:.4f}", flush=True)


if __name__ == "__main__":
    main()
