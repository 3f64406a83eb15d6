"""Tests that need a GPU; without one this file defines no test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.commands import assert_same_run, checkpoint, play, resume, rows
from support.small_games import batch, compatible_objective, game, labelled_batch, options
from torch.amp import GradScaler

from ganlab.core.batch import Batch, Sample

if torch.cuda.is_available():
    # adaptive_balance is left out: it must wait for the accuracy, on which its choice of the player depends.
    GAMES = [
        *((objective, []) for objective in options("objective")),
        *(
            (compatible_objective(trick), [trick])
            for trick in options("trick")
            if trick != "adaptive_balance"
        ),
    ]

    @pytest.fixture
    def reset_sync_debug_mode() -> Iterator[None]:
        yield
        torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.usefixtures("reset_sync_debug_mode")
    @pytest.mark.parametrize("play", options("play"))
    @pytest.mark.parametrize(("objective", "tricks"), GAMES)
    def test_a_step_never_waits_for_the_device(objective: str, tricks: list[str], play: str) -> None:
        module = game(objective, tricks, play).to("cuda").train()
        for step in range(8):
            real, labelled = (
                Sample(*(part.to("cuda") for part in pair)) for pair in (batch(step), labelled_batch(step))
            )
            if step == 4:  # the replay buffer is full and libraries have chosen their kernels
                torch.cuda.set_sync_debug_mode("error")
            module.play_step(Batch(real, labelled))
            torch.cuda.set_sync_debug_mode("default")

    def test_equal_seeds_give_equal_weights() -> None:
        one, other = (game("non_saturating", ["ema"]).to("cuda").train() for _ in range(2))
        for module in (one, other):
            for step in range(5):
                x, labels = batch(step)
                module.play_step(Batch(Sample(x.to("cuda"), labels.to("cuda"))))
        for mine, theirs in zip(one.game.parameters(), other.game.parameters(), strict=True):
            assert torch.equal(mine, theirs)

    def test_a_run_in_float16_is_resumed_with_its_scales(tmp_path: Path) -> None:
        settings = ("trainer.precision=16-mixed", "metric=none", "log_every=1", "clip.generator=1")
        play(tmp_path / "whole", "steps=8", *settings)
        play(tmp_path / "part", "steps=4", *settings)
        resume(tmp_path / "part", "steps=8")
        assert_same_run(tmp_path / "part", tmp_path / "whole")
        scalers = [checkpoint(tmp_path / name)["scalers"] for name in ("part", "whole")]
        assert scalers[0] == scalers[1]
        assert {*scalers[0][0]} == {"discriminator", "generator"}
        assert all(float(row["loss_scale/generator"]) <= 16 for row in rows(tmp_path / "whole"))

    @pytest.mark.usefixtures("reset_sync_debug_mode")
    @pytest.mark.parametrize("play", options("play"))
    def test_a_step_in_float16_never_waits_for_the_device(play: str) -> None:
        """The fused Adam skips a step that overflows without a word to the CPU."""
        module = game("non_saturating", [], play, "clip.generator=1").to("cuda").train()
        module.phase.scalers = {player: GradScaler("cuda") for player in module.phase.scalers}
        for step in range(8):
            x, labels = batch(step)
            real = Batch(Sample(x.to("cuda"), labels.to("cuda")))
            with torch.autocast("cuda", torch.float16):
                if step == 4:
                    torch.cuda.set_sync_debug_mode("error")
                module.play_step(real)
                torch.cuda.set_sync_debug_mode("default")
