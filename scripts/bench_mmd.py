"""python scripts/bench_mmd.py: measures the six-width MMD of GMMN with its gradient, against plain autograd.

The implementations take turns of one trial in one process, so that a noisy machine is noisy for all:

  naive     a matrix of distances for each width, between all samples at once, with all its gradients
  once      one matrix of distances for all widths, otherwise the same
  compiled  `once` through torch.compile
  ganlab    ganlab.functional.distances.mmd2

A trial is the loss and its gradient in the generated samples. The data are as far apart as images in [0, 1].
The printed numbers are medians: milliseconds, and ratios of the times within each turn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import GaussianMixture, squared_distances

VARIANCES = [2, 5, 10, 20, 40, 80]
KERNEL = GaussianMixture(VARIANCES, "variance")


def mmd_of_gram(gram: Tensor, n: int) -> Tensor:
    return gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()


def naive(x: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([x, y])
    grams = [mmd_of_gram(torch.exp(-squared_distances(both, both) / (2 * v)), len(x)) for v in VARIANCES]
    return torch.stack(grams).sum()


def once(x: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([x, y])
    squared = squared_distances(both, both)
    return torch.stack([mmd_of_gram(torch.exp(-squared / (2 * v)), len(x)) for v in VARIANCES]).sum()


def ganlab(x: Tensor, y: Tensor) -> Tensor:
    return mmd2(x, y, KERNEL, "biased")


compiled = torch.compile(once)
IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "naive": naive,
    "once": once,
    "compiled": compiled,
    "ganlab": ganlab,
}


def trial(implementation: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """Seconds of a loss and its gradient, including pending work of the device."""
    begin = perf_counter()
    implementation(x, y).backward()
    if x.is_cuda:
        torch.cuda.synchronize()
    spent = perf_counter() - begin
    x.grad = None
    return spent


def measure(batch: int, dim: int, trials: int, device: str) -> Iterator[str]:
    """A line for each implementation."""
    torch.manual_seed(0)
    # Sparse strokes on a dark ground: squared distances around 100, as between images of MNIST.
    x, y = ((torch.rand(2, batch, dim) < 0.15) * torch.rand(2, 1, dim)).to(device).unbind()
    x.requires_grad_()
    values = {float(loss(x, y).detach()) for loss in IMPLEMENTATIONS.values()}
    assert max(values) - min(values) < 1e-4, values
    turns = [{name: trial(loss, x, y) for name, loss in IMPLEMENTATIONS.items()} for _ in range(trials)]
    warm = turns[trials // 5 :]
    for name in IMPLEMENTATIONS:
        ratio = median(times[name] / times["ganlab"] for times in warm)
        spent = 1000 * median(times[name] for times in warm)
        yield f"{name:8} {spent:8.1f} ms  {ratio:5.2f} x ganlab"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=784)
    parser.add_argument("--trials", type=int, default=15, help="of each; the first fifth is not counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch} x {options.dim}")
    for line in measure(options.batch, options.dim, options.trials, options.device):
        print(line, flush=True)


if __name__ == "__main__":
    main()
