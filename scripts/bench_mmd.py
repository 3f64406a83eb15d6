"""python scripts/bench_mmd.py: compares ganlab's MMD of six widths, with its gradient, with plain autograd.

The implementations alternate in one process, so that other work on the machine slows them equally:

  naive     a matrix of distances for each width, between all samples at once, with all its gradients
  shared    one matrix of distances for all widths, otherwise the same
  compiled  `shared` with torch.compile
  ganlab    ganlab.functional.distances.mmd2

A trial computes the loss and its gradient with respect to the generated samples. The distances of the data
are those of images in [0, 1]. The printed numbers are medians over the trials: milliseconds, and ratios of
the times of one trial.
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
    """The biased squared MMD of the first n samples and the others, from their Gram matrix."""
    return gram[:n, :n].mean() + gram[n:, n:].mean() - 2 * gram[:n, n:].mean()


def naive(x: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([x, y])
    terms = [mmd_of_gram(torch.exp(-squared_distances(both, both) / (2 * v)), len(x)) for v in VARIANCES]
    return torch.stack(terms).sum()


def shared(x: Tensor, y: Tensor) -> Tensor:
    both = torch.cat([x, y])
    squared = squared_distances(both, both)
    return torch.stack([mmd_of_gram(torch.exp(-squared / (2 * v)), len(x)) for v in VARIANCES]).sum()


def ganlab(x: Tensor, y: Tensor) -> Tensor:
    return mmd2(x, y, KERNEL, "biased")


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "naive": naive,
    "shared": shared,
    "compiled": torch.compile(shared),
    "ganlab": ganlab,
}


def time_trial(implementation: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """The seconds for a loss and its gradient, including pending work of the device."""
    began = perf_counter()
    implementation(x, y).backward()
    if x.is_cuda:
        torch.cuda.synchronize()
    seconds = perf_counter() - began
    x.grad = None
    return seconds


def measure(batch: int, dim: int, trials: int, device: str) -> Iterator[str]:
    """Measures the implementations, and yields a line of text for each.

    Args:
        batch: the number of real samples, and of generated samples.
        dim: the number of elements of a sample.
        trials: the number of trials; the first fifth is not counted.
    """
    torch.manual_seed(0)
    # Sparse bright pixels, so that squared distances are around 100, as between images of MNIST.
    is_bright = torch.rand(2, batch, dim) < 0.15
    x, y = (is_bright * torch.rand(2, 1, dim)).to(device).unbind()
    x.requires_grad_()
    values = {float(loss(x, y).detach()) for loss in IMPLEMENTATIONS.values()}
    assert max(values) - min(values) < 1e-4, values
    runs = [{name: time_trial(loss, x, y) for name, loss in IMPLEMENTATIONS.items()} for _ in range(trials)]
    warm = runs[trials // 5 :]
    for name in IMPLEMENTATIONS:
        ratio = median(times[name] / times["ganlab"] for times in warm)
        milliseconds = 1000 * median(times[name] for times in warm)
        yield f"{name:8} {milliseconds:8.1f} ms  {ratio:5.2f} x ganlab"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--dim", type=int, default=784)
    parser.add_argument("--trials", type=int, default=15, help="the first fifth is not counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, batch {options.batch} x {options.dim}")
    for line in measure(options.batch, options.dim, options.trials, options.device):
        print(line, flush=True)


if __name__ == "__main__":
    main()
