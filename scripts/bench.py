"""python scripts/bench.py: compares a step of ganlab with loops written by hand for the same networks.

Three loops alternate in one process, so that other work on the machine slows them equally:

  copied   the loop of most tutorials: fp32, contiguous, plain Adam, one generator pass for both players,
           and gradients of the discriminator's weights in the generator's update too
  bare     the fastest loop that can be written by hand for the same networks and the same play
  ganlab   ganlab's loop inside Lightning's, with logging

The workload mmd measures only the loss of direct matching, as bench_mmd.py does.

The loops alternate in blocks of one step. With --device cuda a block has 50 steps and ends with a
synchronisation, and the bare loop replays its step as a CUDA graph. The printed numbers are medians:
milliseconds per step, and the ratios of the times of consecutive blocks.
"""

from __future__ import annotations

import argparse
import io
import platform
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from statistics import median
from time import perf_counter
from typing import Any

import bench_mmd
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.data.sources import TensorSource
from ganlab.training.train import train

WORKLOADS = {
    "mlp": (
        "model=gan",
        "model.generator.latent_dim=100",
        "model.generator.hidden=[1200,1200]",
        "model.generator.batch_norm=false",
        "model.discriminator.hidden=[240,240]",
        "model.discriminator.dropout=0",
        "data.batch_size=100",
    ),
    "dcgan-28": ("model=dcgan", "data.batch_size=64"),
    "dcgan-64": ("model=dcgan", "data.batch_size=64"),
}
SHAPES = {"mlp": (1, 28, 28), "dcgan-28": (1, 28, 28), "dcgan-64": (3, 64, 64)}
ADAM = {"lr": 5e-4, "betas": (0.5, 0.999)}
# The loops by hand, by their names, and the seconds per step of each block of each loop. Both are global,
# because Hydra builds the data set, which runs the loops, from settings.
RIVALS: dict[str, Copied | Bare | Graphed] = {}
SECONDS: dict[str, list[float]] = {}


class Synthetic(Data):
    """Random images in memory, with a stream that runs and times all loops.

    Lightning fetches a batch, makes a step of ganlab, and fetches the next batch. After every block of
    batches, the stream makes as many steps of each loop by hand.

    Args:
        num_classes: not used, but every config of data has this setting.
        range: not used, but every config of data has this setting.
        block: the number of steps in a block.
    """

    def __init__(self, shape: list[int], batch_size: int, num_classes: None, range: list[float], block: int):
        self.block = block
        images = torch.randint(0, 256, (2048, *shape), dtype=torch.uint8)
        source = TensorSource(images, None, flip=False)
        super().__init__(shape, None, (-1.0, 1.0), batch_size, sources={"train": source})

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, None]]:
        batches = iter(super().stream(*args, **kwargs))
        while True:
            began = perf_counter()
            for _ in range(self.block):
                yield next(batches)
            SECONDS.setdefault("ganlab", []).append(elapsed(began) / self.block)
            for name, rival in RIVALS.items():
                began = perf_counter()
                for _ in range(self.block):
                    rival.step()
                SECONDS.setdefault(name, []).append(elapsed(began) / self.block)

    def batches(self, device: str) -> Iterator[Tensor]:
        """Batches of the same images for the loops by hand."""
        for batch in super().stream(0, lambda: 0, device):
            yield batch.real.x


