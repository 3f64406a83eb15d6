"""Adversarial losses, compared with formulas in the probability D, and properties that all of them share."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from support.logit_costs import FAKE, ONES, REAL, logit_gradients, player_cost
from support.refusals import refuses
from support.small_games import SMALL, option_config, options

from ganlab.config.build import build_game, instantiate
from ganlab.config.compose import CONF, compose
from ganlab.objectives.adversarial import (
    AbsoluteError,
    Adversarial,
    LeastSquares,
    MaximumLikelihood,
    Minimax,
    NonSaturating,
    Wasserstein,
    linearised_exp,
)
from ganlab.tricks.composition import Tricks
from ganlab.tricks.label_smoothing import LabelSmoothing

ADVERSARIAL = [
    name
    for name in options("objective")
    if issubclass(get_class(OmegaConf.load(CONF / "objective" / f"{name}.yaml")._target_), Adversarial)
]
HALVES = {"discriminator": 0.5, "generator": 0.5}  # the tutorial's


def probability(logits: torch.Tensor) -> torch.Tensor:
    return 1 / (1 + torch.exp(-logits))


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_logits_stay_finite(name: str, player, dtype: torch.dtype) -> None:
    objective = instantiate(option_config("objective", name))
    for real, fake in product((-30.0, 30.0), repeat=2):
        logits = torch.full((2,), real, dtype=dtype), torch.full((2,), fake, dtype=dtype)
        assert player_cost(objective, player, *logits).isfinite().all()
        assert all(slope.isfinite().all() for slope in logit_gradients(objective, player, *logits))


@pytest.mark.parametrize("name", ADVERSARIAL)
@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("shape", [(4,), (4, 2, 3)])
def test_a_term_is_shaped_like_the_logits(name: str, player, shape: tuple[int, ...]) -> None:
    real, fake = torch.randn(2, *shape)
    assert player_cost(instantiate(option_config("objective", name)), player, real, fake).shape == shape


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_generators_loss_falls_with_the_logit_and_the_discriminators_rises(name: str) -> None:
    objective = instantiate(option_config("objective", name))
    real, fake = torch.tensor([0.4, 0.6]), torch.tensor([0.3, 0.5])
    assert (logit_gradients(objective, "generator", real, fake)[1] < 0).all()
    towards, away = logit_gradients(objective, "discriminator", real, fake)
    assert (towards < 0).all()
    assert (away > 0).all()


def test_maximum_likelihood_in_the_probability() -> None:
    objective, d = MaximumLikelihood(10.0, HALVES), probability(FAKE)
    assert torch.allclose(player_cost(objective, "generator"), -0.5 * d / (1 - d))
    expected = -0.5 * probability(REAL).log() - 0.5 * (1 - d).log()
    assert torch.allclose(player_cost(objective, "discriminator"), expected)


@pytest.mark.parametrize(
    ("make", "slope"),
    [
        (Minimax, lambda d: -d),
        (NonSaturating, lambda d: -(1 - d)),
        (lambda weight: MaximumLikelihood(10.0, weight), lambda d: -d / (1 - d)),
    ],
    ids=["minimax", "non_saturating", "maximum_likelihood"],
)
@pytest.mark.parametrize("weight", [ONES, HALVES], ids=["whole", "half"])
def test_the_generators_slope_in_the_logit(make, slope, weight) -> None:
    """The slopes of the curves in figure 16 of the tutorial (Goodfellow 2016)."""
    logits = torch.linspace(-6, 6, 50, dtype=torch.float64)
    _, found = logit_gradients(make(weight), "generator", logits, logits)
    assert torch.allclose(found, weight["generator"] * slope(probability(logits)))


def test_a_linearised_exponential_continues_along_its_tangent() -> None:
    x = torch.tensor([-40.0, -1.0, 1.9, 2.0, 2.1, 7.0], dtype=torch.float64, requires_grad=True)
    value = linearised_exp(x, 2.0)
    (slope,) = torch.autograd.grad(value.sum(), x)
    expected = [math.exp(v) if v <= 2 else math.exp(2) * (v - 1) for v in x.tolist()]
    assert value.tolist() == pytest.approx(expected)
    assert slope.tolist() == pytest.approx([math.exp(min(v, 2)) for v in x.tolist()])


def test_the_most_real_fakes_keep_their_slope() -> None:
    logits = torch.tensor([4.0, 30.0, 1000.0])
    _, slope = logit_gradients(MaximumLikelihood(3.0, ONES), "generator", logits, logits)
    assert torch.allclose(slope, torch.full((3,), -math.exp(3)))


def test_absolute_error_by_hand() -> None:
    objective = AbsoluteError(ONES)
    real, fake = (1 - probability(REAL)).abs(), (0 - probability(FAKE)).abs()
    assert torch.allclose(player_cost(objective, "discriminator"), real / 2 + fake / 2)
    assert torch.allclose(
        logit_gradients(objective, "generator")[1],
        -logit_gradients(objective, "discriminator")[1],  # zero-sum
    )


def test_absolute_error_keeps_its_slope_in_half_precision() -> None:
    """In bfloat16 a probability above 0.998 is 1, of slope 0."""
    logits = torch.tensor([8.0], dtype=torch.bfloat16)
    _, slope = logit_gradients(AbsoluteError(ONES), "generator", logits, logits)
    d = probability(torch.tensor(8.0, dtype=torch.float64))
    assert float(slope) == pytest.approx(float(-d * (1 - d) / 2), rel=0.01)


@pytest.mark.parametrize(("a", "b", "c"), [(0, 1, 1), (-1, 1, 0), (2, -3, -1)])
def test_least_squares_by_hand(a: float, b: float, c: float) -> None:
    objective = LeastSquares(a, b, c, ONES)
    expected = [((r - b) ** 2 + (f - a) ** 2) / 2 for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)]
    assert player_cost(objective, "discriminator").tolist() == pytest.approx(expected)
    wanted = [(f - c) ** 2 / 2 for f in FAKE.tolist()]
    assert player_cost(objective, "generator").tolist() == pytest.approx(wanted)


def test_label_smoothing_moves_the_target_of_real_samples_towards_that_of_fakes() -> None:
    """With 90 % correct labels the mean target of real samples is 0.9 b + 0.1 a."""
    tricks = Tricks({"label_smoothing": LabelSmoothing(0.9)})
    found = player_cost(LeastSquares(-1, 1, 1, ONES), "discriminator", tricks=tricks)
    assert torch.allclose(found, (REAL - 0.8).square() / 2 + (FAKE + 1).square() / 2)


@pytest.mark.parametrize("c", [0, -1])
def test_a_target_away_from_the_data_is_refused(c: float) -> None:
    with refuses(".c", c, "away from the data, since b=1 is on the other side of a=0"):
        LeastSquares(0, 1, c, ONES)
    with refuses("objective.c", 1):
        build_game(compose(*SMALL, "objective=least_squares", "objective.a=1"))


def test_wasserstein_by_hand() -> None:
    assert torch.allclose(player_cost(Wasserstein(ONES), "discriminator"), FAKE - REAL)
    assert torch.allclose(player_cost(Wasserstein(ONES), "generator"), -FAKE)


@pytest.mark.parametrize("value", ["0", "-1", "41", "true", "abc", "null", ".nan"])
@pytest.mark.parametrize("key", ["maximum_likelihood max_logit", "f_kl divergence.max_logit"])
def test_a_max_logit_out_of_range_is_refused(key: str, value: str) -> None:
    name, setting = key.split()
    with refuses(f"objective.{setting}", reason=r"must be a number in \(0, 40\]"):
        build_game(compose(*SMALL, f"objective={name}", f"objective.{setting}={value}"))
