"""Games that are played as one: what each keeps of itself, and what the bridge adds."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from support.commands import bitwise_equal
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.small_games import game, options, play_step, play_steps
from torch import nn
from torch.optim import Adam

from ganlab.config.compose import compose
from ganlab.config.stages import part_configs
from ganlab.core.batch import Batch, ConditionSpec, Sample
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams, seeded_generator
from ganlab.game import Game
from ganlab.games import Bridge, CycleConsistency, Games
from ganlab.networks.base import AppendCondition, ConditionalSequential, Generator
from ganlab.networks.mlp import discriminator
from ganlab.networks.priors import Normal
from ganlab.objectives.adversarial import LeastSquares
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Alternating
from ganlab.tricks.base import Trick
from ganlab.tricks.r1 import R1

PARTS = ("ab", "ba")


def cyclegan(tricks=(), play="alternating", objective="least_squares", bridge: Bridge | None = None):
    module = game(objective, tricks, play, model="cyclegan")
    module.phase.game.bridge = bridge or module.phase.game.bridge
    return module


class Within(Game):
    """A game that draws its random numbers from the streams of a part."""

    part = ""

    def turn(self, player, batch, random, step=0):
        return super().turn(player, batch, random.within(self.part), step)


def alone(module: GameModule, part: str) -> GameModule:
    """One part of a composite, as a run of its own with the streams of that part."""
    twin = copy.deepcopy(module)
    played = twin.phase.game.parts[part]
    played.__class__, played.part = Within, part
    makers = {
        player: lambda weights, old=twin.phase.player_optimizers[f"{part}/{player}"].optimizer: type(old)(
            weights, **old.defaults
        )
        for player in played.players
    }
    for make in makers.values():
        make.keywords = {}
    phase = Phase(played, twin.phase.play, makers, dict.fromkeys(makers), seed=module.phase.seed)
    module_alone = GameModule([phase])
    module_alone.batches = module.batches
    return module_alone


MANY = ("r1", "ema", "instance_noise", "replay_buffer", "unrolled")


@on_one_day_of(2)
@pytest.mark.parametrize("play", options("play"))
@pytest.mark.parametrize("tricks", [(), MANY, ("critic_steps",), ("adaptive_balance",)])
def test_a_composite_whose_bridge_adds_nothing_is_its_parts(tricks: tuple[str, ...], play: str) -> None:
    objective = "non_saturating" if "adaptive_balance" in tricks else "least_squares"
    together = cyclegan(tricks, play, objective, Bridge())
    single = {part: alone(together, part) for part in PARTS}
    before = copy.deepcopy(together.state_dict())
    for module in (together, *single.values()):
        play_steps(module, 6 if "critic_steps" in tricks else 3)  # then both players have moved
    for part, game_alone in single.items():
        state = together.parts[part].state_dict()
        assert bitwise_equal(state, game_alone.game.state_dict()), part
    assert not bitwise_equal(before, together.state_dict())
    assert not torch.equal(together.parts["ab"].sample(2), together.parts["ba"].sample(2))


class Never(Trick):
    """The players of this game rest."""

    def __init__(self) -> None:
        super().__init__()
        self.updates = 0

    def may_move(self, player, step):
        return False

    def after_update(self, player, networks, step):
        self.updates += 1


@pytest.mark.parametrize("play", options("play"))
def test_a_part_that_rests_stays_although_the_bridge_reaches_it(play: str) -> None:
    module = cyclegan(play=play)
    module.parts["ba"].tricks["never"] = never = Never()
    before = {p: copy.deepcopy([*part.parameters()]) for p, part in module.parts.items()}
    logged = play_step(module)
    assert {"ab/generator/cycle", "ba/generator/cycle", "ab/generator/adversarial"} <= logged.keys()
    assert not [name for name in logged if name.startswith("ba/") and name.endswith("adversarial")]
    for part, moved in (("ab", True), ("ba", False)):
        pairs = zip(before[part], module.parts[part].parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in pairs) == moved
    assert never.updates == 0
    module.parts["ab"].tricks["never"] = Never()
    assert play_step(module) == {}


def test_the_terms_of_a_cycle_are_those_of_the_paper_and_reach_both_generators() -> None:
    module = cyclegan().eval()
    games = module.phase.game
    batch = module.batches(0)
    terms = games.losses(games.turn("generator", batch, RandomStreams(0)))
    forward, backward = (
        lambda x, g=part.generator: g(torch.zeros(len(x), 0), x) for part in module.parts.values()
    )
    b, a = batch.real.x, batch.real.condition
    expected = {
        "ab/cycle": 10 * (backward(forward(a)) - a).abs().mean(),
        "ba/cycle": 10 * (forward(backward(b)) - b).abs().mean(),
        "ab/identity": 5 * (forward(b) - b).abs().mean(),
        "ba/identity": 5 * (backward(a) - a).abs().mean(),
    }
    assert terms.keys() == {"ab/adversarial", "ba/adversarial", *expected}
    for name, value in expected.items():
        assert torch.allclose(terms[name], value), name
    for part in module.parts.values():
        for name in ("ab/cycle", "ba/cycle"):
            (gradient,) = torch.autograd.grad(terms[name], part.weights("generator")[:1], retain_graph=True)
            assert gradient.abs().sum() > 0
    discriminator_terms = games.losses(games.turn("discriminator", batch, RandomStreams(0)))
    assert discriminator_terms.keys() == {"ab/adversarial", "ba/adversarial"}


class Mixing(Bridge):
    """The discriminator of the first game judges the mean of both fakes."""

    def joined(self, turns):
        first, second = turns.values()
        mean = (first.generated.x + second.generated.x) / 2
        mixed = first.replace(generated=first.generated._replace(x=mean))
        return type(turns)({**turns, "ab": mixed})


@pytest.mark.parametrize("play", options("play"))
def test_a_bridge_may_join_what_the_games_generate(play: str) -> None:
    module, apart = cyclegan(play=play, bridge=Mixing()), cyclegan(play=play, bridge=Bridge())
    play_step(module), play_step(apart)
    same = {
        part: bitwise_equal(*(m.parts[part].discriminator.state_dict() for m in (module, apart)))
        for part in PARTS
    }
    # Extragradient also judges fakes of generators that have looked ahead, and these depend on each other.
    assert same == {"ab": False, "ba": play != "extragradient"}


def translator() -> Generator:
    body = ConditionalSequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    generator = Generator(body, 0, (2,), Normal())
    generator.latent_transforms.append(AppendCondition())
    generator.condition = ConditionSpec("vector", (2,), paired=False)
    return generator


def points(step: int, n: int = 128) -> Batch:
    """Two unpaired clouds in the plane, the second one turned by a right angle and moved."""
    generator = seeded_generator("clouds", step)
    a, b = (torch.randn(n, 2, generator=generator) * torch.tensor([0.6, 0.15]) for _ in range(2))
    return Batch(Sample(b.flip(1) + 1, a))


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """The Wasserstein-1 distance of two clouds of equal size."""
    costs = torch.cdist(x, y).numpy()
    return float(costs[linear_sum_assignment(costs)].mean())


def train_on_clouds(cycle: float, steps: int) -> tuple[float, float, float]:
    """The distances of the translations to their domains, and the error of a translation there and back."""
    players = ("discriminator", "generator")
    parts = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name in PARTS:
            networks = {
                "generator": translator(),
                "discriminator": discriminator(
                    [64, 64], maxout=None, slope=0.2, dropout=0, input_dropout=0, shape=(2,)
                ),
            }
            objective = LeastSquares(0, 1, 1, dict.fromkeys(players, 1))
            told = Networks(networks, ConditionSpec("vector", (2,), paired=False))
            parts[name] = Game(told, objective, {"r1": R1(gamma=0.2, every=1)})
    make = dict.fromkeys((f"{part}/{player}" for part in PARTS for player in players), partial(Adam, lr=1e-3))
    games = Games(parts, CycleConsistency(cycle=cycle, identity=0))
    module = GameModule([Phase(games, Alternating(), make, dict.fromkeys(make), seed=0)])
    for step in range(steps):
        module.play_step(points(step))
    real = points(-1, 400).real
    a, b = real.condition, real.x
    there, back = parts["ab"].sample(400, conditions=a), parts["ba"].sample(400, conditions=b)
    returned = parts["ba"].sample(400, conditions=there)
    return distance(there, b), distance(back, a), float((returned - a).norm(dim=1).mean())


@on_one_day_of(2)
def test_clouds_are_translated_and_a_cycle_ties_the_translations_together() -> None:
    start, _, _ = train_on_clouds(cycle=1, steps=0)
    to_b, to_a, round_trip = train_on_clouds(cycle=1, steps=300)
    *_, untied = train_on_clouds(cycle=0, steps=300)
    assert start > 1.4
    assert max(to_b, to_a) < 0.25, (to_b, to_a)  # two independent clouds of 400 points are 0.1 apart
    assert round_trip < 0.05 < 0.2 < untied, (round_trip, untied)


def test_games_that_are_no_mappings_are_refused() -> None:
    cfg = compose("experiment=cyclegan_digits", "logger=csv")
    cfg.games.ba = 5
    with refuses("games.ba", 5, "must be a mapping", "give games={ba: {}}"):
        part_configs(cfg)
    cfg.games = 5
    with refuses("games", 5, "must be a mapping"):
        part_configs(cfg)
