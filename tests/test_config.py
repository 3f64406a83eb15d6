"""Composition of configs, and the objects that are built from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from support.commands import play
from support.modules import build
from support.refusals import refuses
from support.small_games import SMALL, play_step
from torch import nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose, num_steps
from ganlab.config.load import load
from ganlab.core.players import Networks
from ganlab.core.schedules import Linear
from ganlab.tricks.base import Order, Trick
from ganlab.tricks.composition import Tricks
from ganlab.tricks.noise_layers import NoiseLayers
from ganlab.tricks.orthogonal_regularisation import OrthogonalRegularisation
from ganlab.tricks.r1 import R1
from ganlab.tricks.r2 import R2


@pytest.mark.parametrize(
    ("line", "tricks"),
    [
        ("trick=[r1,ema]", {"r1", "ema"}),
        ("trick=ema", {"ema"}),
        ("experiment=conditional_mnist", {"label_conditioning", "ema"}),
        ("experiment=conditional_mnist +trick=r1", {"label_conditioning", "ema", "r1"}),
        ("experiment=conditional_mnist ~trick.ema", {"label_conditioning"}),
        ("experiment=conditional_mnist trick=[]", set()),
    ],
)
def test_tricks_compose_as_a_mapping(line: str, tricks: set[str]) -> None:
    assert set(compose(*line.split()).trick) == tricks


def test_a_model_brings_its_objective_and_the_command_line_wins() -> None:
    assert compose("model=gmn").objective._target_.endswith("MMD")
    assert compose("model=gmn", "objective=hinge").objective._target_.endswith("Hinge")
    assert compose("model=gmn", "data.batch_size=8").data.batch_size == 8


def test_the_budget_is_given_in_steps_or_images() -> None:
    assert compose("images=1000").steps == 16
    assert compose("steps=7").steps == 7
    assert num_steps(None, 64, 3000) == compose().steps == 3000
    assert compose("model=dcgan").steps == compose("model=dcgan").default_steps != 3000


def weights(*overrides: str) -> dict[str, torch.Tensor]:
    return {name: w.detach() for name, w in build_game(compose(*SMALL, *overrides)).named_parameters()}


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    one = weights()
    torch.rand(100)
    two, other = weights(), weights("seed=1")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["generator.body.0.weight"], other["generator.body.0.weight"])
    before = torch.random.get_rng_state()
    weights("trick=virtual_batch_norm")
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_trick_does_not_change_the_initial_weights() -> None:
    plain, with_labels, both = (
        weights(),
        weights("trick=label_conditioning"),
        weights("trick=[label_conditioning,virtual_batch_norm]"),
    )
    assert torch.equal(plain["discriminator.score.weight"], with_labels["discriminator.score.weight"])
    assert torch.equal(with_labels["discriminator.body.1.weight"], both["discriminator.body.1.weight"])


def test_settings_of_an_optimiser_may_be_schedules() -> None:
    line = "{_target_: ganlab.core.schedules.Linear, start: 0.1, end: 0.0, steps: 4}"
    module = build(
        compose(*SMALL, f"optimizer.generator.lr={line}", f"optimizer.discriminator.betas=[0.5,{line}]")
    )
    generator, discriminator = (
        module.phase.player_optimizers["generator"].optimizer,
        module.phase.player_optimizers["discriminator"].optimizer,
    )
    rates, betas = [], []
    for _ in range(5):
        play_step(module)
        rates.append(generator.param_groups[0]["lr"])
        betas.append(discriminator.param_groups[0]["betas"][1])
    assert rates == betas == pytest.approx([Linear(0.1, 0, 4)(step) for step in range(5)])


def test_clipping_logs_the_gradient_norm_and_inf_only_logs_it() -> None:
    module, plain = (build(compose(*SMALL, *more)) for more in (["clip.generator=inf"], []))
    assert "generator/gradient_norm" in play_step(module)
    play_step(plain)
    weights = module.game.weights("generator")
    norm = torch.cat([weight.grad.flatten() for weight in weights]).norm()
    assert float(module.scalars["generator/gradient_norm"]) == pytest.approx(float(norm))
    assert all(map(torch.equal, weights, plain.game.weights("generator")))
    assert set(module.scalars) - set(plain.scalars) == {"generator/gradient_norm"}


def test_the_gradient_is_clipped_to_its_norm() -> None:
    module = build(compose(*SMALL, "clip.generator=0.001"))
    play_step(module)
    squares = [w.grad.square().sum() for w in module.game.weights("generator")]
    assert float(sum(squares).sqrt()) == pytest.approx(0.001, rel=1e-4)
    assert sum(w.grad.square().sum() for w in module.game.weights("discriminator")).sqrt() > 0.001


def test_a_loaded_game_samples_deterministically(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=3", "trick=[ema,virtual_batch_norm]")
    game = load(tmp_path / "run")
    assert game.run_step == 3
    assert not game.training
    again = load(tmp_path / "run", str(tmp_path / "run" / "checkpoints" / "last.ckpt"))
    assert torch.equal(game.sample(5), again.sample(5))
    latent = torch.randn(2, 6, requires_grad=True)
    game.generate(latent).sum().backward()
    assert latent.grad.abs().sum() > 0


class Shift(Trick):
    """A trick of a user's own."""

    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def latents(self, latent, turn):
        return latent + self.by


