"""What real images and k-means score as "models" of MNIST, beside which the Parzen table is to be read.

`parzen_anchors.py --root DIR` reads MNIST in DIR and takes minutes on one core. Each anchor is a set of
points that takes the place of a model's samples, drawn from the images that the experiment trains on.
`--runs RUN ...` scores 10,000 samples of runs instead, or of single checkpoints.
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
from ganlab.data.base import Data, Split
from ganlab.metrics.parzen import Parzen
from ganlab.training.build import load


def images(data: Data, split: Split) -> Tensor:
    """A whole split, [N, 1, 28, 28] in [0, 1]."""
    return torch.cat([x for x, _ in data.split(split, "cpu", 1000)])


def centroids(x: Tensor, number: int, iterations: int, seed: int) -> Tensor:
    """Those of k-means by Lloyd's algorithm, from images drawn at random, [number, 1, 28, 28]."""
    from sklearn.cluster import KMeans

    found = KMeans(number, init="random", n_init=1, max_iter=iterations, tol=0, random_state=seed)
    return torch.from_numpy(found.fit(x.flatten(1).numpy()).cluster_centers_).view(-1, *x.shape[1:])


def anchors(data: Data, seed: int) -> Iterator[tuple[str, Tensor]]:
    """The names of the anchors, and their points."""
    x = images(data, "train")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    yield "10,000 real training images", x[order[:10_000]]
    yield "1,000 real training images", x[order[:1_000]]
    yield "k-means, 1,000 centroids, 8 iterations", centroids(x, 1_000, 8, seed)
    yield "k-means, 10,000 centroids, 2 iterations", centroids(x, 10_000, 2, seed)


def samples(runs: list[str], seed: int) -> Iterator[tuple[str, Tensor]]:
    """10,000 samples of each run."""
    for run in runs:
        game = load(run)
        yield f"{run}, round {game.step}", game.sample(10_000, seed=seed)


def main() -> None:
    """Prints a row of the table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="where MNIST/raw is")
    parser.add_argument(
        "--protocol", default="goodfellow2014_mnist", help="the experiment whose data and grid"
    )
    parser.add_argument("--runs", nargs="+", help="run directories or checkpoints, in the place of anchors")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    cfg = compose(f"experiment={arguments.protocol}", f"data.root={arguments.root}")
    data, metric = build_data(cfg), instantiate(cfg.metric.parzen)
    assert isinstance(metric, Parzen)
    for split in metric.references:
        metric.update(images(data, split), split)
    print("| | width | validation | test | made in | scored in |\n|---|---|---|---|---|---|")
    began = time.perf_counter()
    source = samples(arguments.runs, arguments.seed) if arguments.runs else anchors(data, arguments.seed)
    for name, points in source:
        made = time.perf_counter()
        metric.update(points)
        found, how = metric.compute(), metric.extras()
        metric.reset()
        scored = time.perf_counter()
        print(
            f"| {name} | {how['width']:.3g} | {found['parzen/validation']:.1f} "
            f"| {found['parzen/test']:.1f} ± {how['standard_error']:.1f} "
            f"| {made - began:.0f} s | {scored - made:.0f} s |",
            flush=True,
        )
        began = scored


if __name__ == "__main__":
    main()
