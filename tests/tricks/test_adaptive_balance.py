import pytest
import torch
from table import game, one_round, real

from ganlab.errors import Refused
from ganlab.randomness import Draw
from ganlab.tricks.adaptive_balance import AdaptiveBalance, accuracy

PLAYS = ["alternating", "shared", "simultaneous", "extragradient"]
LOSSES = [f"trick.adaptive_balance.{line}" for line in ("by=loss_ratio", "low=0.4", "high=2")]


def trick(*overrides: str, play: str = "alternating", tricks=(), objective: str = "non_saturating"):
    return game(objective, ["adaptive_balance", *tricks], play, *overrides)


def moved(row: dict[str, float]) -> set[str]:
    return {name.split("/")[0] for name in row}


def test_the_accuracy_is_the_share_of_pairs_that_are_told_apart() -> None:
    module = trick()
    for player in ("discriminator", "generator"):
        turn = module.game.turn(player, real(), Draw(0))
        pairs = zip(turn.on_real.logits.tolist(), turn.on_fake.logits.tolist(), strict=True)
        assert float(accuracy(turn)) == sum(r > f for r, f in pairs) / 16
    assert float(accuracy(turn.replace(fake=turn.real))) == 0.5


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(
    ("latest", "expected"),
    [(0.9, {"generator"}), (0.3, {"discriminator"}), (0.65, {"discriminator", "generator"})],
)
def test_who_is_too_far_ahead_sits_one_round_out(play: str, latest: float, expected: set[str]) -> None:
    module = trick("trick.adaptive_balance.low=0.4", play=play)
    module.game.tricks["adaptive_balance"].latest[0] = latest
    assert moved(one_round(module)) == expected
    assert float(module.game.tricks["adaptive_balance"].latest) != pytest.approx(latest)  # whoever moved


def test_both_move_as_long_as_nothing_is_known() -> None:
    for overrides in ([], LOSSES):
        module = trick(*overrides)
        assert module.game.tricks["adaptive_balance"].latest.isnan().all()
        assert len(moved(one_round(module))) == 2


def test_the_accuracy_is_that_before_the_discriminators_move() -> None:
    module = trick()
    turn = module.turn("discriminator", real(module.game.step))
    expected = accuracy(turn)
    one_round(module)
    assert module.game.tricks["adaptive_balance"].latest == expected


@pytest.mark.parametrize(
    ("high", "expected"), [(0.49, {"generator"}), (0.51, {"discriminator", "generator"})]
)
def test_the_losses_are_compared_as_a_ratio(high: float, expected: set[str]) -> None:
    module = trick(*LOSSES, f"trick.adaptive_balance.high={high}", "trick.adaptive_balance.low=null")
    module.game.tricks["adaptive_balance"].latest.copy_(torch.tensor([0.7, 1.4]))
    assert moved(one_round(module)) == expected


def test_a_ratio_below_the_lower_threshold_stops_the_generator() -> None:
    module = trick(*LOSSES)
    module.game.tricks["adaptive_balance"].latest.copy_(torch.tensor([0.3, 1.4]))
    row = one_round(module)
    assert moved(row) == {"discriminator"}
    latest = module.game.tricks["adaptive_balance"].latest.tolist()
    assert latest == pytest.approx([0.3, row["discriminator/adversarial"]])


def test_the_losses_are_those_that_are_minimised_penalties_and_steps_ahead_included() -> None:
    module = trick(*LOSSES, tricks=["r1", "unrolled", "historical_averaging"])
    for _ in range(3):
        row = one_round(module)
        sums = [
            sum(value for name, value in row.items() if name.startswith(player))
            for player in ("generator", "discriminator")
        ]
        assert module.game.tricks["adaptive_balance"].latest.tolist() == pytest.approx(sums)


def test_a_restored_twin_decides_alike() -> None:
    module, twin = (trick(*LOSSES) for _ in range(2))
    one_round(module)
    module.game.tricks["adaptive_balance"].latest[0] = 9.0
    twin.game.load_state_dict(module.game.state_dict())
    assert moved(one_round(twin)) == {"generator"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptiveBalance("luck", 0.4, 0.8), "by=luck must be one of accuracy, loss_ratio"),
        (lambda: AdaptiveBalance("accuracy", None, None), "low=null and high=null would do nothing"),
        (lambda: AdaptiveBalance("accuracy", 0.8, 0.4), "low=0.8 must be less than high=0.4"),
        (lambda: AdaptiveBalance("accuracy", 0.4, 1.5), "high=1.5 must lie strictly between 0 and 1"),
        (lambda: AdaptiveBalance("loss_ratio", -1, None), "low=-1 must lie strictly between 0 and inf"),
        (lambda: trick(*LOSSES, objective="wasserstein"), "adaptive_balance needs costs of both players"),
        (lambda: trick(tricks=["critic_steps"]), "takes the say in who moves"),
        (lambda: trick(objective="mmd_gan"), "adaptive_balance needs scores"),
    ],
)
def test_bad_values_are_refused(make, message: str) -> None:
    with pytest.raises(Refused, match=message):
        make()
