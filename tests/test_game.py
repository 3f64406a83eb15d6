"""Players that move, samples, and refusals of a game."""

from __future__ import annotations

import copy

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, options, play_step, play_steps
from torch.utils._python_dispatch import TorchDispatchMode

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.tricks.base import Order, Trick


class EveryOther(Trick):
    """The discriminator rests in odd steps, the generator in even ones."""

    def may_move(self, player, step):
        return (step % 2 == 0) == (player == "discriminator")


class Never(Trick):
    def may_move(self, player, step):
        return False


@pytest.mark.parametrize("play", options("play"))
def test_a_resting_player_does_not_move(play: str) -> None:
    module = game(play=play)
    module.game.tricks["every_other"] = EveryOther()
    for mover, resting in [("discriminator", "generator"), ("generator", "discriminator")] * 2:
        before = {p: copy.deepcopy(module.game.weights(p)) for p in module.game.players}
        logged = play_step(module)
        assert {name.split("/")[0] for name in logged} == {mover}
        moved = {
            p: any(not torch.equal(a, b) for a, b in zip(before[p], module.game.weights(p), strict=True))
            for p in before
        }
        assert moved == {mover: True, resting: False}
    module.game.tricks["never"] = Never()
    assert play_steps(module, 2) == [{}, {}]


class Reacting(Trick):
    order = Order.OBSERVE

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def after_update(self, player, networks, step):
        self.seen.append((player, step, next(networks.generator.parameters()).detach().clone()))


@pytest.mark.parametrize("play", ["simultaneous", "extragradient"])
def test_tricks_react_once_after_all_updates(play: str) -> None:
    module = game(play=play)
    module.game.tricks["reacting"] = reacting = Reacting()
    play_step(module)
    assert [(player, step) for player, step, _ in reacting.seen] == [("discriminator", 0), ("generator", 0)]
    assert torch.equal(reacting.seen[0][2], reacting.seen[1][2])


def test_sampling_leaves_the_game_as_it_was() -> None:
    module = game(tricks=["ema"])
    play_steps(module, 2)
    module.train()
    before = copy.deepcopy(module.game.state_dict())
    modes = [m.training for m in module.game.modules()]
    random = torch.random.get_rng_state()
    samples = module.game.sample(30, seed=1, batch_size=7)
    assert torch.allclose(samples, module.game.sample(30, seed=1, batch_size=30), atol=1e-6)
    assert not torch.equal(samples, module.game.sample(30, seed=2))
    assert [m.training for m in module.game.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), random)
    after = module.game.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items() if isinstance(v, torch.Tensor))


def test_sampling_is_in_evaluation_mode() -> None:
    module = game()
    play_steps(module, 2)
    module.train()
    latent = module.game.latents(5, 3)
    by_hand = copy.deepcopy(module.game.generator).eval()(latent)
    assert torch.allclose(module.game.sample(5, seed=3), by_hand, atol=1e-6)
    assert not torch.allclose(module.game.generator(latent), by_hand, atol=1e-3)


@pytest.mark.parametrize(("dim", "prior"), [(6, "normal"), (10, "normal"), (10, "uniform"), (3, "sphere")])
def test_the_same_seed_gives_the_same_ith_sample_whatever_their_number(dim: int, prior: str) -> None:
    settings = (f"model.generator.latent_dim={dim}", f"model/prior@model.generator.prior={prior}")
    played = game("non_saturating", ["truncation"] * (dim == 6), "alternating", *settings).game
    many = played.latents(1016, 0)
    for n in (0, 1, 2, 3, 8, 16, 63, 1000, 1001):
        assert torch.equal(played.latents(n, 0), many[:n])
    assert torch.allclose(played.sample(64, 0, rows=slice(2, 3)), played.sample(3, 0)[2:], atol=1e-6)
    assert len(many.unique(dim=0)) == 1016


def test_zero_samples_are_an_empty_batch_and_negative_numbers_are_refused() -> None:
    for model in ("mlp", "dcgan"):
        played = game("non_saturating", ["label_conditioning"], model=model).game
        assert played.sample(0).shape == (0, 1, 8, 8)
        assert played.asked(0).tolist() == []
        for n in (-1, 2.5):
            with refuses("n", n, "a whole number of at least 0"):
                played.sample(n)


def test_each_sample_may_have_a_class_of_its_own() -> None:
    played = game("non_saturating", ["label_conditioning"]).game
    wanted = torch.tensor([3, 3, 9, 0])
    assert played.asked(4, wanted).tolist() == [3, 3, 9, 0]
    assert played.asked(3, 7).tolist() == [7, 7, 7]
    assert torch.allclose(played.sample(4, 0, wanted)[2:3], played.sample(4, 0, 9)[2:3], atol=1e-6)
    for wrong in (torch.tensor([1, 10, 2, 3]), 10, -1):
        with refuses("class", wrong if isinstance(wrong, int) else 10, "between 0 and 9"):
            played.sample(4, 0, wrong)
    with refuses("condition", [4, 1, 8, 8], r"must have the shape \[\]"):
        played.sample(4, 0, torch.zeros(4, 1, 8, 8).long())
    for wrong in (torch.tensor([1.5]), torch.tensor([True]), 2.0):
        with refuses("condition", reason="is not of the kind class"):
            played.sample(4, 0, wrong)
    for wrong in ("seven", {"class": 7}, lambda n: None):
        with refuses("condition", reason="is not numbers"):
            played.sample(4, 0, wrong)
    with refuses("condition", [0], "has no rows"):
        played.sample(4, 0, torch.zeros(0).long())
    assert torch.equal(played.sample(1, 0, torch.tensor([3], dtype=torch.uint8)), played.sample(1, 0, 3))


class Largest(TorchDispatchMode):
    """Records the largest number of elements of a tensor that a block computes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.numel = max(self.numel, *(t.numel() for t in [result] if isinstance(t, torch.Tensor)), 0)
        return result


def test_conditions_are_taken_batch_by_batch() -> None:
    module, n = game("gain"), 4000
    conditions = torch.randn(3, 2, 8, 8)
    with Largest() as largest:
        samples = module.game.sample(n, conditions=conditions, batch_size=50)
    assert largest.numel == samples.numel() < n * conditions[0].numel()
    expected = module.game.sample(3, conditions=conditions.roll(-1, 0)[:1], rows=slice(1, 2))
    assert torch.allclose(module.game.sample(3, conditions=conditions)[1:2], expected, atol=1e-6)


def test_a_part_that_no_network_has_is_refused_with_the_players() -> None:
    played = game().game
    played.players = {"discriminator": ("discriminator", "discriminator.codes"), "generator": ("generator",)}
    with refuses("objective", reason="generator: generator, but there is no discriminator.codes"):
        played.weights("generator")


@pytest.mark.parametrize("trick", ["label_conditioning", "auxiliary_classifier"])
@pytest.mark.parametrize("data", [["data=gaussian_1d"], ["data=ring", "data.modes=1"]])
def test_tricks_on_labels_refuse_data_of_one_class(data: list[str], trick: str) -> None:
    with refuses("trick", trick, "no labels, or only one class", "choose labelled data"):
        build_game(compose(*data, f"trick={trick}"))


def test_an_encoder_is_told_what_goes_with_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    played = game("vae").game
    told = torch.tensor([3, 5])
    encoder = played.networks["encoder"]
    monkeypatch.setattr(encoder, "forward", lambda x, condition: condition[:, None].expand(-1, 4))
    assert played.encode(torch.zeros(2, 1, 8, 8), told).tolist() == [[3] * 4, [5] * 4]
