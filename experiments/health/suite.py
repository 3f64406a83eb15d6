"""Plays the planted faults and the healthy runs of this folder, and writes the tables of its README.md.

    python suite.py                   # plays what is missing of seeds 0 to 9, and writes the tables
    SEEDS=100,101 python suite.py     # the seeds on which the thresholds were chosen; writes nothing

A finished run is a row of results.csv, which is kept; killed and called again, the suite goes on. It needs
Fashion-MNIST in the folder DATA, by default ./data.
"""

import contextlib
import csv
import io
import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

import torch

import ganlab
from ganlab.core.errors import Diverged
from ganlab.monitoring.rules import NAMES

HERE = Path(__file__).resolve().parent
DATA = os.environ.get("DATA", "data")
QUIET = ("logger=csv", "metric=none", "sample_every=100000", "checkpoint_every=100000")
FASHION = f"data=fashion_mnist data.root={DATA}"
FAULTS = {  # for each rule, what is planted, and the settings that plant it
    "rate_too_high": ("the discriminator's learning rate x 100", "optimizer.discriminator.lr=0.2"),
    "frozen": ("the discriminator frozen", "optimizer.discriminator.lr=0"),
    "data_range": ("data in [0, 1] under tanh", "data._target_=faults.UnscaledDigits"),
    "no_gradient": ("the generator detached", "+trick.fault._target_=faults.Detached"),
    "missing_class": ("one class dropped from training", "data.share={3:0.01}"),
    "constant_latents": ("constant latents", "+trick.fault._target_=faults.ConstantLatents"),
    "shared_optimizer": ("one optimiser over both players", "play._target_=faults.OneOptimizer"),
    "overfitting": ("60 images learned by heart", "data.per_class=6 data.batch_size=32"),
    "collapse": ("a ring that collapses", "experiment=ring_modes optimizer.discriminator.lr=1e-4"),
    "batch_norm": ("batch norm that disagrees with itself", "+trick.fault._target_=faults.StaleBatchNorm"),
    "diverging": ("exploding rates", "optimizer.discriminator.lr=0.2 optimizer.generator.lr=0.2"),
    "condition_ignored": (
        "a condition that is ignored",
        "trick=auxiliary_classifier trick.auxiliary_classifier.weight=1e-4",
    ),
    "noise_ignored": (
        "noise that is ignored",
        "experiment=pix2pix_digits model.generator.width=8 model.discriminator.width=8",
    ),
    "checkerboard": ("a checkerboard", f"{FASHION} +trick.fault._target_=faults.Checkerboard"),
    "average_lags": (
        "an average that lags",
        "trick=ema 'trick.ema.decay={_target_: ganlab.core.schedules.Constant, value: 0.9999}'",
    ),
}
HEALTHY = {
    "MLP": "",
    "DCGAN": "model=dcgan model.generator.width=16 model.discriminator.width=16",
    "conditional": "trick=label_conditioning",
    "matching": "model=gmn",
    "Wasserstein with penalty": "objective=wasserstein trick=gradient_penalty",
    "relativistic": "objective=relativistic trick=r1",
}
FAULT_STEPS, HEALTHY_STEPS = 500, 500


def play(settings: list[str], seed: int, steps: int) -> list[dict[str, Any]]:
    """The findings of a run."""
    with tempfile.TemporaryDirectory() as folder:
        given = [*settings, f"seed={seed}", f"steps={steps}", f"run_dir={folder}/run", *QUIET]
        silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
        with silent[0], silent[1], contextlib.suppress(Diverged):
            ganlab.train(ganlab.compose(*given), given)
        return json.loads(Path(folder, "run", "summary.json").read_text())["health"]


def with_remedy(settings: list[str], remedy: str) -> list[str]:
    """The settings with those of a remedy, which replace settings of the same key."""
    words = shlex.split(remedy)
    keys = {word.partition("=")[0] for word in words}
    return [word for word in settings if word.partition("=")[0] not in keys] + words


def row(kind: str, name: str, seed: int) -> dict[str, Any]:
    """Plays a healthy run, or a fault and then the fault with the remedy that was found."""
    if kind == "healthy":
        found = play(shlex.split(HEALTHY[name]), seed, HEALTHY_STEPS)
        return {"findings": " ".join(f"{one['name']}@{one['begins']}" for one in found)}
    settings = shlex.split(FAULTS[name][1])
    found = play(
        [*settings, f"callback.health.stop=[{name}]"], seed, FAULT_STEPS
    )  # what comes later is not needed
    own = [one for one in found if one["name"] == name]
    remedies = list(dict.fromkeys(one["remedy"] for one in own if one["remedy"]))
    remedy = " ".join(remedies)
    cured = play(with_remedy(settings, remedy), seed, FAULT_STEPS) if remedy else None
    return {
        "findings": " ".join(f"{one['name']}@{one['begins']}" for one in found),
        "found": min((one["begins"] for one in own), default=""),
        "remedy": remedy,
        "cured": ""
        if cured is None
        else int(not any(one["name"] == name and not one["ends"] for one in cured)),
        "after": "" if cured is None else " ".join(f"{one['name']}@{one['begins']}" for one in cured),
    }


COLUMNS = ("kind", "name", "seed", "findings", "found", "remedy", "cured", "after")


def main() -> None:
    os.chdir(HERE)  # where the planted faults are found
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in os.environ.get("SEEDS", "0,1,2,3,4,5,6,7,8,9").split(",")]
    only = os.environ.get("ONLY", "").split(",") if os.environ.get("ONLY") else [*FAULTS, *HEALTHY]
    counted = "SEEDS" not in os.environ or "FILE" in os.environ
    file = HERE / os.environ.get("FILE", "results.csv")
    rows = [*csv.DictReader(file.open())] if counted and file.is_file() else []
    done = {(one["kind"], one["name"], int(one["seed"])) for one in rows}
    assert {*FAULTS} == {*NAMES}
    for seed in seeds:
        for kind, name in [*(("fault", name) for name in FAULTS), *(("healthy", name) for name in HEALTHY)]:
            if (kind, name, seed) in done or name not in only:
                continue
            found = (
                dict.fromkeys(COLUMNS, "")
                | {"kind": kind, "name": name, "seed": seed}
                | row(kind, name, seed)
            )
            print(*(f"{key}={value}" for key, value in found.items() if value != ""), flush=True)
            if counted:
                is_new = not file.is_file()
                with file.open("a", newline="") as opened:
                    writer = csv.DictWriter(opened, COLUMNS)
                    writer.writeheader() if is_new else None
                    writer.writerow(found)


if __name__ == "__main__":
    main()
