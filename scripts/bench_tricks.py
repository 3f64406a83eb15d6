"""python scripts/bench_tricks.py [trick ...]: what each trick adds to a round, into ganlab/tricks/costs.csv.

A game with the trick and one without it play the same batches, in turns of 16 rounds, so that a noisy
machine is noisy for both and a trick that acts in some rounds only is counted for what it is; the median of
the ratios of the processor's time, in which waiting for other processes does not count. Both play an
objective that takes the trick, and get labelled samples beside the batch where it learns from some.
Without the reading of data and without Lightning's loop, which cost the same with every trick.
"""

from __future__ import annotations

import csv
import os
import platform
import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from docs import COSTS, home, options, trick_class
from torch import Tensor

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.turn import Capability
from ganlab.training.build import build
from ganlab.training.module import GameModule
from ganlab.training.process import keep_memory, silence_lightning

BLOCK, TURNS = 16, 3  # rounds of a turn; turns of each, after one that is not counted
BATCH = 64
WORKLOADS = {
    "DCGAN 28x28, batch 64": ("model=dcgan",),
    "MLP 1200-1200, batch 64": (
        "model.generator.hidden=[1200,1200]",
        "model.generator.batch_norm=true",
        "model.discriminator.hidden=[240,240]",
    ),
}


def game(*overrides: str) -> GameModule:
    size = ("data.shape=[1,28,28]", f"data.batch_size={BATCH}")
    return build(compose(*overrides, "logger=csv", "play=shared", *size)).train()


def stream(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [B, 1, 28, 28] and classes [B]."""
    x = torch.rand(BATCH, 1, 28, 28, generator=generator) * 2 - 1
    return x, torch.randint(10, (BATCH,), generator=generator)


def turn(module: GameModule, streams: int) -> float:
    """Seconds of the processor for a block of rounds."""
    generator = torch.Generator().manual_seed(module.game.step)
    batch: Any = tuple(part for _ in range(streams) for part in stream(generator))
    began = process_time()
    for _ in range(BLOCK):
        module.play_step(batch)
    return process_time() - began


def cost(trick: str, workload: str) -> float:
    """Per cent that a round takes longer with a trick."""
    beside = Capability.LABELLED_BATCH in trick_class(trick).needs
    setting = [*WORKLOADS[workload], f"objective={home(trick)}", *(["data.labelled=64"] if beside else [])]
    rivals = game(*setting, f"trick={trick}"), game(*setting)
    times = [[turn(module, 1 + beside) for module in rivals] for _ in range(1 + TURNS)][1:]
    return 100 * (median(with_it / without for with_it, without in times) - 1)


def measured(trick: str) -> dict[str, str]:
    """A row of the table: on the first workload that the trick does not refuse."""
    row = {"trick": trick, "per cent of a round": "", "workload": "", "objective": f"{home(trick)}"}
    for workload in WORKLOADS:
        try:
            found = f"{cost(trick, workload):.0f}"
        except ConfigError as refusal:
            row["remark"] = str(refusal)
            continue
        return row | {"per cent of a round": found, "workload": workload, "remark": ""}
    return row


def machine() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, threads: {torch.get_num_threads()}, torch {torch.__version__}"


def main() -> None:
    silence_lightning()
    keep_memory()
    where = machine()
    old = list(csv.DictReader(COSTS.open())) if COSTS.exists() else []
    rows = {row["trick"]: row for row in old}
    for trick in sys.argv[1:] or options("trick"):
        rows[trick] = measured(trick) | {"machine": where}
        print(*rows[trick].values(), sep="  ", flush=True)
        with COSTS.open("w", newline="") as file:  # each row at once: a long bench may be cut off
            writer = csv.DictWriter(file, list(rows[trick]))
            writer.writeheader()
            writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main()
