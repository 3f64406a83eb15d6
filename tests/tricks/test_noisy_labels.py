import pytest
import torch
from support.refusals import refuses
from support.small_games import game, real_batch

from ganlab.core.batch import Targets
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.game import Game
from ganlab.tricks.label_smoothing import LabelSmoothing
from ganlab.tricks.noisy_labels import NoisyLabels

N = 20_000
PLAIN = Targets(torch.ones(N), torch.zeros(N))


def seen(step: int = 0, **rank: int) -> Turn:
    return game().game.turn("discriminator", real_batch(), RandomStreams(0, step, **rank))


def test_targets_are_uniform_in_their_ranges() -> None:
    drawn = NoisyLabels([0.7, 1.2], [0.0, 0.3], 0.0).targets(PLAIN, seen())
    for target, (low, high) in zip(drawn, ((0.7, 1.2), (0.0, 0.3)), strict=True):
        assert low <= target.min() < low + 0.001
        assert high - 0.001 < target.max() <= high
        assert target.mean() == pytest.approx((low + high) / 2, abs=0.005)
        assert target.std() == pytest.approx((high - low) / 12**0.5, abs=0.005)
    assert abs(float(torch.corrcoef(torch.stack([drawn.real, drawn.fake]))[0, 1])) < 0.03


def test_targets_are_exchanged_with_the_flip_probability() -> None:
    drawn = NoisyLabels([0.9, 1.0], [0.0, 0.1], 0.2).targets(PLAIN, seen())
    assert ((drawn.real >= 0.9) | (drawn.real <= 0.1)).all()
    assert (drawn.real <= 0.1).float().mean() == pytest.approx(0.2, abs=0.01)
    assert (drawn.fake >= 0.9).float().mean() == pytest.approx(0.2, abs=0.01)


def test_the_flip_probability_may_be_a_schedule() -> None:
    trick = NoisyLabels([1, 1], [0, 0], Linear(0.4, 0, 10))
    for step, share in ((0, 0.4), (5, 0.2), (10, 0.0)):
        view = seen()
        view.step = step
        assert float(trick.targets(PLAIN, view).fake.mean()) == pytest.approx(share, abs=0.01)


def test_each_step_and_each_process_has_its_own_targets() -> None:
    trick = NoisyLabels([0.7, 1.2], [0.0, 0.3], 0.05)
    assert torch.equal(trick.targets(PLAIN, seen(1)).real, trick.targets(PLAIN, seen(1)).real)
    assert not torch.equal(trick.targets(PLAIN, seen(1)).real, trick.targets(PLAIN, seen(2)).real)
    half = Targets(torch.ones(N // 2), torch.zeros(N // 2))
    whole = trick.targets(PLAIN, seen())
    parts = [trick.targets(half, seen(rank=r, world_size=2)) for r in range(2)]
    for i in range(2):
        assert torch.equal(whole[i], torch.cat([part[i] for part in parts]))


def test_each_patch_has_its_own_target() -> None:
    shape = (4, 3, 3)
    drawn = NoisyLabels([0.7, 1.2], [0.0, 0.3], 0.0).targets(
        Targets(torch.ones(shape), torch.zeros(shape)), seen()
    )
    assert drawn.real.shape == shape
    assert len(drawn.real.unique()) == 36


def test_smoothed_targets_are_randomised() -> None:
    smooth = LabelSmoothing(0.8).targets(PLAIN, seen())
    drawn = NoisyLabels([0.9, 1.0], [0.0, 0.1], 0.0).targets(smooth, seen())
    assert drawn.real.mean() == pytest.approx(0.8 * 0.95 + 0.2 * 0.05, abs=0.005)


def test_the_discriminator_learns_the_mean_targets() -> None:
    def loss(module: Game) -> torch.Tensor:
        turn = module.turn("discriminator", real_batch(), RandomStreams(0))
        return module.losses(turn)["adversarial"], turn

    found, turn = loss(game("non_saturating", ["noisy_labels"]).game)
    bce = torch.nn.functional.binary_cross_entropy
    real_, fake = turn.on_real.logits.sigmoid(), turn.on_fake.logits.sigmoid()
    by_hand = [
        -(t * p.log() + (1 - t) * (1 - p).log()).mean()
        for t, p in zip(turn.targets, (real_, fake), strict=True)
    ]
    assert torch.allclose(found, sum(by_hand), rtol=1e-5)
    assert not torch.allclose(found, bce(real_, torch.ones(16)) + bce(fake, torch.zeros(16)), rtol=1e-3)


@pytest.mark.parametrize(
    ("real_", "fake", "flip", "refusal"),
    [
        ([1.2, 0.7], [0, 0.3], 0, (".real", (1.2, 0.7), "a lower and an upper end")),
        ([0.9, 1.2], [0, 0.3], 0, (".real", (0.9, 1.2), "with a mean in")),
        ([0.7, 1.2], [-0.3, 0.1], 0, (".fake", (-0.3, 0.1), "with a mean in")),
        ([0.2, 0.4], [0.2, 0.4], 0, (".fake", [0.2, 0.4], "must have a lower mean than real")),
        ([0.7, 1.2], [0, 0.3], 0.5, (".flip", 0.5, r"in \[0, 0.5\)")),
        ([0.7, 1.2], [0, 0.3], Linear(0.5, 0, 10), (".flip", 0.5, r"in \[0, 0.5\)")),
        ([0.7, 1.2], [0, 0.3], -0.1, (".flip", -0.1, r"in \[0, 0.5\)")),
        ([1, 1], [0, 0], 0, (".flip", 0, "no effect together with")),
    ],
)
def test_values_out_of_range_are_refused(real_: list, fake: list, flip: float, refusal: tuple) -> None:
    with refuses(*refusal):
        NoisyLabels(real_, fake, flip)
