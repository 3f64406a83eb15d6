"""Losses that are scaled, so that no gradient in float16 vanishes: trainer.precision=16-mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision
from support.commands import bitwise_equal, play
from support.refusals import refuses
from support.small_games import batch, game, options, play_step, play_steps
from torch.amp import GradScaler
from torch.utils.data import DataLoader

from ganlab.training.callbacks.record import AtomicIO
from ganlab.training.module import GameModule

CLIPPED = ("clip.generator=0.01", "clip.discriminator=0.01")


def scaled_game(scale: float, play: str = "alternating") -> GameModule:
    module = game("non_saturating", [], play, *CLIPPED)
    module.phase.scalers = {player: GradScaler("cpu", init_scale=scale) for player in module.phase.scalers}
    return module


@pytest.mark.parametrize("play", options("play"))
def test_a_scale_changes_no_weight_and_no_norm(play: str) -> None:
    """A scale is a power of 2, so the gradients in float32 are the same bit for bit."""
    scaled, plain = scaled_game(2.0**16, play), game("non_saturating", [], play, *CLIPPED)
    play_steps(scaled, 3)
    play_steps(plain, 3)
    assert bitwise_equal(scaled.state_dict(), plain.state_dict())
    for name, value in plain.scalars.items():
        assert torch.equal(scaled.scalars[name], value), name
    assert float(scaled.scalars["loss_scale/generator"]) == 16


def test_a_player_whose_gradient_overflows_stays_and_the_other_moves() -> None:
    module = scaled_game(1.0)
    module.phase.scalers["generator"] = GradScaler("cpu", init_scale=2.0**24)  # float16 ends at 2^16
    before = {name: weight.clone() for name, weight in module.game.named_parameters()}
    with torch.autocast("cpu", torch.float16):
        play_step(module)
        moved = {
            name.split(".")[0] for name, w in module.game.named_parameters() if not w.equal(before[name])
        }
        assert moved == {"discriminator"}
        assert float(module.scalars["generator/gradient_norm"]) == 0
        play_step(module)
    assert float(module.scalars["loss_scale/generator"]) == 23  # halved
    assert float(module.scalars["loss_scale/discriminator"]) == 0


def fit(module: GameModule, epochs: int, checkpoint: Path | None = None) -> dict[str, Any]:
    """Plays epochs of three steps in float16 on the CPU, and returns the checkpoint after the last one."""
    scale = MixedPrecision("16-mixed", "cpu", GradScaler("cpu"))
    trainer = pl.Trainer(
        accelerator="cpu", plugins=[scale, AtomicIO()], max_epochs=epochs,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = DataLoader([batch(step) for step in range(3)], batch_size=None)
    trainer.fit(module, data, ckpt_path=checkpoint)
    return trainer._checkpoint_connector.dump_checkpoint()


def test_a_resumed_run_has_the_scales_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = fit(game("non_saturating", []), 2)
    torch.save(fit(game("non_saturating", []), 1), tmp_path / "half.ckpt")
    resumed = fit(game("non_saturating", []), 2, tmp_path / "half.ckpt")
    for part in ("state_dict", "optimizer_states", "scalers"):
        assert bitwise_equal(resumed[part], whole[part]), part
    (scalers,) = whole["scalers"]
    assert {player: state["_growth_tracker"] for player, state in scalers.items()} == {
        "discriminator": 6,
        "generator": 6,
    }


def test_float16_is_refused_on_a_cpu(tmp_path: Path) -> None:
    with refuses("trainer.precision", "16-mixed", "needs a GPU", "set it to bf16-mixed or 32-true"):
        play(tmp_path / "run", "trainer.precision=16-mixed", "trainer.accelerator=cpu")
    assert not (tmp_path / "run").exists()
