"""What every plug-in must keep. The lists are read from conf/: a new file is tested without an edit."""

from __future__ import annotations

import importlib
import inspect
import math
from functools import cache
from itertools import combinations, product
from pathlib import Path

import docs
import pytest
import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from table import SMALL, composed, game, home, in_plays, one_round, options, real, rounds

from ganlab.cli import CONF, compose
from ganlab.config import adopt, build
from ganlab.errors import Refused
from ganlab.kinds import parameters
from ganlab.randomness import Draw
from ganlab.training.base import GameModule
from ganlab.trust import targets

TRICKS, OBJECTIVES, PLAYS = options("trick"), options("objective"), options("play")
MODELS = {"mlp": PLAYS, "dcgan": ["shared"]}  # and the ways in which they are played
WRITTEN = docs.written()
PATIENCE = 80  # rounds after which a trick that changed nothing is inert
# What changes nothing in the first two rounds, and in how many it does in a pair.
LATER = {
    "adaptive_augment": 12,
    "historical_averaging": 4,
    "lookahead": 6,
    "replay_buffer": 6,
    "adaptive_balance": 4,
}
# What acts on a game that needs it, and settings with which it does so on any.
EAGER = {"adaptive_balance": ["trick.adaptive_balance.low=null", "trick.adaptive_balance.high=0.1"]}
# What is only seen once the generator moves, which critic_steps lets it do in each fifth round.
CRITIC_STEPS = 5
GENERATORS = {
    "feature_matching",
    "inverted_labels",
    "lookahead",
    "mode_seeking",
    "orthogonal_regularisation",
    "top_k",
    "unrolled",
}


def seen(module: GameModule) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """What a trick may change: terms, weights, samples."""
    return dict(module.told), [*module.game.weights("generator"), module.game.sample(8)]


def differ(one, other) -> bool:
    """Whether anything differs that both show: a further term that moves nothing does not count."""
    common = one[0].keys() & other[0].keys()
    pairs = [*((one[0][name], other[0][name]) for name in common), *zip(one[1], other[1], strict=False)]
    return len(one[1]) != len(other[1]) or any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


def differs(one: GameModule, other: GameModule) -> bool:
    return differ(seen(one), seen(other))


class Played:
    """What is seen round by round of a game, played once for all that are compared with it."""

    def __init__(self, objective: str, play: str, model: str, *tricks: str):
        self.module = game(objective, tricks, play, model=model)
        self.rounds: list = []

    def after(self, step: int):
        while len(self.rounds) < step:
            one_round(self.module)
            terms, tensors = seen(self.module)
            self.rounds.append((terms, [tensor.clone() for tensor in tensors]))
        return self.rounds[step - 1]


played = cache(Played)


def attempt(plays, objective: str, tricks, model: str) -> tuple[list[tuple[str, GameModule]], str]:
    """The games of each way of playing, or none and why they are refused."""
    try:
        return list(in_plays(plays, objective, tricks, model)), ""
    except Refused as refusal:
        return [], str(refusal)


@cache
def refused(objective: str, model: str) -> str:
    """Why a model cannot play an objective without any trick."""
    return attempt(MODELS[model][:1], objective, [], model)[1]


@pytest.mark.parametrize(("model", "plays"), MODELS.items(), ids=MODELS)
@pytest.mark.parametrize(("trick", "objective"), list(product(TRICKS, OBJECTIVES)))
def test_a_trick_acts_or_refuses(trick: str, objective: str, model: str, plays: list[str]) -> None:
    games, refusal = attempt(plays, objective, [trick], model)
    without = refused(objective, model)
    assert bool(refusal) == bool(without or (trick, objective) in WRITTEN.objectives), "run make docs"
    if refusal:
        assert trick in refusal or refusal == without
        assert "\n" not in refusal
    for play, module in games:
        assert acts(module, played(objective, play, model)), f"{trick} changed nothing under {play}"


def acts(module: GameModule, without: Played) -> bool:
    """Whether a trick changes anything in its first rounds; all terms are finite meanwhile."""
    for step in range(1, PATIENCE + 1):
        assert all(map(math.isfinite, one_round(module).values()))
        if step >= 2 and differ(seen(module), without.after(step)):
            return True
    return False