def test_a_trick_of_the_user_is_trusted_or_refused(tmp_path: Path) -> None:
    given = ["+trick.mine._target_=test_config.Shift", "+trick.mine.by=3"]
    play(tmp_path / "run", "steps=1", *given)
    assert load(tmp_path / "run").run_step == 1
    (tmp_path / "run" / "signature").unlink()  # like the run of another user
    with refuses("trick.mine", "test_config.Shift", "not on the list", r"trust=\[test_config\]"):
        load(tmp_path / "run")
    assert load(tmp_path / "run", trust=["test_config"]).run_step == 1


class Named(Trick):
    order = Order.EXTEND

    def __init__(self, seen: list[str], name: str, order: Order):
        super().__init__()
        self.seen, self.name, self.__dict__["order"] = seen, name, order

    def networks(self, networks: Networks) -> None:
        self.seen.append(self.name)


def test_order_governs_the_fold_and_ties_go_by_name() -> None:
    seen: list[str] = []
    orders = {"z": Order.REPLACE, "b": Order.EXTEND, "a": Order.OBSERVE, "aa": Order.EXTEND}
    tricks = Tricks({name: Named(seen, name, order) for name, order in orders.items()})
    tricks.change_networks(Networks({"generator": nn.Identity()}))
    assert seen == ["z", "aa", "b", "a"]


@pytest.mark.parametrize("name", ["losses", "a.b", "training"])
def test_a_trick_cannot_be_named_like_a_hook(name: str) -> None:
    with refuses("trick", name, "reserved name"):
        Tricks({name: Trick()})


class Mine(R1):
    pass


def test_two_tricks_of_one_class_on_one_player_are_refused() -> None:
    for mine in (R1(2, 1), Mine(2, 1)):
        with refuses("trick", ["mine", "r1"], "both are R1 and would overwrite", "remove one of them"):
            Tricks({"r1": R1(1, 1), "mine": mine})
    Tricks({"r1": R1(1, 1), "r2": R2(1, 1)})
    sides = {side: OrthogonalRegularisation(1e-4, side) for side in ("generator", "discriminator")}
    Tricks({f"of_{side}": trick for side, trick in sides.items()})
    Tricks(
        {"in_generator": NoiseLayers(0.1, "generator"), "in_discriminator": NoiseLayers(0.2, "discriminator")}
    )


class Claiming(Trick):
    claims = frozenset({"targets"})


class Needing(Trick):
    needs = frozenset({"targets"})


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_claim_of_one_trick_is_a_need_of_no_other(names: str) -> None:
    tricks = Tricks({names[0]: Claiming(), names[1]: Needing()})
    with refuses("trick", list(names), f"{names[0]} claims targets, which {names[1]} needs as well"):
        tricks.check_capabilities(frozenset({"targets"}), set(), "this")
    with refuses("trick", ["b", "a"], "b claims targets"):
        Tricks({"a": Claiming(), "b": Claiming()}).check_capabilities(frozenset({"targets"}), set(), "this")
    Tricks({"a": Claiming()}).check_capabilities(frozenset({"targets"}), set(), "this")


R1_WITH = "{_target_: ganlab.tricks.r1.R1, gamma: %s, every: 1}"


def test_an_error_has_the_key_of_the_object_that_was_built() -> None:
    with refuses("trick.mine.gamma", -1, "at least 0"):
        build_game(compose(*SMALL, f"+trick.mine={R1_WITH % -1}"))
    ends = "{_target_: ganlab.core.schedules.Piecewise, values: [1, 2, 0], milestones: [1, 2]}"
    with refuses("trick.mine.gamma.values", [1, 2, 0], "monotone"):
        build_game(compose(*SMALL, f"+trick.mine={R1_WITH % ends}"))


def test_an_error_in_a_stage_has_the_key_that_the_user_typed() -> None:
    stage = compose("experiment=gmmn_autoencoder_mnist")
    stage.stages.autoencoder.trick = {"r1": OmegaConf.create(R1_WITH % -1)}
    with refuses("stages.autoencoder.trick.r1.gamma", -1, "at least 0"):
        build(stage)


def test_an_error_of_another_library_has_the_key_of_the_object() -> None:
    with refuses("trick.mine", reason="unexpected keyword argument|has no such parameter|missing"):
        build_game(compose(*SMALL, "+trick.mine={_target_: ganlab.tricks.r1.R1, every: 1}"))
