from types import SimpleNamespace

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, real_batch

from ganlab.core.batch import Verdict
from ganlab.core.randomness import RandomStreams
from ganlab.tricks.adaptive_balance import AdaptiveBalance, accuracy, ranking

PLAYS = ["alternating", "shared", "simultaneous", "extragradient"]
LOSSES = [f"trick.adaptive_balance.{line}" for line in ("by=loss_ratio", "low=0.4", "high=2")]


def build(*overrides: str, play: str = "alternating", tricks=(), objective: str = "non_saturating"):
    return game(objective, ["adaptive_balance", *tricks], play, *overrides)


def active_players(row: dict[str, float]) -> set[str]:
    return {name.split("/")[0] for name in row}


def turn_with_logits(on_real: list[float], on_fake: list[float]) -> SimpleNamespace:
    """A turn with these logits."""
    said = (Verdict(torch.tensor(logits).float(), torch.empty(0)) for logits in (on_real, on_fake))
    return SimpleNamespace(**dict(zip(("on_real", "on_fake"), said, strict=True)))


@pytest.mark.parametrize(
    ("on_real", "on_fake", "right", "ahead"),
    [
        ([3, 2, 2, -1], [-1, -2, 1, 2], (3 / 4 + 2 / 4) / 2, 3 / 4),
        ([5, 6, 7, 8], [1, 2, 3, 4], 1 / 2, 1),  # perfectly ranked, but all classified as real
        ([0, 0], [0, 0], 0, 1 / 2),
        ([[1, 1], [1, -1]], [[-1, 1], [1, -2]], (3 / 4 + 2 / 4) / 2, 3 / 4),  # over patches
    ],
)
def test_accuracy_and_ranking_of_known_logits(on_real, on_fake, right: float, ahead: float) -> None:
    turn = turn_with_logits(on_real, on_fake)
    assert float(accuracy(turn)) == right
    assert float(ranking(turn)) == ahead


@pytest.mark.parametrize(("by", "share"), [("accuracy", accuracy), ("ranking", ranking)])
def test_the_share_is_measured_before_the_discriminators_update(by: str, share) -> None:
    module = build(f"trick.adaptive_balance.by={by}")
    expected = share(module.phase.turn("discriminator", real_batch(module.game.run_step)))
    play_step(module)
    assert module.game.tricks["adaptive_balance"].latest == expected
    assert accuracy(module.phase.turn("discriminator", real_batch())) != ranking(
        module.phase.turn("discriminator", real_batch())
    )


def test_ranking_needs_no_signs() -> None:
    remedy = "remove the trick, or choose an objective such as non_saturating"
    with refuses("trick", "adaptive_balance", "objective with logits that are positive", remedy):
        build(objective="wasserstein")
    row = play_step(build("trick.adaptive_balance.by=ranking", objective="wasserstein"))
    assert len(active_players(row)) == 2


def test_ranking_is_the_share_of_correctly_ordered_pairs() -> None:
    module = build()
    for player in ("discriminator", "generator"):
        turn = module.game.turn(player, real_batch(), RandomStreams(0))
        pairs = zip(turn.on_real.logits.tolist(), turn.on_fake.logits.tolist(), strict=True)
        assert float(ranking(turn)) == sum(r > f for r, f in pairs) / 16
    assert float(ranking(turn.replace(fake=turn.real))) == 0.5


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(
    ("latest", "expected"),
    [(0.9, {"generator"}), (0.3, {"discriminator"}), (0.65, {"discriminator", "generator"})],
)
def test_a_player_that_is_too_far_ahead_skips_one_step(play: str, latest: float, expected: set[str]) -> None:
    module = build("trick.adaptive_balance.low=0.4", play=play)
    module.game.tricks["adaptive_balance"].latest[0] = latest
    assert active_players(play_step(module)) == expected
    assert float(module.game.tricks["adaptive_balance"].latest) != pytest.approx(
        latest
    )  # measured by the player that moved


def test_both_players_move_in_the_first_step() -> None:
    for overrides in ([], LOSSES):
        module = build(*overrides)
        assert module.game.tricks["adaptive_balance"].latest.isnan().all()
        assert len(active_players(play_step(module))) == 2


@pytest.mark.parametrize(
    ("high", "expected"), [(0.49, {"generator"}), (0.51, {"discriminator", "generator"})]
)
def test_the_upper_threshold_applies_to_the_ratio_of_losses(high: float, expected: set[str]) -> None:
    module = build(*LOSSES, f"trick.adaptive_balance.high={high}", "trick.adaptive_balance.low=null")
    module.game.tricks["adaptive_balance"].latest.copy_(torch.tensor([0.7, 1.4]))
    assert active_players(play_step(module)) == expected


def test_a_ratio_below_the_lower_threshold_stops_the_generator() -> None:
    module = build(*LOSSES)
    module.game.tricks["adaptive_balance"].latest.copy_(torch.tensor([0.3, 1.4]))
    row = play_step(module)
    assert active_players(row) == {"discriminator"}
    latest = module.game.tricks["adaptive_balance"].latest.tolist()
    assert latest == pytest.approx([0.3, row["discriminator/adversarial"]])


def test_the_losses_include_penalties_and_unrolled_steps() -> None:
    module = build(*LOSSES, tricks=["r1", "unrolled", "historical_averaging"])
    for _ in range(3):
        row = play_step(module)
        sums = [
            sum(value for name, value in row.items() if name.startswith(player))
            for player in ("generator", "discriminator")
        ]
        assert module.game.tricks["adaptive_balance"].latest.tolist() == pytest.approx(sums)


def test_a_restored_trick_decides_equally() -> None:
    module, twin = (build(*LOSSES) for _ in range(2))
    play_step(module)
    module.game.tricks["adaptive_balance"].latest[0] = 9.0
    twin.game.load_state_dict(module.game.state_dict())
    assert active_players(play_step(twin)) == {"generator"}


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (
            lambda: AdaptiveBalance("accuracy", None, None),
            (".low", None, "no effect together with high=null"),
        ),
        (lambda: AdaptiveBalance("accuracy", 0.8, 0.4), (".low", 0.8, "must be less than high=0.4")),
        (lambda: AdaptiveBalance("accuracy", 0.4, 1.5), (".high", 1.5, r"must be a number in \(0, 1\)")),
        (lambda: AdaptiveBalance("ranking", 0.4, 1.5), (".high", 1.5, r"must be a number in \(0, 1\)")),
        (
            lambda: build(*LOSSES, objective="wasserstein"),
            ("trick", "adaptive_balance", "objective with losses of both players that are never negative"),
        ),
        (
            lambda: build(tricks=["critic_steps"]),
            ("trick", ["adaptive_balance", "critic_steps"], "claims control over which player moves"),
        ),
        (
            lambda: build("trick.adaptive_balance.by=ranking", objective="mmd_gan"),
            ("trick", "adaptive_balance", "objective with a loss on logits"),
        ),
    ],
)
def test_bad_values_are_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()
