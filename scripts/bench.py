"""python scripts/bench.py: what a round of ganlab costs, against bare loops for the same networks.

Three loops take turns, round by round, in one process, so that a noisy machine is noisy for all:

  copied   the loop everyone copies: fp32, contiguous, plain Adam, one generator pass for both turns, and
           gradients for the discriminator's weights in the generator's turn too
  bare     the best loop one can write by hand for the same networks and the same play
  ganlab   ganlab's own loop, inside Lightning's, with its logging on

The workload mmd is the loss of direct matching alone: see bench_mmd.py, whose rivals it prints.

With --device cuda they take turns of 50 rounds, with a wait for the device in between, and the bare loop
replays its round as a CUDA graph. Printed are medians: milliseconds a round, and the ratios of the times
within each turn.
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
from ganlab.data.sources import Memory
from ganlab.training.session import Session

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


class Synthetic(Data):
    """Random images in memory; between two batches it lets the rivals play, and times everybody.

    Lightning asks for a batch, plays a round of ganlab with all that hangs on it, and asks again.
    """

    def __init__(self, shape: list[int], batch_size: int, num_classes: None, range: list[float], block: int):
        self.block = block
        images = torch.randint(0, 256, (2048, *shape), dtype=torch.uint8)
        super().__init__(shape, None, (-1.0, 1.0), batch_size, {"train": Memory(images, None, flip=False)})

    def stream(self, *arguments: Any, **named: Any) -> Iterator[tuple[Tensor, None]]:
        rivals, times = RIVALS
        batches = iter(super().stream(*arguments, **named))
        while True:
            began = perf_counter()
            for _ in range(self.block):
                yield next(batches)
            times.setdefault("ganlab", []).append(since(began) / self.block)
            for name, rival in rivals.items():
                began = perf_counter()
                for _ in range(self.block):
                    rival.round()
                times.setdefault(name, []).append(since(began) / self.block)

    def plain(self, device: str) -> Iterator[Tensor]:
        """The same batches, for the rivals."""
        for x, _ in super().stream(0, lambda: 0, device):
            yield x


def since(began: float) -> float:
    """Seconds, with all that a device still had to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return perf_counter() - began


RIVALS: tuple[dict[str, Any], dict[str, list[float]]] = ({}, {})


def settings(workload: str, play: str, precision: str, device: str) -> list[str]:
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
    """The loop everyone copies; it knows no other play than shared, and no other precision than fp32."""

    def __init__(self, cfg: DictConfig, batches: Iterator[Tensor], device: str):
        game = build_game(cfg).to(device)
        self.device = device
        game.to(memory_format=torch.contiguous_format)
        self.generator, self.discriminator, self.batches = game.generator, game.discriminator, batches
        self.g_step = torch.optim.Adam(self.generator.parameters(), 5e-4, (0.5, 0.999))
        self.d_step = torch.optim.Adam(self.discriminator.parameters(), 5e-4, (0.5, 0.999))

    def round(self) -> None:
        real = next(self.batches)
        fake = self.generator(torch.randn(len(real), self.generator.latent_dim, device=self.device))
        self.d_step.zero_grad()
        on_real, on_fake = self.discriminator(real).logits, self.discriminator(fake.detach()).logits
        (softplus(-on_real).mean() + softplus(on_fake).mean()).backward()
        self.d_step.step()
        self.g_step.zero_grad()
        softplus(-self.discriminator(fake).logits).mean().backward()
        self.g_step.step()


