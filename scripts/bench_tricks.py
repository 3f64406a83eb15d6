"""python scripts/bench_tricks.py [trick ...]: what each trick adds to a round, into ganlab/tricks/costs.csv.

A game with the trick and one without it play the same batches, in turns of 16 rounds, so that a noisy
machine is noisy for both and a trick that acts in some rounds only is counted for what it is; the median of
the ratios.
Without the reading of data and without Lightning's loop, which cost the same with every trick.
"""

from __future__ import annotations

import csv
import os
import sys
from statistics import median
from time import perf_counter

import torch
from docs import COSTS, options

from ganlab.cli import compose
from ganlab.config import build
from ganlab.errors import Refused
from ganlab.machine import keep_memory, quiet
from ganlab.training.base import GameModule

BLOCK, TURNS = 16, 5  # rounds of a turn; turns of each, after one that is not counted
WORKLOADS = {
    "DCGAN 28x28, batch 64": ("model=dcgan",),
    "MLP 1200-1200, batch 64": (
        "model.generator.hidden=[1200,1200]",
        "model.generator.batch_norm=true",
        "model.discriminator.hidden=[240,240]",
    ),
}


def game(*overrides: str) -> GameModule:
    cfg = compose(*overrides, "logger=csv", "play=shared", "data.shape=[1,28,28]", "data.batch_size=64")
    return build(cfg).train()


def turn(module: GameModule) -> float:
    """Seconds of a block of rounds."""
    generator = torch.Generator().manual_seed(module.game.step)
    x = torch.rand(64, 1, 28, 28, generator=generator) * 2 - 1
    labels = torch.randint(10, (64,), generator=generator)
    began = perf_counter()
    for _ in range(BLOCK):
        module.round((x, labels))
    return perf_counter() - began


def cost(trick: str, workload: str) -> float:
    """Per cent that a round takes longer with a trick."""
    rivals = game(*WORKLOADS[workload], f"trick={trick}"), game(*WORKLOADS[workload])
    times = [[turn(module) for module in rivals] for _ in range(1 + TURNS)][1:]
    return 100 * (median(with_it / without for with_it, without in times) - 1)


def measured(trick: str) -> dict[str, str]:
    """A row of the table: on the first workload that the trick does not refuse."""
    for workload in WORKLOADS:
        try:
            found = f"{cost(trick, workload):.0f}"
        except Refused as refusal:
            why = str(refusal)
            continue
        return {"trick": trick, "per cent of a round": found, "workload": workload, "remark": ""}
    return {"trick": trick, "per cent of a round": "", "workload": "", "remark": why}


def main() -> None:
    quiet()
    keep_memory()
    machine = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
    old = list(csv.DictReader(COSTS.open())) if COSTS.exists() else []
    rows = {row["trick"]: row for row in old}
    for trick in sys.argv[1:] or options("trick"):
        rows[trick] = measured(trick) | {"machine": machine}
        print(*rows[trick].values(), sep="  ", flush=True)
        with COSTS.open("w", newline="") as file:  # each row at once: a long bench may be cut off
            writer = csv.DictWriter(file, list(rows[trick]))
            writer.writeheader()
            writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main()
