"""python scripts/parzen_anchors.py: scores real images and k-means centroids as if a model had drawn them.

The scores are Parzen log-likelihoods of MNIST. They put the published scores of models into perspective. An
anchor is a set of points that are scored in place of a model's samples: real training images, or their
k-means centroids. `--runs RUN ...` scores 10,000 samples of runs or of single checkpoints instead. `--root
DIR` is the folder that contains MNIST/raw. The scores take minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ganlab.config.build import build_data, instantiate
from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.data.base import Data, Split
from ganlab.metrics.parzen import Parzen


def all_images(data: Data, split: Split) -> Tensor:
    """All images of a split, [N, 1, 28, 28] in [0, 1]."""
    return torch.cat([x for x, _ in data.split(split, "cpu", 1000)])


def centroids(x: Tensor, k: int, iterations: int, seed: int) -> Tensor:
    """The centroids [k, 1, 28, 28] of k-means by Lloyd's algorithm, which starts from random images."""
    from sklearn.cluster import KMeans

    kmeans = KMeans(k, init="random", n_init=1, max_iter=iterations, tol=0, random_state=seed)
    return torch.from_numpy(kmeans.fit(x.flatten(1).numpy()).cluster_centers_).view(-1, *x.shape[1:])


def anchors(data: Data, seed: int) -> Iterator[tuple[str, Tensor]]:
    """The name and the points of each anchor."""
    x = all_images(data, "train")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    yield "10,000 real training images", x[order[:10_000]]
    yield "1,000 real training images", x[order[:1_000]]
    yield "k-means, 1,000 centroids, 8 iterations", centroids(x, k=1_000, iterations=8, seed=seed)
    yield "k-means, 10,000 centroids, 2 iterations", centroids(x, k=10_000, iterations=2, seed=seed)


def samples(runs: list[str], seed: int) -> Iterator[tuple[str, Tensor]]:
    """The name and 10,000 samples of each run."""
    for run in runs:
        game = load(run)
        yield f"{run}, step {game.run_step}", game.sample(10_000, seed=seed)


def main() -> None:
    """Prints a row of the table for each anchor or run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="the folder that contains MNIST/raw")
    parser.add_argument(
        "--protocol", default="goodfellow2014_mnist", help="the experiment that sets the data and the widths"
    )
    parser.add_argument("--runs", nargs="+", help="run directories or checkpoints, instead of the anchors")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    cfg = compose(f"experiment={arguments.protocol}", f"data.root={arguments.root}")
    data, metric = build_data(cfg), instantiate(cfg.metric.parzen)
    assert isinstance(metric, Parzen)
    for split in metric.references:
        metric.update(all_images(data, split), split)
    print("| | width | validation | test | sampling | scoring |\n|---|---|---|---|---|---|")
    began = time.perf_counter()
    source = samples(arguments.runs, arguments.seed) if arguments.runs else anchors(data, arguments.seed)
    for name, points in source:
        sampled = time.perf_counter()
        metric.update(points)
        scores, extras = metric.compute(), metric.extras
        metric.reset()
        scored = time.perf_counter()
        print(
            f"| {name} | {extras['width']:.3g} | {scores['parzen/validation']:.1f} "
            f"| {scores['parzen/test']:.1f} ± {extras['standard_error']:.1f} "
            f"| {sampled - began:.0f} s | {scored - sampled:.0f} s |",
            flush=True,
        )
        began = scored


if __name__ == "__main__":
    main()
