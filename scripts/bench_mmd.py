"""python scripts/bench_mmd.py: what the six-width MMD of GMMN and its gradient cost, against plain autograd.

Rivals take turns, one trial each, in one process, so that a noisy machine is noisy for all:

  naive    a matrix of distances for each width, between all samples at once, with all its gradients
  once     one matrix of distances for all widths, otherwise the same
  ganlab   ganlab.distances.mmd2

A trial is the loss and its gradient at the made samples. The data are as far apart as images in [0, 1].
Printed are medians: milliseconds, and ratios of the times within each turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ganlab.distances import mmd2
from ganlab.kernels import GaussianMixture
from ganlab.pairs import squared_distances

VARIANCES = [2, 5, 10, 20, 40, 80]
KERNEL = GaussianMixture(VARIANCES, "variance")


def halves(gram: Tensor, n: int) -> Tensor:
    return gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()


def naive(x: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([x, y])
    grams = [halves(torch.exp(-squared_distances(both, both) / (2 * v)), len(x)) for v in VARIANCES]
    return torch.stack(grams).sum()


def once(x: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([x, y])
    squared = squared_distances(both, both)
    return torch.stack([halves(torch.exp(-squared / (2 * v)), len(x)) for v in VARIANCES]).sum()


def ganlab(x: Tensor, y: Tensor) -> Tensor:
    return mmd2(x, y, KERNEL, "biased")


def trial(rival: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Seconds of a loss and its gradient."""
    begin = perf_counter()
    rival(x, y).backward()
    spent = perf_counter() - begin
    x.grad = None
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=784)
    parser.add_argument("--trials", type=int, default=15, help="of each; the first fifth is not counted")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # Sparse strokes on a dark ground: squared distances around 100, as between images of MNIST.
    x, y = ((torch.rand(2, options.batch, options.dim) < 0.15) * torch.rand(2, 1, options.dim)).unbind()
    x.requires_grad_()
    rivals: list[Callable[[Tensor, Tensor], Tensor]] = [naive, once, ganlab]
    values = {float(rival(x, y).detach()) for rival in rivals}
    assert max(values) - min(values) < 1e-4, values
    turns = [[trial(rival, x, y) for rival in rivals] for _ in range(options.trials)]
    warm = turns[options.trials // 5 :]
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch} x {options.dim}")
    for i, rival in enumerate(rivals):
        ratio = median(times[i] / times[-1] for times in warm)
        print(
            f"{rival.__name__:8} {1000 * median(times[i] for times in warm):8.1f} ms  {ratio:5.2f} x ganlab"
        )


if __name__ == "__main__":
    main()