def elapsed(began: float) -> float:
    """Seconds since `began`, including pending work of the device."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return perf_counter() - began


def settings(workload: str, play: str, precision: str, device: str) -> list[str]:
    """The overrides of a run."""
    shape = ",".join(map(str, SHAPES[workload]))
    return [
        *WORKLOADS[workload],
        f"play={play}",
        f"trainer.precision={precision}",
        f"trainer.accelerator={device}",
        "data.num_classes=null",
        f"data.shape=[{shape}]",
        "metric=none",
        "logger=csv",
        "sample_every=1000000",
        "checkpoint_every=1000000",
    ]


class Copied:
    """The loop of most tutorials, always with play=shared and in fp32."""

    def __init__(self, cfg: DictConfig, batches: Iterator[Tensor], device: str):
        game = build_game(cfg).to(device)
        self.device = device
        game.to(memory_format=torch.contiguous_format)
        self.generator, self.discriminator, self.batches = game.generator, game.discriminator, batches
        self.g_optimizer = torch.optim.Adam(self.generator.parameters(), **ADAM)
        self.d_optimizer = torch.optim.Adam(self.discriminator.parameters(), **ADAM)

    def step(self) -> None:
        real = next(self.batches)
        fake = self.generator(torch.randn(len(real), self.generator.latent_dim, device=self.device))
        self.d_optimizer.zero_grad()
        on_real, on_fake = self.discriminator(real).logits, self.discriminator(fake.detach()).logits
        (softplus(-on_real).mean() + softplus(on_fake).mean()).backward()
        self.d_optimizer.step()
        self.g_optimizer.zero_grad()
        softplus(-self.discriminator(fake).logits).mean().backward()
        self.g_optimizer.step()


class Bare:
    """The fastest loop that can be written by hand for the same play and precision."""

    def __init__(self, cfg: DictConfig, batches: Iterator[Tensor], device: str, play: str, precision: str):
        game = build_game(cfg).to(device)
        self.device = device
        self.generator, self.discriminator, self.batches = game.generator, game.discriminator, batches
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
        self.play, self.is_bf16 = play, precision == "bf16-mixed"
        self.g_weights = list(self.generator.parameters())
        self.d_weights = list(self.discriminator.parameters())
        fast = {"fused": True, "capturable": device == "cuda"}
        self.g_optimizer = torch.optim.Adam(self.g_weights, **ADAM, **fast)
        self.d_optimizer = torch.optim.Adam(self.d_weights, **ADAM, **fast)

    def step(self) -> None:
        self.play_step(next(self.batches))

    def play_step(self, real: Tensor) -> None:
        """Makes one step of the play."""
        plays = {
            "shared": self.shared,
            "alternating": self.alternating,
            "simultaneous": self.simultaneous,
        }
        # On a GPU, cast weights are not cached, because a captured graph must cast them at each replay.
        caches = self.device == "cpu"
        with torch.autocast(self.device, torch.bfloat16, enabled=self.is_bf16, cache_enabled=caches):
            plays[self.play](real)

    def generate(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, self.generator.latent_dim, device=self.device))

    def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        on_real, on_fake = self.discriminator(real).logits, self.discriminator(fake).logits
        return softplus(-on_real.float()).mean() + softplus(on_fake.float()).mean()

    def generator_loss(self, fake: Tensor) -> Tensor:
        return softplus(-self.discriminator(fake).logits.float()).mean()

    def move(self, loss: Tensor, weights: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss.backward(inputs=weights)
        optimizer.step()
        torch.clear_autocast_cache()

    def shared(self, real: Tensor) -> None:
        fake = self.generate(len(real))
        self.move(self.discriminator_loss(real, fake.detach()), self.d_weights, self.d_optimizer)
        self.move(self.generator_loss(fake), self.g_weights, self.g_optimizer)

    def alternating(self, real: Tensor) -> None:
        with torch.no_grad():
            fake = self.generate(len(real))
        self.move(self.discriminator_loss(real, fake), self.d_weights, self.d_optimizer)
        self.move(self.generator_loss(self.generate(len(real))), self.g_weights, self.g_optimizer)

    def simultaneous(self, real: Tensor) -> None:
        fake = self.generate(len(real))
        on_real, on_fake = self.discriminator(real).logits.float(), self.discriminator(fake).logits.float()
        self.d_optimizer.zero_grad()
        self.g_optimizer.zero_grad()
        d_loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        d_loss.backward(inputs=self.d_weights, retain_graph=True)
        softplus(-on_fake).mean().backward(inputs=self.g_weights)
        self.d_optimizer.step()
        self.g_optimizer.step()
        torch.clear_autocast_cache()  # it would outlive this step, since Lightning's autocast is still open


class Graphed:
    """The bare loop with a step that is captured once and replayed, so that the host does almost nothing."""

    def __init__(self, loop: Bare):
        self.loop = loop  # keeps the weights alive, on which the captured step works
        self.real = next(loop.batches).clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            # In the first steps, optimisers and libraries allocate buffers; a capture must not contain this.
            for _ in range(3):
                loop.play_step(self.real)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            loop.play_step(self.real)

    def step(self) -> None:
        self.real.copy_(next(self.loop.batches))
        self.graph.replay()


def measure(workload: str, play: str, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """The median milliseconds per step, and the median ratios of the times of consecutive blocks."""
    device, block = options.device, 50 if options.device == "cuda" else 1
    overrides = settings(workload, play, precision, device)
    compiled = str(options.compile).lower()
    directory = f"run_dir={tempfile.mkdtemp()}/run"
    cfg = compose(*overrides, f"steps={options.blocks * block}", directory, f"compile={compiled}")
    cfg.data = {
        "_target_": "__main__.Synthetic",
        "shape": SHAPES[workload],
        "batch_size": cfg.data.batch_size,
        "num_classes": None,
        "range": [-1, 1],
        "block": block,
    }
    SECONDS.clear()
    images = Synthetic(list(SHAPES[workload]), cfg.data.batch_size, None, [-1, 1], block)
    batches = images.batches(device)
    RIVALS["copied"] = Copied(cfg, batches, device)
    bare = Bare(cfg, batches, device, play, precision)
    RIVALS["bare"] = Graphed(bare) if device == "cuda" else bare
    with redirect_stdout(io.StringIO()):
        train(cfg)
    warmup = options.blocks // 5
    warm = {name: seconds[warmup:] for name, seconds in SECONDS.items()}
    results = {f"{name} ms": 1000 * median(seconds) for name, seconds in warm.items()}
    for loop, other in (("copied", "ganlab"), ("ganlab", "bare")):
        # Not strict, because the run may end before the last block of the loops by hand.
        blocks = zip(warm[loop], warm[other], strict=False)
        results[f"{loop} / {other}"] = median(seconds / reference for seconds, reference in blocks)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="+", default=[*WORKLOADS, "mmd"], choices=[*WORKLOADS, "mmd"])
    parser.add_argument("--plays", nargs="+", default=["shared", "alternating", "simultaneous"])
    parser.add_argument("--precisions", nargs="+", default=["32-true", "bf16-mixed"])
    parser.add_argument("--blocks", type=int, default=60, help="of each loop; the first fifth is not counted")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compile", action="store_true", help="set compile=true for ganlab")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    if "mmd" in options.workloads:
        print(*bench_mmd.measure(batch=1000, dim=784, trials=15, device=options.device), sep="\n", flush=True)
    for workload in options.workloads:
        if workload == "mmd":
            continue
        for precision in options.precisions:
            for play in options.plays:
                results = measure(workload, play, precision, options)
                numbers = "  ".join(f"{name} {value:.2f}" for name, value in results.items())
                print(f"{workload:9} {precision:10} {play:12} {numbers}", flush=True)


if __name__ == "__main__":
    main()
