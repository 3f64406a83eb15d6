"""IMLE, compared with Lloyd's algorithm, and its state by the rows of the training samples."""

from __future__ import annotations

import copy

import pytest
import torch
from support.modules import build
from support.refusals import refuses
from support.small_games import SMALL, game, play_step, play_steps
from torch import Tensor, nn

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams
from ganlab.game import Game
from ganlab.networks.base import Generator
from ganlab.objectives.implicit import IMLE
from ganlab.training.module import GameModule

RING = ("logger=csv", "experiment=imle_ring", "model.generator.hidden=[16]", "objective.candidates=50")


class EachInTurn:
    """A prior whose i-th latent is a one-hot vector of the place i modulo the number of places."""

    def __call__(self, random: RandomStreams, n: int, latent_dim: int) -> Tensor:
        return torch.eye(latent_dim)[torch.arange(n) % latent_dim]


class Table(Generator):
    """A generator with one output for each place of a one-hot latent."""

    def __init__(self, outputs: Tensor):
        nn.Module.__init__(self)
        self.outputs = nn.Parameter(outputs.clone())
        self.latent_dim, self.shape, self.prior = len(outputs), tuple(outputs.shape[1:]), EachInTurn()
        self.condition = self.class_counts = None

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.outputs[latent.argmax(1)]


def lloyd(x: Tensor, centres: Tensor) -> Tensor:
    """The means of the samples that are nearest to each centre; a centre of none stays."""
    nearest = (x[:, None] - centres).square().sum(2).argmin(1)
    means = [x[nearest == k].mean(0) if (nearest == k).any() else centre for k, centre in enumerate(centres)]
    return torch.stack(means)


def test_a_table_of_outputs_is_learned_by_lloyds_algorithm() -> None:
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    period, centres = 300, x[:5].clone()
    objective = IMLE(candidates=10, period=period, perturbation=0.0, weight={"generator": 1.0})
    table = Table(centres)
    alone = Game(Networks({"generator": table}), objective, {})
    descent = torch.optim.SGD(table.parameters(), lr=0.9)
    batch, losses = Batch(Sample(x), indices=torch.arange(60)), []
    for step in range(3 * period):
        loss = alone.losses(alone.turn("generator", batch, RandomStreams(step), step))["matching"]
        losses.append(loss.item())
        descent.zero_grad()
        loss.backward()
        descent.step()
        if (step + 1) % period == 0:
            centres = lloyd(x, centres)
            assert torch.allclose(table.outputs, centres, atol=1e-4)
    assert all(later <= earlier + 1e-6 for earlier, later in zip(losses, losses[1:], strict=False))


def ring_module(*overrides: str) -> GameModule:
    return build(compose(*RING, "data.batch_size=16", "objective.period=4", *overrides))


def ring_batch(step: int) -> Batch:
    """Samples whose rows return after two steps, inside of a period."""
    rows = 16 * (step % 2) + torch.arange(16)
    angle = rows * 0.2
    return Batch(Sample(torch.stack([angle.sin(), angle.cos()], 1)), indices=rows)


def test_a_row_keeps_its_latent_until_the_period_ends() -> None:
    module, latents = ring_module(), []
    for step in range(6):
        module.play_step(ring_batch(step))
        latents.append(module.game.objective.latents[:16].clone())
    assert torch.equal(latents[0], latents[3])
    assert not torch.equal(latents[3], latents[4])
    pool = module.game.objective.pool
    gap = torch.cdist(latents[4], pool).min(1).values
    assert (gap > 0).all()
    assert (gap < 0.1).all()  # a candidate's latent, perturbed


@pytest.mark.parametrize("play", ["alternating", "extragradient"])
def test_a_game_is_continued_inside_a_period(play: str) -> None:
    module = ring_module(f"play={play}")
    for step in range(6):
        module.play_step(ring_batch(step))
    twin = ring_module(f"play={play}")
    twin.game.load_state_dict(copy.deepcopy(module.game.state_dict()))
    (theirs,), (ours,) = twin.configure_optimizers(), module.configure_optimizers()
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for step in range(6, 10):
        for one in (module, twin):
            one.play_step(ring_batch(step))
    state = twin.game.state_dict()
    for name, value in module.game.state_dict().items():
        assert value == state[name] if isinstance(value, dict) else torch.equal(value, state[name]), name


def test_a_look_ahead_selects_what_the_step_then_uses() -> None:
    module = ring_module("play=extragradient")
    objective, seen = module.game.objective, []
    select = objective._selected_latents
    objective._selected_latents = lambda turn: seen.append(select(turn)) or seen[-1]
    module.play_step(ring_batch(0))
    assert len(seen) == 2
    assert torch.equal(*seen)


def test_batches_without_rows_and_data_that_change_are_refused() -> None:
    module = game("imle")
    with refuses("objective", "IMLE", "rows of the training samples"):
        module.play_step(torch.zeros(4, 1, 8, 8))
    cfg = compose(*SMALL, "objective=imle")
    data = build_data(cfg)
    data.sources["train"].augments = True
    with refuses("objective", "IMLE", "the same whenever they are seen"):
        build(cfg, data)
    with refuses("model.generator", reason="without conditions"):
        build(compose("logger=csv", "experiment=pix2pix_digits", "trick=[]", "objective=imle"))


def test_a_step_draws_no_candidates_but_at_the_start_of_a_period() -> None:
    module = game("imle")
    module.game.objective.period = 2
    drawn = []
    for _ in range(4):
        play_step(module)
        drawn.append(module.game.objective.candidates.clone())
    assert [torch.equal(*pair) for pair in zip(drawn, drawn[1:], strict=False)] == [True, False, True]
    assert play_steps(module, 1)[0].keys() == {"generator/matching"}