@pytest.mark.parametrize(("model", "plays"), MODELS.items(), ids=MODELS)
@pytest.mark.parametrize("pair", list(combinations(TRICKS, 2)), ids="-".join)
def test_a_pair_plays_alike_in_both_orders_or_refuses(
    pair: tuple[str, str], model: str, plays: list[str]
) -> None:
    objective = home(*pair)
    games, refusal = attempt(plays, objective, pair, model)
    assert bool(refusal) == (pair in WRITTEN.pairs), "run make docs"
    if refusal:
        assert pair[0] in refusal
        assert pair[1] in refusal
        assert attempt(plays, objective, pair[::-1], model) == ([], refusal)
    for play, module in games:
        terms = rounds(module, 2)
        assert all(math.isfinite(value) for row in terms for value in row.values())
        if model == "mlp" and play == plays[0]:  # the order is the same fold's, whatever the networks
            other = game(objective, pair[::-1], play, model=model)
            assert rounds(other, 2) == terms
            assert not differs(module, other)
            both_act(pair, objective, play, module)


def both_act(pair: tuple[str, str], objective: str, play: str, module: GameModule) -> None:
    """What is seen after some rounds with a pair is seen with neither of its tricks alone."""
    for trick, other in sorted((pair, pair[::-1]), key=lambda turn: until(*turn)):
        eager = game(objective, pair, play, *EAGER[trick]) if trick in EAGER else module
        rounds(eager, until(trick, other) - eager.game.step)
        without = played(objective, play, "mlp", other).after(until(trick, other))
        assert differ(seen(eager), without), f"{trick} changes nothing beside {other}"


def until(trick: str, other: str) -> int:
    """The round in which a trick is seen to act beside another."""
    waits = CRITIC_STEPS if trick in GENERATORS and other == "critic_steps" else 1
    return waits * LATER.get(trick, 2)


@cache  # and asked for by tests alone: to find it takes seconds, which no import should
def largest_set(tricks: tuple[str, ...] = tuple(TRICKS)) -> list[str]:
    """All tricks that go together, taken greedily in their order."""
    together: list[str] = []
    for trick in tricks:
        if attempt(PLAYS[:1], "non_saturating", [*together, trick], "mlp")[0]:
            together.append(trick)
    return together


@pytest.mark.parametrize("play", PLAYS)
def test_the_largest_set_plays_together(play: str) -> None:
    module = game("non_saturating", largest_set(), play)
    assert all(math.isfinite(value) for row in rounds(module, 3) for value in row.values())


