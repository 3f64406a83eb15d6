"""The contract of every plug-in. The lists are read from conf/: a new file is tested without an edit."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import get_args

import docs
import pytest
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from support.commands import bitwise_equal
from support.daily_sample import (
    A_FIFTH,
    daily_cases,
    daily_draw,
    daily_play,
    daily_share,
    one_of_each_family,
    one_play_each,
)
from support.modules import build
from support.small_games import (
    HOMES,
    SMALL,
    WITH_ENCODER,
    compatible_objective,
    game,
    model_of,
    needs_pairs,
    option_config,
    options,
    play_step,
    play_steps,
    real_batch,
    untrained_run,
)
from support.trick_effects import (
    PLAYS,
    PLAYS_OF_MODEL,
    STEPS_UNTIL_EFFECT,
    RecordedGame,
    compatible_tricks,
    modules_differ,
    modules_or_refusal,
    observables,
    observables_differ,
    recorded_game,
)

from ganlab.config.compose import CONF, compose
from ganlab.config.load import load_players
from ganlab.config.setting_types import constructor_parameters, target_nodes
from ganlab.core.batch import Batch, Sample
from ganlab.core.randomness import RandomStreams
from ganlab.training.module import GameModule

TRICKS, OBJECTIVES = options("trick"), options("objective")
REFUSED = docs.read_refused()
MAX_STEPS = 80  # by then every trick must have had an effect


@cache
def plain_refusal(objective: str, model: str) -> str:
    """The refusal of an objective with a model and no trick; empty if they are compatible."""
    return modules_or_refusal(PLAYS_OF_MODEL[model][:1], objective, [], model)[1]


EVERY = [
    *product(["mlp", "dcgan"], TRICKS, OBJECTIVES),
    *product(["residual"], TRICKS, ["non_saturating"]),
]
TODAY = [
    *daily_draw(product(["mlp"], TRICKS, OBJECTIVES), A_FIFTH),
    *product(["mlp", "dcgan"], TRICKS, one_of_each_family(OBJECTIVES)),
    *product(["residual"], TRICKS, ["non_saturating"]),
]


@pytest.mark.parametrize(("model", "trick", "objective"), daily_cases(TODAY, EVERY))
def test_a_trick_takes_effect_or_is_refused(model: str, trick: str, objective: str) -> None:
    lacks_pairs = model != "mlp" and needs_pairs(trick)
    model = model_of(trick) if model == "mlp" else model
    without_trick = plain_refusal(objective, model)
    is_refused = without_trick or lacks_pairs or (trick, objective) in REFUSED.objectives
    plays = daily_play(PLAYS_OF_MODEL[model], model, trick, objective)
    assert_effect_or_refusal(plays, objective, trick, model, bool(is_refused))


IN_HOMES = list(product(HOMES, TRICKS, PLAYS))


@pytest.mark.parametrize(
    ("home", "trick", "play"), daily_cases(daily_draw(one_play_each(IN_HOMES), A_FIFTH), IN_HOMES)
)
def test_a_trick_takes_effect_or_is_refused_in_a_home(home: str, trick: str, play: str) -> None:
    objective, _ = HOMES[home]
    is_refused = (trick, home) in REFUSED.homes if home in docs.HOMES else None
    assert_effect_or_refusal([play], objective, trick, home, is_refused)


def assert_effect_or_refusal(
    plays: list[str], objective: str, trick: str, model: str, is_refused: bool | None
) -> None:
    """A trick changes the game in each play; or it is refused in one line, and that is known.

    The games of `make docs` are those that users can choose. Of others, `is_refused` is None.
    """
    games, refusal = modules_or_refusal(plays, objective, [trick], model)
    assert is_refused in (None, bool(refusal)), f"run make docs: {refusal}"
    if refusal:
        assert trick in refusal or refusal == plain_refusal(objective, model)
        assert "\n" not in refusal
    for play, module in games:
        assert takes_effect(module, recorded_game(objective, play, model)), f"{trick} has no effect in {play}"


def takes_effect(module: GameModule, without: RecordedGame) -> bool:
    """Whether a trick changes anything in the first steps, during which all terms must be finite."""
    for step in range(1, MAX_STEPS + 1):
        assert all(map(math.isfinite, play_step(module).values()))
        if step >= 2 and observables_differ(observables(module), without.observables_after(step)):
            return True
    return False


CONTINUED = list(product(["", *TRICKS, "compatible_tricks"], PLAYS))


@pytest.mark.parametrize(("trick", "play"), daily_cases(one_play_each(CONTINUED), CONTINUED))
def test_a_game_continues_identically_from_its_state(trick: str, play: str, tmp_path: Path) -> None:
    tricks = compatible_tricks() if trick == "compatible_tricks" else [trick] if trick else []
    module = game(compatible_objective(*tricks), tricks, play)
    play_steps(module, 3)
    torch.save(
        {
            "game": module.game.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in module.configure_optimizers()],
        },
        tmp_path / "state",
    )
    state = torch.load(tmp_path / "state", weights_only=True)
    twin = game(compatible_objective(*tricks), tricks, play, "seed=7")
    twin.phase.seed = module.phase.seed
    twin.game.load_state_dict(state["game"])
    for optimizer, saved in zip(twin.configure_optimizers(), state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    assert torch.equal(module.game.sample(4), twin.game.sample(4))
    assert play_steps(module, 3) == play_steps(twin, 3)
    assert not modules_differ(module, twin)


HOMES_CONTINUED = list(product(HOMES, PLAYS))


@pytest.mark.parametrize(("home", "play"), daily_cases(one_play_each(HOMES_CONTINUED), HOMES_CONTINUED))
def test_a_home_continues_identically_from_its_state(home: str, play: str, tmp_path: Path) -> None:
    objective, tricks = HOMES[home][0], tricks_of(home)
    module, twin = (game(objective, tricks, play, model=home) for _ in range(2))
    play_steps(module, 3)
    optimizers = [optimizer.state_dict() for optimizer in module.configure_optimizers()]
    torch.save({"module": module.state_dict(), "optimizers": optimizers}, tmp_path / "state")
    play_steps(twin, 1)
    state = torch.load(tmp_path / "state", weights_only=True)
    twin.load_state_dict(state["module"])
    for optimizer, saved in zip(twin.configure_optimizers(), state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    assert play_steps(module, 3) == play_steps(twin, 3)
    assert bitwise_equal(module.state_dict(), twin.state_dict())


@cache
def tricks_of(home: str) -> list[str]:
    """Those of some tricks with a state that a home accepts together."""
    accepted: list[str] = []
    for trick in ("ema", "replay_buffer", "historical_averaging", "r1", "lecam"):
        if modules_or_refusal(PLAYS[:1], HOMES[home][0], [*accepted, trick], home)[0]:
            accepted.append(trick)
    return accepted


OBJECTIVE_OVERRIDES = {
    # The tricks of the paper without its one-sided term, which diverges for unbounded samples.
    "mmd_gan": ["trick=[weight_clip,feature_autoencoder]", "objective.one_sided=null"],
    "ali": ["trick=r1"],  # at this learning rate the means circle about those of the data without it
    # Of more candidates, only those with extreme latents would be near the data, and would move.
    "imle": ["objective.candidates=2", "objective.period=1"],
}


def gaussian_overrides(objective: str, steps: int) -> list[str]:
    """A linear generator, learning rates that fall to 0, and the tricks that the objective needs."""
    rate = f"{{_target_: ganlab.core.schedules.Linear, start: 0.02, end: 0, steps: {steps}}}"
    model = [f"model={objective}"] if objective in WITH_ENCODER else []
    needs_r1 = "trick=r1" in (CONF / "objective" / f"{objective}.yaml").read_text()
    return [
        *SMALL,
        *model,
        "data=ring",
        "data.batch_size=64",
        "model.generator.hidden=[]",
        "model.generator.batch_norm=false",
        f"optimizer.generator.lr={rate}",
        f"optimizer.discriminator.lr={rate}",
        f"objective={objective}",
        *(["trick=r1"] if needs_r1 else []),
        *OBJECTIVE_OVERRIDES.get(objective, []),
    ]


ON_GAUSSIANS = [(objective,) for objective in OBJECTIVES if objective not in ("gain", "f_anogan")]


@pytest.mark.parametrize("objective", daily_share(ON_GAUSSIANS, A_FIFTH))
def test_an_objective_moves_a_gaussian_onto_the_data(objective: str) -> None:
    steps = 800 if objective == "vae" else 400  # a VAE's codes match its prior only late in training
    module = build(compose(*gaussian_overrides(objective, steps)))
    for step in range(steps):
        x = 2 + 0.5 * torch.randn(64, 2, generator=torch.Generator().manual_seed(step))
        module.play_step(Batch(Sample(x), indices=64 * step + torch.arange(64)))
    mean = module.game.sample(500).mean(0)
    # The largest error with three seeds was 0.25, of absolute_error, whose gradient vanishes early.
    assert ((mean - 2).abs() < 0.4).all(), f"from 0 to {mean.tolist()} instead of 2"


CALLS = {  # forward passes of the discriminator in the discriminator's and in the generator's turn
    ("non_saturating", ()): (2, 1),
    ("minimax", ()): (2, 1),
    ("hinge", ()): (2, 1),
    ("hinge", ("r1",)): (2, 1),
    ("hinge", ("r1", "r2")): (2, 1),
    ("hinge", ("gradient_penalty",)): (3, 1),
    ("hinge", ("dragan", "zero_centred_penalty")): (4, 1),
    ("hinge", ("instance_noise", "replay_buffer")): (2, 1),
    ("maximum_likelihood", ()): (2, 1),
    ("absolute_error", ()): (2, 1),
    ("least_squares", ()): (2, 1),
    ("least_squares", ("label_smoothing",)): (2, 1),
    ("wasserstein", ()): (2, 1),
    ("f_jensen_shannon", ()): (2, 1),
    ("relativistic", ()): (2, 2),
    ("relativistic", ("r1",)): (2, 2),
    ("relativistic_average", ()): (2, 2),
    ("mmd", ()): (None, 0),
    ("energy", ()): (None, 0),
    ("moments", ()): (None, 0),
    ("sliced_wasserstein", ()): (None, 0),
    ("learned_mmd", ()): (3, 2),
    ("mmd_gan", ()): (2, 2),
    ("mmd_gan", ("feature_autoencoder",)): (2, 2),
}


@pytest.mark.parametrize(("objective", "tricks"), CALLS)
def test_the_discriminator_is_called_only_when_needed(objective: str, tricks: tuple[str, ...]) -> None:
    module = game(objective, tricks).game
    calls = []
    if module.discriminator is not None:
        module.discriminator.register_forward_hook(lambda *_: calls.append(1))
    for player, expected in zip(("discriminator", "generator"), CALLS[objective, tricks], strict=True):
        calls.clear()
        if expected is not None:
            module.losses(module.turn(player, real_batch(), RandomStreams(0)))
            assert len(calls) == expected, player


@pytest.mark.parametrize(
    ("play", "passes"),
    [("alternating", (3, 2)), ("shared", (3, 1)), ("simultaneous", (2, 1)), ("extragradient", (4, 2))],
)
def test_a_step_makes_the_expected_forward_passes(play: str, passes: tuple[int, int]) -> None:
    module = game("hinge", [], play)
    calls = {"discriminator": 0, "generator": 0}
    for player in calls:
        getattr(module.game, player).register_forward_hook(
            lambda *_, player=player: calls.update({player: calls[player] + 1})
        )
    play_step(module)
    assert (calls["discriminator"], calls["generator"]) == passes


def ganlab_nodes(node, path: str):
    """Every node of a config that builds an object of ganlab, with its path."""
    if isinstance(node, DictConfig):
        if "_target_" in node and node._target_.startswith("ganlab."):
            yield path, node
        for key in node:
            yield from ganlab_nodes(node._get_node(key), f"{path}.{key}")
    elif isinstance(node, ListConfig):
        for i in range(len(node)):
            yield from ganlab_nodes(node._get_node(i), f"{path}.{i}")


def keys_from_defaults(file: DictConfig, path: str) -> set[str]:
    """The keys of a node that its defaults list adds: `prior@model.generator.prior` adds `prior`."""
    groups = [
        str(group)
        for default in file.get("defaults", [])
        if isinstance(default, DictConfig)
        for group in default
    ]
    packages = [group.partition("@")[2].rpartition(".") for group in groups if " " not in group]
    return {key for package, _, key in packages if package == path and key}


def optional_settings(signature: Mapping[str, inspect.Parameter]) -> set[str]:
    """The settings that a file may lack: of those that a class takes as one TypedDict, or with a default."""
    taken = [kind for parameter in signature.values() for kind in get_args(parameter.annotation)]
    names = [name for kind in taken for name in getattr(kind, "__optional_keys__", ())]
    return {*names, *(name for name, p in signature.items() if p.default is not p.empty)}


FILES = sorted(CONF.rglob("*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF).with_suffix("")))
def test_the_keys_of_a_file_are_the_parameters_of_its_class(path: Path) -> None:
    file = OmegaConf.load(path)
    for place, node in ganlab_nodes(file, path.stem):
        module, _, name = node._target_.rpartition(".")
        signature = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        known = set(constructor_parameters(node._target_).types)
        groups = {str(group) for default in node.get("defaults", []) for group in default}
        keys = set(node) - {"_target_", "_partial_", "defaults"}
        keys |= {g for g in groups if " " not in g and "@" not in g}
        keys |= keys_from_defaults(file, place.partition(".")[2])
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values())
        assert takes_any or keys <= known, place
        if not node.get("_partial_"):
            assert known - optional_settings(signature) <= keys, place


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_and_its_file_have_the_same_name(trick: str) -> None:
    assert set(OmegaConf.load(CONF / "trick" / f"{trick}.yaml")) == {trick}
    found = [node["_target_"] for _, node in target_nodes(option_config("trick", trick))]
    (target,) = [t for t in found if ".tricks." in t]
    assert target.startswith("ganlab.tricks.")


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_plays_in_mixed_precision(trick: str) -> None:
    module = game(compatible_objective(trick), [trick])
    with torch.autocast("cpu", torch.bfloat16):
        terms = play_steps(module, STEPS_UNTIL_EFFECT.get(trick, 3))
    assert all(math.isfinite(value) for row in terms for value in row.values())
    tensors = [*module.game.parameters(), *module.game.buffers()]
    for tensor in (tensor for tensor in tensors if tensor.is_floating_point()):
        assert tensor.dtype == torch.float32
        assert tensor.isfinite().all()


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_keeps_nothing_of_weights_that_init_from_replaced(trick: str) -> None:
    trained = {"state_dict": game(compatible_objective(trick), [trick]).state_dict()}
    modules = [game(compatible_objective(trick), [trick], "alternating", f"seed={seed}") for seed in (1, 2)]
    for module in modules:
        load_players(module, trained)
        module.phase.seed = 0
        play_steps(module, STEPS_UNTIL_EFFECT.get(trick, 2))
    assert not modules_differ(*modules)


def test_every_experiment_builds() -> None:
    for experiment in options("experiment"):
        borrows = {"encoder_digits": [f"borrows.game={untrained_run()}"]}
        build(compose(f"experiment={experiment}", "logger=csv", *borrows.get(experiment, [])))
