"""The Lightning module: how it reads data, and what it does when they end."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import get_args

import pytest
import torch
from support.commands import play, rows
from support.small_games import game, real_batch

from ganlab.config.setting_types import SETTING_TYPES
from ganlab.data.sources import TensorSource

NEEDS_GPU = "16-mixed"
PRECISIONS = [name for name in get_args(SETTING_TYPES["trainer.precision"]) if name != NEEDS_GPU]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_data_do_not_depend_on_the_precision(precision: str, monkeypatch, tmp_path: Path) -> None:
    """Random numbers are drawn in the default dtype, and autocast would round what a user's data compute."""
    quick, seen = TensorSource.batches, []

    def watched(self, requests):
        for batch in quick(self, requests):
            seen.append((torch.get_default_dtype(), torch.is_autocast_enabled("cpu")))
            yield batch

    monkeypatch.setattr(TensorSource, "batches", watched)
    play(tmp_path / "run", f"trainer.precision={precision}", "steps=3", "metric=none")
    assert len(seen) == 3 + 1  # the steps, and the real images in the picture of samples
    assert set(seen) == {(torch.float32, False)}


def test_exhausted_data_raise_and_do_not_count_as_a_step(monkeypatch, tmp_path: Path) -> None:
    endless = TensorSource.batches
    monkeypatch.setattr(TensorSource, "batches", lambda self, requests: islice(endless(self, requests), 2))
    with pytest.raises(RuntimeError, match="the data ended"):
        play(tmp_path / "run", "steps=4", "log_every=1", "metric=none")
    assert [row["step"] for row in rows(tmp_path / "run")] == ["1", "2"]


def test_the_discriminator_never_leads_the_turns_of_all_players() -> None:
    module = game("non_saturating", [], "simultaneous")
    module.phase.game.players = {"generator": ("generator",), "discriminator": ("discriminator",)}
    assert module.phase.leading_turn(real_batch()).player == "generator"
