import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, play_steps, real_batch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.tricks.composition import Tricks
from ganlab.tricks.lecam import LeCam


class Sums(nn.Module):
    """A discriminator of x [B, 3] whose logits are the sums."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(x.sum(1), x)


def turn(step: int, player: str = "discriminator") -> Turn:
    draw = torch.Generator().manual_seed(step)
    x, fake = (torch.randn(4, 3, generator=draw, dtype=torch.float64) + shift for shift in (1, -1))
    view = Turn(player, step, Batch(Sample(x)), {"discriminator": Sums()}, Tricks({}), RandomStreams(0))
    return view.replace(generated=Sample(fake))


def made(weight: float = 2.0, decay: float = 0.9) -> LeCam:
    return LeCam(weight, decay).double()


def moved(trick: LeCam, step: int) -> Tensor:
    term = trick.losses(turn(step), lambda _: {})["lecam"]
    trick.after_update("discriminator", Networks({}), step)
    return term


def means(step: int) -> tuple[float, float]:
    return float(turn(step).on_real.logits.mean()), float(turn(step).on_fake.logits.mean())


def test_the_term_is_the_closed_form_with_bias_corrected_averages() -> None:
    trick = made()
    terms = [moved(trick, step) for step in range(5)]
    for t, term in enumerate(terms):
        shares = [0.9 ** (t - i) for i in range(t + 1)]
        real_average, fake_average = (
            sum(share * means(i)[kind] for i, share in enumerate(shares)) / sum(shares) for kind in (0, 1)
        )
        view = turn(t)
        for i in range(4):
            on_real, on_fake = float(view.on_real.logits[i]), float(view.on_fake.logits[i])
            expected = 2 * ((on_real - fake_average) ** 2 + (on_fake - real_average) ** 2)
            assert float(term[i]) == pytest.approx(expected, rel=1e-9)


def test_the_averages_are_held_constant() -> None:
    trick, view = made(), turn(0)
    logits = [torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    verdicts = [Verdict(row, row[:, None]) for row in logits]
    view = view.replace(verdicts=list(zip((view.real, view.fake), verdicts, strict=True)))
    slopes = torch.autograd.grad(trick.losses(view, lambda _: {})["lecam"].sum(), logits)
    for slope, row, other in zip(slopes, logits, reversed(logits), strict=True):
        assert torch.allclose(slope, 2 * 2 * (row - other.mean()))


def test_the_generators_turn_changes_neither_loss_nor_averages() -> None:
    trick = made()
    moved(trick, 0)
    before = trick.averages.clone()
    assert trick.losses(turn(1, "generator"), lambda _: {}) == {}
    trick.after_update("generator", Networks({}), 1)
    assert trick.num_updates == 1
    assert torch.equal(trick.averages, before)


def test_unrolled_steps_use_the_averages_without_changing_them() -> None:
    trick = made()
    term = trick.losses(turn(0), lambda _: {})["lecam"]
    ahead = trick.losses(turn(7).replace(is_unrolled=True), lambda _: {})["lecam"]
    assert not torch.equal(term, ahead)
    trick.after_update("discriminator", Networks({}), 0)
    assert trick.averages.tolist() == pytest.approx(means(0))


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous"])
def test_unrolled_steps_do_not_change_the_averages_of_a_step(play: str) -> None:
    alone, beside = (game("hinge", tricks, play) for tricks in (["lecam"], ["lecam", "unrolled"]))
    play_step(alone), play_step(beside)
    assert torch.equal(alone.game.tricks["lecam"].averages, beside.game.tricks["lecam"].averages)


def test_there_is_one_term_per_pack() -> None:
    module = game("hinge", ["lecam", "packing"])
    view = module.game.turn("discriminator", real_batch(), RandomStreams(0))
    assert module.game.tricks["lecam"].losses(view, lambda _: {})["lecam"].shape == (8,)
    assert "discriminator/lecam" in play_steps(module, 1)[0]


def test_half_precision_is_converted_to_float32() -> None:
    module = game("hinge", ["lecam"]).game
    with torch.autocast("cpu", torch.bfloat16):
        view = module.turn("discriminator", real_batch(), RandomStreams(0))
        term = module.tricks.losses(view, module.objective)["lecam"]
    assert view.on_real.logits.dtype == torch.bfloat16
    assert term.dtype == torch.float32
    assert module.tricks["lecam"].latest[0] == view.on_real.logits.float().mean()


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: LeCam(0, 0.9), (".weight", 0, "no effect")),
        (lambda: LeCam(1.0, 1.0), (".decay", 1, "strictly between 0 and 1")),
        (lambda: game("mmd", ["lecam"]), ("trick", "lecam", "objective with a discriminator")),
        (lambda: game("mmd_gan", ["lecam"]), ("trick", "lecam", "objective with a loss on logits")),
    ],
)
def test_a_trick_without_effect_is_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()
