"""python scripts/bench_tricks.py [trick ...]: measures the cost of tricks, for ganlab/tricks/costs.csv.

A game with the trick and a game without it alternate in blocks of 16 steps. So other work on the machine
slows both equally, and tricks that act only in some steps are measured fairly. The cost is the median of the
ratios of processor time, which excludes waiting for other processes. Both games have an objective that
accepts the trick, and labelled batches if the trick needs them. Reading data and Lightning's loop are not
measured, because they cost the same with every trick.
"""

from __future__ import annotations

import csv
import os
import platform
import sys
from pathlib import Path
from statistics import median
from time import process_time

import torch
from docs import common_objective, option_names, trick_class

from ganlab.config.compose import compose
from ganlab.config.load import build_run
from ganlab.config.prepare import build_phases
from ganlab.core.batch import Batch, Sample
from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError
from ganlab.listings import COSTS
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play
from ganlab.training.process_settings import keep_memory, silence_lightning

STEPS = 16  # the number of steps in a block
BLOCKS = 3  # the number of blocks of each game, after a first block that is not counted
BATCH = 64
SIZE = "data.shape=[1,28,28]"
WORKLOADS = {
    "DCGAN 28x28, batch 64": (SIZE, "model=dcgan"),
    "MLP 1200-1200, batch 64": (
        SIZE,
        "model.generator.hidden=[1200,1200]",
        "model.generator.batch_norm=true",
        "model.discriminator.hidden=[240,240]",
    ),
    "U-Net 8x8, batch 64": ("experiment=pix2pix_digits", "trick=[]"),
    "U-Net 8x8 with masks, batch 64": ("data=masked", "model=pix2pix_small", "trick=[]"),
}


def playing(*overrides: str) -> GameModule:
    """The module of a game with play=shared, in training mode."""
    cfg = compose(*overrides, "logger=csv", "play=shared", f"data.batch_size={BATCH}")
    return GameModule(build_phases(cfg, build_run(cfg), Phase, Play)).train()


def random_batch(module: GameModule, generator: torch.Generator) -> Sample:
    """Images [B, *shape] and their conditions: classes [B], or images."""
    x = torch.rand(BATCH, *module.game.shape, generator=generator) * 2 - 1
    condition = module.game.networks.condition
    if condition is not None and condition.kind == "image":
        return Sample(x, torch.rand(BATCH, *condition.shape, generator=generator) * 2 - 1)
    return Sample(x, torch.randint(10, (BATCH,), generator=generator))


def time_block(module: GameModule, num_batches: int) -> float:
    """The processor seconds of a block of steps.

    Args:
        num_batches: 1: a step has a real batch; 2: it also has a labelled batch.
    """
    generator = torch.Generator().manual_seed(module.game.run_step)
    batch = Batch(*(random_batch(module, generator) for _ in range(num_batches)))
    began = process_time()
    for _ in range(STEPS):
        module.play_step(batch)
    return process_time() - began


def cost(trick: str, workload: str) -> float:
    """The additional time of a step with a trick, in per cent."""
    settings = [*WORKLOADS[workload], f"objective={common_objective(trick)}"]
    num_batches = 1
    if Capability.LABELLED_BATCH in trick_class(trick).needs:
        settings.append("data.labelled=64")
        num_batches = 2
    with_trick, without = playing(*settings, f"trick={trick}"), playing(*settings)
    ratios = [
        time_block(with_trick, num_batches) / time_block(without, num_batches) for _ in range(1 + BLOCKS)
    ]
    return 100 * (median(ratios[1:]) - 1)


def measure(trick: str) -> dict[str, str]:
    """The row of a trick in the table, measured with the first workload that the trick does not refuse."""
    row = {
        "trick": trick,
        "per cent of a step": "",
        "workload": "",
        "objective": str(common_objective(trick)),
    }
    for workload in WORKLOADS:
        try:
            percent = f"{cost(trick, workload):.0f}"
        except ConfigError as error:
            row["remark"] = str(error)
            continue
        return row | {"per cent of a step": percent, "workload": workload, "remark": ""}
    return row


def describe_machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, threads: {torch.get_num_threads()}, torch {torch.__version__}"


def main() -> None:
    silence_lightning()
    keep_memory()
    machine = describe_machine()
    old = list(csv.DictReader(COSTS.open())) if COSTS.exists() else []
    rows = {row["trick"]: row for row in old}
    for trick in sys.argv[1:] or option_names("trick"):  # by default, all tricks
        rows[trick] = measure(trick) | {"machine": machine}
        print(*rows[trick].values(), sep="  ", flush=True)
        with COSTS.open("w", newline="") as file:  # after each row, in case of an interruption
            writer = csv.DictWriter(file, list(rows[trick]))
            writer.writeheader()
            writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main()
