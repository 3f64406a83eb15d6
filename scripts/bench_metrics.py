"""python scripts/bench_metrics.py <benchmark>: measures the cost of evaluation.

mnist      seconds for the Frechet distance of 10,000 MNIST images in the features of the small classifier,
           with a cached reference; the median of the repetitions (--root: the folder of MNIST)
inception  time of Inception features relative to torch-fidelity alone, for the same images and the same
           random weights; the two alternate in one process, and the ratio is the median of the repetitions
memory     resident memory after the Frechet distance and KID of increasing numbers of samples
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from bench_scale import resident_mib
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganlab.config.build import build_data, instantiate_group
from ganlab.config.compose import compose
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.extractors import Inception
from ganlab.training.process_settings import keep_memory

SIZE, BATCH = 32, 50  # the side of an image in pixels, and the number of images in a repetition


def mnist(options: argparse.Namespace) -> None:
    cfg = compose("data=mnist", f"data.root={options.root}", "metric=fid", "evaluation.n=10000")
    data = build_data(cfg)
    images = torch.cat([x for x, _ in data.split("test", "cpu", 1000)])
    times = []
    for _ in range(options.repetitions + 1):  # the first one fills the cache
        began = perf_counter()
        evaluation = Evaluation(instantiate_group(cfg, "metric"), data, n=len(images), n_real=10_000, seed=0)
        (value,) = evaluation.measure(images.split(1000), torch.device("cpu")).values()
        times.append(perf_counter() - began)
    print(f"fid {value:.3f}: {median(times[1:]):.1f} s with a cached reference, {times[0]:.1f} s without")


def inception(options: argparse.Namespace) -> None:
    weights = random_weights(Path(tempfile.mkdtemp()) / "random.pth")
    ours, theirs = (
        Inception(str(weights), "2048"),
        FeatureExtractorInceptionV3("theirs", ["2048"], str(weights)),
    )
    generator = torch.Generator().manual_seed(0)
    ratios, times = [], []
    for repetition in range(options.repetitions + 1):  # the first one is a warm-up
        images = torch.randint(256, (BATCH, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        began = perf_counter()
        with torch.no_grad():
            ours.extract(images.double() / 255)
            middle = perf_counter()
            theirs(images)
        if repetition > 0:
            times.append((middle - began) / BATCH)
            ratios.append((middle - began) / (perf_counter() - middle))
    print(f"ganlab / torch-fidelity {median(ratios):.2f} ({1000 * median(times):.0f} ms an image)")


def random_weights(path: Path) -> Path:
    """Writes random weights in torch-fidelity's format, on which the time of a pass does not depend."""

    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args: object, **kwargs: object) -> None:
            """Loads nothing, because the constructor requires a file, but there is none yet."""

    torch.save({}, path)
    network = Untrained("untrained", ["2048"], str(path))
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
    torch.save(network.state_dict(), path)
    return path


def memory(options: argparse.Namespace) -> None:
    def noise(n: int) -> Iterator[Tensor]:
        """n images of uniform noise, in batches of 1,000."""
        generator = torch.Generator().manual_seed(n)
        return (2 * torch.rand(1000, 1, 8, 8, generator=generator) - 1 for _ in range(n // 1000))

    cfg = compose("metric=[fid,kid]", "metric.kid.subsets=10")
    for n in (20_000, 50_000, 100_000, 200_000):
        evaluation = Evaluation(instantiate_group(cfg, "metric"), build_data(cfg), n, n_real=None, seed=0)
        evaluation.measure(noise(n), torch.device("cpu"))
        print(f"{n:7,} samples: {resident_mib('self'):,.1f} MiB resident")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", choices=["mnist", "inception", "memory"])
    parser.add_argument("--root", type=Path, help="the folder that contains MNIST/raw")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    if options.benchmark == "mnist" and options.root is None:
        parser.error("mnist needs --root, the folder that contains MNIST/raw")
    keep_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    {"mnist": mnist, "inception": inception, "memory": memory}[options.benchmark](options)


if __name__ == "__main__":
    main()
