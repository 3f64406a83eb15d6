"""python scripts/bench_metrics.py <what>: measures the cost of evaluation.

mnist      seconds for the Frechet distance of 10,000 MNIST images through the small classifier, with the
           reference in the cache; median of the turns (--root: the folder of MNIST)
inception  Inception features compared with torch-fidelity alone, on the same images and with the same random
           weights; both take turns in one process, and the ratio is the median over the turns
memory     resident memory after the Frechet distance and KID of more and more samples
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganlab.config.build import build_data, instantiate_group
from ganlab.config.compose import compose
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.extractors import Inception
from ganlab.training.processes import keep_memory

SIZE, BATCH = 32, 50  # pixels a side, and images of a turn


def mnist(options: argparse.Namespace) -> None:
    cfg = compose("data=mnist", f"data.root={options.root}", "metric=fid", "evaluation.n=10000")
    data = build_data(cfg)
    images = torch.cat([x for x, _ in data.split("test", "cpu", 1000)])
    times = []
    for _ in range(options.turns + 1):  # the first fills the cache
        began = perf_counter()
        evaluation = Evaluation(instantiate_group(cfg, "metric"), data, len(images), 10_000, 0)
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
    for turn in range(options.turns + 1):
        images = torch.randint(256, (BATCH, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        began = perf_counter()
        with torch.no_grad():
            ours.extract(images.double() / 255)
            between = perf_counter()
            theirs(images)
        if turn:  # the first is warm-up
            times.append((between - began) / BATCH)
            ratios.append((between - began) / (perf_counter() - between))
    print(f"ganlab / torch-fidelity {median(ratios):.2f} ({1000 * median(times):.0f} ms an image)")


def random_weights(path: Path) -> Path:
    """Writes weights in torch-fidelity's format; the time of a network does not depend on them."""

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *arguments: object, **named: object) -> None:
            """Loads nothing, although the constructor asks for a file."""

    torch.save({}, path)
    network = Blank("blank", ["2048"], str(path))
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
    torch.save(network.state_dict(), path)
    return path


def memory(options: argparse.Namespace) -> None:
    def noise(n: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(n)
        return (2 * torch.rand(1000, 1, 8, 8, generator=generator) - 1 for _ in range(n // 1000))

    cfg = compose("metric=[fid,kid]", "metric.kid.subsets=10")
    for n in (20_000, 50_000, 100_000, 200_000):
        evaluation = Evaluation(instantiate_group(cfg, "metric"), build_data(cfg), n, None, 0)
        evaluation.measure(noise(n), torch.device("cpu"))
        status = Path("/proc/self/status").read_text()
        print(f"{n:7,} samples: {int(status.split('VmRSS:')[1].split()[0]) / 1024:,.1f} MiB resident")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["mnist", "inception", "memory"])
    parser.add_argument("--root", type=Path, help="folder of MNIST/raw")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    if options.what == "mnist" and options.root is None:
        parser.error("mnist needs --root, the folder of MNIST/raw")
    keep_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    {"mnist": mnist, "inception": inception, "memory": memory}[options.what](options)


if __name__ == "__main__":
    main()