@pytest.mark.parametrize("trick", ["", *TRICKS, "all_that_go_together"])
@pytest.mark.parametrize("play", PLAYS)
def test_a_restored_twin_plays_on_alike(trick: str, play: str, tmp_path: Path) -> None:
    tricks = largest_set() if trick == "all_that_go_together" else [trick] if trick else []
    module = game(home(*tricks), tricks, play)
    rounds(module, 3)
    torch.save(
        {
            "game": module.game.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in module.configure_optimizers()],
        },
        tmp_path / "state",
    )
    state = torch.load(tmp_path / "state", weights_only=True)
    twin = game(home(*tricks), tricks, play, "seed=7")
    twin.seed = module.seed
    twin.game.load_state_dict(state["game"])
    for optimizer, saved in zip(twin.configure_optimizers(), state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    assert torch.equal(module.game.sample(4), twin.game.sample(4))
    assert rounds(module, 3) == rounds(twin, 3)
    assert not differs(module, twin)


# The paper's tricks, without its one-sided term, which drives samples without bounds away, as the file says.
BESIDE = {"mmd_gan": ["trick=[weight_clip,feature_autoencoder]", "objective.one_sided=null"]}


def settings(objective: str, steps: int) -> list[str]:
    """A linear generator, rates that fall to 0, and what the objective's own file asks for."""
    rate = f"{{_target_: ganlab.schedules.Linear, start: 0.02, end: 0, steps: {steps}}}"
    wants_r1 = "trick=r1" in (CONF / "objective" / f"{objective}.yaml").read_text()
    return [
        *SMALL,
        "data=ring",
        "data.batch_size=64",
        "model.generator.hidden=[]",
        "model.generator.batch_norm=false",
        f"optimizer.generator.lr={rate}",
        f"optimizer.discriminator.lr={rate}",
        f"objective={objective}",
        *(["trick=r1"] if wants_r1 else []),
        *BESIDE.get(objective, []),
    ]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_moves_a_gaussian_onto_the_data(objective: str) -> None:
    # At first a VAE's codes say where the data are, and what its prior makes of them comes after.
    steps = 800 if objective == "vae" else 400
    module = build(compose(*settings(objective, steps)))
    for step in range(steps):
        x = 2 + 0.5 * torch.randn(64, 2, generator=torch.Generator().manual_seed(step))
        module.round((x, None))
    mean = module.game.sample(500).mean(0)
    # Of three seeds the worst was 0.25 away: absolute_error, which fades where it is sure.
    assert ((mean - 2).abs() < 0.4).all(), f"from 0 to {mean.tolist()} instead of 2"


CALLS = {  # discriminator passes on the discriminator's and on the generator's turn
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
def test_no_verdict_is_passed_that_nobody_asked_for(objective: str, tricks: tuple[str, ...]) -> None:
    module = game(objective, tricks).game
    calls = []
    if module.discriminator is not None:
        module.discriminator.register_forward_hook(lambda *_: calls.append(1))
    for player, expected in zip(("discriminator", "generator"), CALLS[objective, tricks], strict=True):
        calls.clear()
        if expected is not None:
            module.losses(module.turn(player, real(), Draw(0)))
            assert len(calls) == expected, player


@pytest.mark.parametrize(
    ("play", "passes"),
    [("alternating", (3, 2)), ("shared", (3, 1)), ("simultaneous", (2, 1)), ("extragradient", (4, 2))],
)
def test_passes_of_a_round(play: str, passes: tuple[int, int]) -> None:
    module = game("hinge", [], play)
    calls = {"discriminator": 0, "generator": 0}
    for player in calls:
        getattr(module.game, player).register_forward_hook(
            lambda *_, player=player: calls.update({player: calls[player] + 1})
        )
    one_round(module)
    assert (calls["discriminator"], calls["generator"]) == passes


def nodes(node, path: str):
    """Every node of a config that builds an object of ganlab."""
    if isinstance(node, DictConfig):
        if "_target_" in node and node._target_.startswith("ganlab."):
            yield path, node
        for key in node:
            yield from nodes(node._get_node(key), f"{path}.{key}")
    elif isinstance(node, ListConfig):
        for i in range(len(node)):
            yield from nodes(node._get_node(i), f"{path}.{i}")


def brought(file: DictConfig, place: str) -> set[str]:
    """The keys of a node that other files give it: prior@model.generator.prior gives model.generator one."""
    groups = [
        str(group)
        for default in file.get("defaults", [])
        if isinstance(default, DictConfig)
        for group in default
    ]
    packages = [group.partition("@")[2].rpartition(".") for group in groups if " " not in group]
    return {key for package, _, key in packages if package == place and key}


FILES = sorted(CONF.rglob("*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF).with_suffix("")))
def test_the_keys_of_a_file_are_the_parameters_of_its_class(path: Path) -> None:
    file = OmegaConf.load(path)
    for place, node_ in nodes(file, path.stem):
        module, _, name = node_._target_.rpartition(".")
        signature = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        known = set(parameters(node_._target_)[0])
        chosen = {str(group) for default in node_.get("defaults", []) for group in default}
        keys = set(node_) - {"_target_", "_partial_", "defaults"} | {g for g in chosen if " " not in g}
        keys |= brought(file, place.partition(".")[2])
        assert keys <= known, place
        if not node_.get("_partial_"):
            assert known - {n for n, p in signature.items() if p.default is not p.empty} <= keys, place


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_and_its_file_have_one_name(trick: str) -> None:
    assert set(OmegaConf.load(CONF / "trick" / f"{trick}.yaml")) == {trick}
    found = [node["_target_"] for _, node in targets(composed(*SMALL, f"trick={trick}").trick)]
    (target,) = [t for t in found if ".tricks." in t]
    assert target.startswith("ganlab.tricks.")


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_plays_in_mixed_precision(trick: str) -> None:
    module = game(home(trick), [trick])
    with torch.autocast("cpu", torch.bfloat16):
        terms = rounds(module, LATER.get(trick, 3))
    assert all(math.isfinite(value) for row in terms for value in row.values())
    numbers = [*module.game.parameters(), *module.game.buffers()]
    for weight in (number for number in numbers if number.is_floating_point()):
        assert weight.dtype == torch.float32
        assert weight.isfinite().all()


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_remembers_no_weights_that_were_put_aside(trick: str) -> None:
    trained = {"state_dict": game(home(trick), [trick]).state_dict()}
    ones = [game(home(trick), [trick], "alternating", f"seed={seed}") for seed in (1, 2)]
    for module in ones:
        adopt(module, trained)
        module.seed = 0
        rounds(module, LATER.get(trick, 2))
    assert not differs(*ones)


def test_every_experiment_builds() -> None:
    for experiment in options("experiment"):
        build(compose(f"experiment={experiment}", "logger=csv"))
