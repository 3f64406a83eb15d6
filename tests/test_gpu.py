"""Tests that need a GPU; without one this file holds no test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from support.small_games import batch, compatible_objective, game, labelled_batch, options

# adaptive_balance decides which player moves by the accuracy, which it has to read.
ALONE = [
    *((objective, []) for objective in options("objective")),
    *((compatible_objective(trick), [trick]) for trick in options("trick") if trick != "adaptive_balance"),
]

if torch.cuda.is_available():

    @pytest.fixture
    def waits_are_errors() -> Iterator[None]:
        yield
        torch.cuda.set_sync_debug_mode("default")

    @pytest.mark.usefixtures("waits_are_errors")
    @pytest.mark.parametrize("play", options("play"))
    @pytest.mark.parametrize(("objective", "tricks"), ALONE)
    def test_a_step_never_waits_for_the_device(objective: str, tricks: list[str], play: str) -> None:
        module = game(objective, tricks, play).to("cuda").train()
        given = [(*batch(step), *labelled_batch(step)) for step in range(8)]
        for step, parts in enumerate(given):
            on_device = tuple(part.to("cuda") for part in parts)
            if step == 4:  # now the replay buffer is full, and libraries have chosen their kernels
                torch.cuda.set_sync_debug_mode("error")
            module.play_step(on_device)
            torch.cuda.set_sync_debug_mode("default")

    def test_equal_seeds_give_equal_weights() -> None:
        one, other = (game("non_saturating", ["ema"]).to("cuda").train() for _ in range(2))
        for module in (one, other):
            for step in range(5):
                x, labels = batch(step)
                module.play_step((x.to("cuda"), labels.to("cuda")))
        for mine, theirs in zip(one.game.parameters(), other.game.parameters(), strict=True):
            assert torch.equal(mine, theirs)
