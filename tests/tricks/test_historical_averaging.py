import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, play_steps, real_batch

from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.tricks.historical_averaging import HistoricalAveraging

PLAYERS = ("discriminator", "generator")


def weights(module, player: str) -> list[torch.Tensor]:
    return [w.detach().clone() for w in module.game.weights(player)]


def term(module, player: str) -> torch.Tensor:
    turn = module.game.turn(player, real_batch(), RandomStreams(0))
    trick = module.game.tricks["historical_averaging"]
    return trick.losses(turn, lambda _: {})["historical_averaging"]


@pytest.mark.parametrize("player", PLAYERS)
def test_the_term_and_its_gradient_are_the_closed_form(player: str) -> None:
    module = game("hinge", ["historical_averaging"], "alternating", "trick.historical_averaging.weight=3")
    history = []
    for _ in range(5):
        play_step(module)
        history.append(weights(module, player))
    averages = [torch.stack(past).double().mean(0) for past in zip(*history, strict=True)]
    gaps = [w.double() - average for w, average in zip(history[-1], averages, strict=True)]
    found = term(module, player)
    assert float(found.detach()) == pytest.approx(
        3 * sum(float(gap.square().sum()) for gap in gaps), rel=1e-4
    )
    slopes = torch.autograd.grad(found, module.game.weights(player))
    for slope, gap in zip(slopes, gaps, strict=True):
        assert torch.allclose(slope.double(), 6 * gap, atol=1e-6)


def test_there_is_no_term_before_the_first_update() -> None:
    module = game("hinge", ["historical_averaging"])
    terms = play_steps(module, 3)
    names = [f"{player}/historical_averaging" for player in PLAYERS]
    assert [[name in row for name in names] for row in terms] == [[False] * 2, [True] * 2, [True] * 2]
    assert [terms[1][name] for name in names] == [0, 0]
    assert all(terms[2][name] > 0 for name in names)


class Still(HistoricalAveraging):
    """The generator moves in the first step only."""

    def may_move(self, player: str, step: int) -> bool:
        return player == "discriminator" or step == 0


def test_each_player_counts_its_own_updates() -> None:
    module = game("hinge", ["historical_averaging"])
    module.game.tricks["historical_averaging"].__class__ = Still
    play_steps(module, 4)
    assert module.game.tricks["historical_averaging"].num_updates == {"discriminator": 4, "generator": 1}
    assert float(term(module, "generator").detach()) == 0 < float(term(module, "discriminator").detach())


def test_it_needs_no_discriminator_and_includes_weights_that_other_tricks_add() -> None:
    module = game("mmd", ["historical_averaging"])
    assert "generator/historical_averaging" in play_steps(module, 2)[1]
    tricks = ["historical_averaging", "label_conditioning"]
    module = game("hinge", tricks)
    many = sum(w.numel() for w in module.game.weights("discriminator"))
    assert module.game.tricks["historical_averaging"].discriminator.shape == (many,)


def test_unrolled_steps_include_the_term_at_unrolled_weights() -> None:
    module = game("hinge", ["historical_averaging", "unrolled"])
    play_steps(module, 2)
    average = module.game.tricks["historical_averaging"].discriminator
    found, by_hand = [], []

    def compute(turn: Turn) -> dict[str, torch.Tensor]:
        terms = module.game.tricks["historical_averaging"].losses(turn, module.game.objective)
        if turn.player == "discriminator":
            weights = torch.cat([w.flatten() for w in turn.discriminator.parameters()])
            found.append(float(terms["historical_averaging"].detach()))
            by_hand.append(float((weights - average).detach().square().sum()))
        return terms

    turn = module.game.turn("generator", real_batch(), RandomStreams(0))
    module.game.tricks["unrolled"].losses(turn, compute)
    assert found == pytest.approx(by_hand)
    assert found[0] == pytest.approx(float(term(module, "discriminator").detach()))
    assert found[-1] > 2 * found[0]


def test_the_weight_may_be_a_schedule() -> None:
    module = game("hinge", ["historical_averaging"])
    module.game.tricks["historical_averaging"].weight = Linear(2, 0, 10)
    play_steps(module, 3)
    turn = module.game.turn("generator", real_batch(), RandomStreams(0))
    values = []
    for turn.step in (0, 5):
        terms = module.game.tricks["historical_averaging"].losses(turn, lambda _: {})
        values.append(float(terms["historical_averaging"].detach()))
    assert values[0] == pytest.approx(2 * values[1])


def test_a_weight_of_zero_is_refused() -> None:
    with refuses(".weight", 0, "no effect"):
        HistoricalAveraging(0)
