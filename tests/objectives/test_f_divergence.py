"""f-divergences, compared with their integrals, with conjugates as suprema, and with each other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from support.daily_sample import family
from support.logit_costs import FAKE, ONES, REAL, logit_gradients, player_cost
from support.refusals import refuses
from support.small_games import SMALL, option_config, options

from ganlab.config.build import build_game, instantiate
from ganlab.config.compose import compose
from ganlab.objectives.adversarial import AbsoluteError, MaximumLikelihood, Minimax
from ganlab.objectives.f_divergence import FDivergence

P = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
Q = torch.tensor([0.3, 0.4, 0.2, 0.1], dtype=torch.float64)


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p / q).log()).sum()


class Facts(NamedTuple):
    divergence: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # its sum over p and q, without f
    f: Callable[[float], float]
    domain: tuple[float, float]  # of the conjugate
    best: Callable[[torch.Tensor], torch.Tensor] | None  # the critic's logit at u = p / q


FACTS = {
    "f_kl": Facts(kl, lambda u: u * math.log(u), (-math.inf, math.inf), lambda u: 1 + u.log()),
    "f_reverse_kl": Facts(lambda p, q: kl(q, p), lambda u: -math.log(u), (-math.inf, 0), torch.log),
    "f_pearson": Facts(
        lambda p, q: ((p - q) ** 2 / q).sum(),
        lambda u: (u - 1) ** 2,
        (-math.inf, math.inf),
        lambda u: 2 * (u - 1),
    ),
    "f_neyman": Facts(
        lambda p, q: ((p - q) ** 2 / p).sum(),
        lambda u: (1 - u) ** 2 / u,
        (-math.inf, 1),
        lambda u: 2 * u.log(),
    ),
    "f_squared_hellinger": Facts(
        lambda p, q: ((p.sqrt() - q.sqrt()) ** 2).sum(),
        lambda u: (math.sqrt(u) - 1) ** 2,
        (-math.inf, 1),
        lambda u: u.log() / 2,
    ),
    "f_jensen_shannon": Facts(
        lambda p, q: kl(p, (p + q) / 2) + kl(q, (p + q) / 2),
        lambda u: u * math.log(u) - (u + 1) * math.log((u + 1) / 2),
        (-math.inf, math.log(2)),
        torch.log,
    ),
    "f_total_variation": Facts(
        lambda p, q: 0.5 * (p - q).abs().sum(), lambda u: 0.5 * abs(u - 1), (-0.5, 0.5), None
    ),
}


def made(name: str, **changes) -> FDivergence:
    """The objective of a config file, with a max_logit beyond the logits of these tests."""
    divergence = dict(option_config("objective", name).divergence)
    if "max_logit" in divergence:
        divergence["max_logit"] = 40.0
    return instantiate({**option_config("objective", name), "divergence": divergence, **changes})


def bound(objective: FDivergence, logits: torch.Tensor) -> torch.Tensor:
    """E_P g - E_Q f*(g) of logits at four points, from the losses of all pairs of real and fake."""
    pairs = player_cost(objective, "discriminator", logits.repeat_interleave(4), logits.repeat(4))  # [16]
    return -(pairs * P.repeat_interleave(4) * Q.repeat(4)).sum()


def best_critic(objective: FDivergence) -> torch.Tensor:
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = -bound(objective, logits)
        value.backward()
        return value

    optimizer.step(loss)
    return logits.detach()


def test_every_divergence_is_tested() -> None:
    assert set(FACTS) == {name for name in options("objective") if family(name).endswith(".f_divergence")}


@pytest.mark.parametrize(
    "name", [name for name in FACTS if "max_logit" in option_config("objective", name).divergence]
)
def test_the_best_critic_attains_it_beyond_max_logit(name: str) -> None:
    divergence = {**option_config("objective", name).divergence, "max_logit": 0.2}
    objective = instantiate({**option_config("objective", name), "divergence": divergence})
    value = float(bound(objective, best_critic(objective)))
    assert value == pytest.approx(float(FACTS[name].divergence(P, Q)), abs=1e-6)


@pytest.mark.parametrize("name", FACTS)
def test_the_best_critic_attains_the_divergence(name: str) -> None:
    critic = best_critic(made(name))
    assert float(bound(made(name), critic)) == pytest.approx(float(FACTS[name].divergence(P, Q)), abs=1e-6)
    best = FACTS[name].best
    if best is None:
        assert ((critic > 5) == (P > Q)).all()
        assert ((critic < -5) == (P < Q)).all()
    else:
        assert torch.allclose(critic, best(P / Q), atol=1e-4)


@pytest.mark.parametrize("size", [4, 40, 4000])
@pytest.mark.parametrize("name", FACTS)
def test_no_critic_exceeds_the_divergence(name: str, size: float) -> None:
    """As shipped, and far beyond the largest logit."""
    logits = size * torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    limit = float(FACTS[name].divergence(P, Q)) * (1 + 1e-12)
    objective = instantiate(option_config("objective", name))
    assert all(float(bound(objective, critic)) <= limit for critic in logits)


@pytest.mark.parametrize("name", FACTS)
def test_the_output_covers_exactly_the_domain_of_the_conjugate(name: str) -> None:
    logits = torch.linspace(-30, 30, 3001, dtype=torch.float64)
    t, _ = made(name).divergence(logits)
    low, high = FACTS[name].domain
    assert (t.diff() >= 0).all()
    assert low <= float(t[0])
    assert float(t[-1]) <= high
    assert float(t[0]) < -20 if math.isinf(low) else float(t[0]) == pytest.approx(low, abs=1e-9)
    assert float(t[-1]) > 20 if math.isinf(high) else float(t[-1]) == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("logit", [-1.5, -0.2, 0.0, 0.7, 2.0])
def test_the_conjugate_is_the_supremum(name: str, logit: float) -> None:
    """f*(t) = sup over u of u t - f(u), searched for on a grid of log u and then refined."""
    f, divergence = FACTS[name].f, made(name).divergence
    t, conjugate = map(float, divergence(torch.tensor(logit, dtype=torch.float64)))

    def negative(log_u: float) -> float:
        return f(math.exp(log_u)) - t * math.exp(log_u)

    grid = np.linspace(-25, 25, 2001)
    start = grid[np.argmin([negative(x) for x in grid])]
    found = minimize_scalar(
        negative, bounds=(start - 0.1, start + 0.1), method="bounded", options={"xatol": 1e-12}
    )
    assert conjugate == pytest.approx(-found.fun, abs=1e-6)


@pytest.mark.parametrize("name", FACTS)
def test_the_generator_minimises_the_bound_or_the_negative_output(name: str) -> None:
    objective = made(name, generator_cost="bound")
    assert torch.allclose(
        logit_gradients(objective, "generator")[1], -logit_gradients(objective, "discriminator")[1]
    )
    towards, _ = logit_gradients(objective, "discriminator", FAKE, REAL)
    assert torch.allclose(logit_gradients(made(name, generator_cost="output"), "generator")[1], towards)


def test_divergences_that_equal_other_objectives() -> None:
    two_log_2 = 2 * math.log(2)
    jensen_shannon, minimax = made("f_jensen_shannon"), Minimax(ONES)
    expected = player_cost(minimax, "discriminator") - two_log_2
    assert torch.allclose(player_cost(jensen_shannon, "discriminator"), expected)
    variation, error = made("f_total_variation"), AbsoluteError(ONES)
    expected = 2 * player_cost(error, "discriminator", 2 * REAL, 2 * FAKE) - 1
    assert torch.allclose(player_cost(variation, "discriminator"), expected)
    likelihood = player_cost(MaximumLikelihood(10.0, ONES), "generator")
    assert torch.allclose(player_cost(made("f_kl"), "generator", REAL, FAKE + 1), likelihood)


@pytest.mark.parametrize("name", ["f_kl", "f_reverse_kl", "f_neyman", "f_squared_hellinger"])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_slopes_beyond_max_logit_are_bounded_and_not_zero(name: str, player) -> None:
    target = option_config("objective", name).divergence._target_
    objective = made(name, divergence={"_target_": target, "max_logit": 2.0})

    def steepest(logit: float) -> list[float]:
        ends = torch.tensor([-logit, logit])
        return [float(slope.abs().max()) for slope in logit_gradients(objective, player, ends, ends)]

    assert steepest(1.0) <= steepest(2.0)
    assert steepest(50.0) <= [1.001 * slope for slope in steepest(2.0)]
    assert max(steepest(50.0)) > 0.01


def test_an_unknown_generator_cost_is_refused() -> None:
    with refuses("objective.generator_cost", "mystery", "one of bound, output"):
        build_game(compose(*SMALL, "objective=f_kl", "objective.generator_cost=mystery"))
