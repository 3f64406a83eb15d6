"""Whole runs of the experiments of image translation, on small pairs."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import assert_same_run, checkpoint, finish, resume, start, start_two_ranks, summary

from ganlab.config.compose import compose
from ganlab.run import run

SIZES = ("data.height=32", "data.jitter=4", "data.batch_size=4", "data.num_workers=0")
SMALL = (
    *(
        "experiment=pix2pix_facades_small",
        "logger=csv",
        "model.generator.width=4",
        "model.discriminator.width=4",
    ),
    *(
        "checkpoint_every=2",
        "evaluate_every=1000",
        "log_every=2",
        "evaluation.n=8",
    ),
)


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    """The settings of a run on twelve pairs, of which the target is the negative of the input."""
    for split, i in ((split, i) for split in ("train", "test") for i in range(12)):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 36, 3), dtype=np.uint8)
        for side, image in (("A", 255 - pixels), ("B", pixels)):
            folder = tmp_path / "pairs" / f"{split}{side}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i}.png")
    return [*SMALL, *SIZES, f"data.root={tmp_path / 'pairs'}"]


def play(settings: list[str], run_dir: Path, *overrides: str) -> dict[str, float]:
    given = [*settings, f"run_dir={run_dir}", *overrides]
    return run(compose(*given), given)


def test_a_killed_translator_equals_an_uninterrupted_one(settings: list[str], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    values = play(settings, whole, "steps=8")
    assert {"pair_error/test", "psnr/test_12", "ssim/test_12"} <= values.keys()
    process = start(*settings, f"run_dir={killed}", "steps=8")
    while process.poll() is None and not (killed / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert checkpoint(killed)["state_dict"]["game._extra_state"]["step"] < 8
    assert resume(killed) == values
    assert_same_run(whole, killed)
    assert summary(killed)["metrics"] == summary(whole)["metrics"]


def test_a_translator_on_two_processes_equals_one(settings: list[str], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    exact = [*settings, "steps=3", "trainer.precision=64-true", "metric=none"]
    code, _, err = finish(start_two_ranks(*exact, f"run_dir={two}", "trainer=ddp", "trainer.devices=2"))
    assert code == 0, err
    play(exact, one)
    mine, theirs = checkpoint(one)["state_dict"], checkpoint(two)["state_dict"]
    for name, value in mine.items():
        if isinstance(value, torch.Tensor):
            assert torch.allclose(value, theirs[name], rtol=0, atol=1e-9), name


def test_digits_are_completed_and_known_pixels_kept(tmp_path: Path) -> None:
    small = ["experiment=inpainting_mnist", "data@data.of=digits", "logger=csv", "model.generator.width=4"]
    sizes = ["model.discriminator.width=4", "model.discriminator.receptive_field=16", "evaluation.n=60"]
    given = [
        *small,
        *sizes,
        "data.of.batch_size=16",
        "steps=4",
        "metric=pair_error",
        f"run_dir={tmp_path / 'run'}",
    ]
    values = run(compose(*given), given)
    assert 0 < values["pair_error/test"] < 0.25  # a quarter of the pixels is missing, in a range of 2
    assert resume(tmp_path / "run", "steps=6")
