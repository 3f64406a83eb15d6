"""A step of extragradient, compared with a few lines of code that do not use plays and optimisers."""

from __future__ import annotations

import copy

import pytest
import torch
from support.small_games import batch, game, play_step, play_steps
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import softplus

from ganlab.core.randomness import RandomStreams

RATE = 0.05
# SGD has no moments, Adam has two. With batch norm the gradient would not be a function of the weights alone.
PLAIN = ["model.generator.batch_norm=false"]
SGD = [*PLAIN, "optimizer=sgd", *(f"optimizer.{p}.momentum=0" for p in ("generator", "discriminator"))]
ADAM = [*PLAIN, "optimizer=adam"]
LRS = [f"optimizer.{p}.lr={RATE}" for p in ("generator", "discriminator")]

Flat = dict[str, Tensor]


def fields(module, weights: Flat, data: Tensor, latent: Tensor) -> Flat:
    """The gradient of each player's non-saturating loss with respect to its own weights."""
    at = {name: w.clone().requires_grad_() for name, w in weights.items()}
    own = {p: {n.removeprefix(f"{p}."): w for n, w in at.items() if n.startswith(p)} for p in module.players}
    fake = functional_call(module.generator, own["generator"], (latent,))
    logits = [functional_call(module.discriminator, own["discriminator"], (x,)).logits for x in (data, fake)]
    costs = {
        "discriminator": softplus(-logits[0]).mean() + softplus(logits[1]).mean(),
        "generator": softplus(-logits[1]).mean(),
    }
    found = {}
    for player, cost in costs.items():
        slopes = torch.autograd.grad(cost, list(own[player].values()), retain_graph=True)
        found |= {f"{player}.{name}": slope for name, slope in zip(own[player], slopes, strict=True)}
    return found


def latents(step: int, *look: str) -> Tensor:
    return RandomStreams(0, step, "generator", *look).normal("latent", 16, 6)


def players_weights(module) -> Flat:
    return {name: w.detach().clone() for name, w in module.game.named_parameters()}


def test_sgd_moves_by_the_gradients_one_step_ahead() -> None:
    module = game("non_saturating", [], "extragradient", *SGD, *LRS)
    w = players_weights(module)
    for step in range(2):
        data = batch(step)[0]
        first = fields(module.game, w, data, latents(step, "ahead"))
        ahead = {name: w[name] - RATE * slope for name, slope in first.items()}
        second = fields(module.game, ahead, data, latents(step))
        w = {name: w[name] - RATE * slope for name, slope in second.items()}
        play_step(module)
        for name, weight in module.game.named_parameters():
            assert torch.allclose(weight, w[name], atol=1e-6), name


def test_the_moments_of_adam_include_both_gradients() -> None:
    """Gidel et al. 2019, algorithm 4: t counts both halves in the bias correction."""
    module = game("non_saturating", [], "extragradient", *ADAM, *LRS)
    w, beta = players_weights(module), (0.5, 0.999)
    mean = {name: torch.zeros_like(x) for name, x in w.items()}
    square = copy.deepcopy(mean)
    for step in range(2):
        at = w
        for half, look in ((1, ["ahead"]), (2, [])):
            slopes, t, start = (
                fields(module.game, at, batch(step)[0], latents(step, *look)),
                2 * step + half,
                w,
            )
            at = {}
            for name, slope in slopes.items():
                mean[name] = beta[0] * mean[name] + (1 - beta[0]) * slope
                square[name] = beta[1] * square[name] + (1 - beta[1]) * slope**2
                m, v = mean[name] / (1 - beta[0] ** t), square[name] / (1 - beta[1] ** t)
                at[name] = start[name] - RATE * m / (v.sqrt() + 1e-8)
        w = at
        play_step(module)
        for name, weight in module.game.named_parameters():
            assert torch.allclose(weight, w[name], atol=1e-5), name


def test_both_halves_have_the_same_real_samples_but_different_latents() -> None:
    module = game(play="extragradient")
    turns = []
    module.phase.losses = lambda turn, losses=module.phase.losses: (turns.append(turn), losses(turn))[1]
    play_step(module)
    assert [turn.player for turn in turns] == ["discriminator", "generator"] * 2
    assert all(turn.real.x.equal(batch(0)[0]) for turn in turns)
    assert turns[0].latent is turns[1].latent
    assert turns[2].latent is turns[3].latent
    assert not turns[0].latent.equal(turns[2].latent)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_restored_weights_keep_their_storage_and_memory_format(model: str) -> None:
    module = game(play="extragradient", model=model)
    before = [(w.data_ptr(), w.stride()) for w in module.parameters()]
    play_steps(module, 2)
    assert [(w.data_ptr(), w.stride()) for w in module.parameters()] == before


def test_in_half_precision_the_second_half_uses_the_weights_one_step_ahead() -> None:
    """The autocast cache must not keep casts of the weights before the step."""
    one = game("non_saturating", [], "extragradient", *SGD, *LRS)
    other, before = copy.deepcopy(one), copy.deepcopy(one)
    ahead = other.phase.step_ahead
    other.phase.step_ahead = lambda moves: (ahead(moves), torch.clear_autocast_cache())[0]
    for module in (one, other):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            play_step(module)
    assert same(one, other)
    assert not same(one, before)


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
