"""Objectives, compared with formulas in the probability D instead of the logit."""

import pytest
import torch
from support.logit_costs import FAKE, ONES, REAL, player_cost
from support.refusals import refuses
from support.small_games import SMALL, game, resolved_config
from torch import Tensor

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.objectives.adversarial import Hinge, Minimax, NonSaturating


def log_d(logits: Tensor) -> Tensor:
    return (1 / (1 + torch.exp(-logits))).log()


def log_not_d(logits: Tensor) -> Tensor:
    return (1 - 1 / (1 + torch.exp(-logits))).log()


@pytest.mark.parametrize("objective", [Minimax, NonSaturating])
def test_the_discriminator_classifies(objective) -> None:
    expected = -log_d(REAL) - log_not_d(FAKE)
    assert torch.allclose(player_cost(objective(ONES), "discriminator"), expected)


def test_the_generators_losses() -> None:
    assert torch.allclose(player_cost(Minimax(ONES), "generator"), log_not_d(FAKE))
    assert torch.allclose(player_cost(NonSaturating(ONES), "generator"), -log_d(FAKE))
    assert torch.allclose(player_cost(Hinge(ONES), "generator"), -FAKE)


def test_hinge_by_hand() -> None:
    expected = torch.tensor([3 + 0, 0.7 + 1.8, 0 + 3.5], dtype=torch.float64)
    assert torch.allclose(player_cost(Hinge(ONES), "discriminator"), expected)


def test_the_weight_of_a_player() -> None:
    halved = NonSaturating({"discriminator": 0.5, "generator": 2.0})
    assert torch.allclose(
        player_cost(halved, "discriminator"), 0.5 * player_cost(NonSaturating(ONES), "discriminator")
    )
    assert torch.allclose(player_cost(halved, "generator"), 2 * player_cost(NonSaturating(ONES), "generator"))


def test_weights_of_absent_players_and_negative_weights_are_refused() -> None:
    with refuses("objective.weight", reason="needs the keys generator, and no others"):
        build_game(compose(*SMALL, "model=gmn", "+objective.weight.discriminator=1"))
    with refuses("objective.weight.generator", -1, "at least 0"):
        build_game(compose(*SMALL, "objective.weight.generator=-1"))


def test_no_discriminator_is_built_for_direct_matching() -> None:
    assert game("mmd").game.discriminator is None
    assert "discriminator" in resolved_config(*SMALL, "objective=mmd").model