class Bare:
    """By hand, with what is known to be fast, for the same play and precision."""

    def __init__(self, cfg: DictConfig, batches: Iterator[Tensor], device: str, play: str, precision: str):
        game = build_game(cfg).to(device)
        self.device = device
        self.generator, self.discriminator, self.batches = game.generator, game.discriminator, batches
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
        self.play, self.bf16 = play, precision == "bf16-mixed"
        self.g, self.d = list(self.generator.parameters()), list(self.discriminator.parameters())
        graphed = device == "cuda"
        self.g_step = torch.optim.Adam(self.g, 5e-4, (0.5, 0.999), fused=True, capturable=graphed)
        self.d_step = torch.optim.Adam(self.d, 5e-4, (0.5, 0.999), fused=True, capturable=graphed)

    def round(self) -> None:
        self.play_round(next(self.batches))

    def play_round(self, real: Tensor) -> None:
        # No cache of casts on a GPU: a captured graph must cast the weights as they are then.
        with torch.autocast(self.device, torch.bfloat16, self.bf16, cache_enabled=self.device == "cpu"):
            getattr(self, self.play)(real)

    def make(self, n: int) -> Tensor:
        return self.generator(torch.randn(n, self.generator.latent_dim, device=self.device))

    def judge(self, real: Tensor, fake: Tensor) -> Tensor:
        on_real, on_fake = self.discriminator(real).logits, self.discriminator(fake).logits
        return softplus(-on_real.float()).mean() + softplus(on_fake.float()).mean()

    def move(self, loss: Tensor, weights: list[nn.Parameter], step: torch.optim.Optimizer) -> None:
        step.zero_grad()
        loss.backward(inputs=weights)
        step.step()
        torch.clear_autocast_cache()

    def shared(self, real: Tensor) -> None:
        fake = self.make(len(real))
        self.move(self.judge(real, fake.detach()), self.d, self.d_step)
        self.move(softplus(-self.discriminator(fake).logits.float()).mean(), self.g, self.g_step)

    def alternating(self, real: Tensor) -> None:
        with torch.no_grad():
            fake = self.make(len(real))
        self.move(self.judge(real, fake), self.d, self.d_step)
        fake = self.make(len(real))
        self.move(softplus(-self.discriminator(fake).logits.float()).mean(), self.g, self.g_step)

    def simultaneous(self, real: Tensor) -> None:
        fake = self.make(len(real))
        on_real, on_fake = self.discriminator(real).logits.float(), self.discriminator(fake).logits.float()
        self.d_step.zero_grad()
        self.g_step.zero_grad()
        (softplus(-on_real).mean() + softplus(on_fake).mean()).backward(inputs=self.d, retain_graph=True)
        softplus(-on_fake).mean().backward(inputs=self.g)
        self.d_step.step()
        self.g_step.step()
        torch.clear_autocast_cache()  # Lightning's own context is still open


class Graphed(Bare):
    """The bare loop with its round captured once and replayed: the host does next to nothing."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.real = next(self.batches).clone()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):  # optimisers and libraries make their buffers, which a capture may not
                self.play_round(self.real)
        torch.cuda.current_stream().wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.play_round(self.real)

    def round(self) -> None:
        self.real.copy_(next(self.batches))
        self.graph.replay()


def measure(workload: str, play: str, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds a round, and median ratios within a turn."""
    device, block = options.device, 50 if options.device == "cuda" else 1
    overrides = settings(workload, play, precision, device)
    compiled = str(options.compile).lower()
    directory = f"run_dir={tempfile.mkdtemp()}/run"
    cfg = compose(*overrides, f"steps={options.rounds * block}", directory, f"compile={compiled}")
    data = {
        "_target_": "__main__.Synthetic",
        "shape": SHAPES[workload],
        "num_classes": None,
        "range": [-1, 1],
        "block": block,
    }
    cfg.data = {**data, "batch_size": cfg.data.batch_size}
    rivals, times = RIVALS
    times.clear()
    plain = Synthetic(list(SHAPES[workload]), cfg.data.batch_size, None, [-1, 1], block).plain(device)
    batches = iter(plain)
    rivals.clear()
    best = Graphed if device == "cuda" else Bare
    rivals |= {
        "copied": Copied(cfg, batches, device),
        "bare": best(cfg, batches, device, play, precision),
    }
    with redirect_stdout(io.StringIO()):
        play(Session(cfg))
    warm = {name: row[options.rounds // 5 :] for name, row in times.items()}
    found = {f"{name} ms": 1000 * median(row) for name, row in warm.items()}
    found["copied / ganlab"] = median(a / c for a, c in zip(warm["copied"], warm["ganlab"], strict=False))
    found["ganlab / bare"] = median(c / b for c, b in zip(warm["ganlab"], warm["bare"], strict=False))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="+", default=[*WORKLOADS, "mmd"], choices=[*WORKLOADS, "mmd"])
    parser.add_argument("--plays", nargs="+", default=["shared", "alternating", "simultaneous"])
    parser.add_argument("--precisions", nargs="+", default=["32-true", "bf16-mixed"])
    parser.add_argument(
        "--rounds", type=int, default=60, help="turns of each; the first fifth is not counted"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compile", action="store_true", help="compile=true for ganlab")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}")
    if "mmd" in options.workloads:
        print(*bench_mmd.measure(1000, 784, 15, options.device), sep="\n", flush=True)
    for workload in filter(WORKLOADS.__contains__, options.workloads):
        for precision in options.precisions:
            for play in options.plays:
                found = measure(workload, play, precision, options)
                numbers = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
                print(f"{workload:9} {precision:10} {play:12} {numbers}", flush=True)


if __name__ == "__main__":
    main()
