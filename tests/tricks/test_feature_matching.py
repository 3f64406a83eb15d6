import pytest
import torch
from support.refusals import refuses
from support.small_games import game, real_batch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.tricks.composition import Tricks
from ganlab.tricks.feature_matching import FeatureMatching


class Squares(nn.Module):
    """A discriminator of x [B, 3] with features x^2 and their sum as the logit."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(x.square().sum(1), x.square())


def turn(player: str = "generator", step: int = 0) -> Turn:
    draw = torch.Generator().manual_seed(0)
    x, fake = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    view = Turn(player, step, Batch(Sample(x)), {"discriminator": Squares()}, Tricks({}), RandomStreams(0))
    return view.replace(generated=Sample(fake.requires_grad_()))


def compute(turn: Turn) -> dict[str, Tensor]:
    return {"adversarial": -turn.on_fake.logits, "other": turn.on_fake.logits.square()}


def test_the_term_and_its_gradient_are_the_closed_form() -> None:
    view = turn()
    term = FeatureMatching(3.0, True).losses(view, compute)["feature_matching"]
    x, fake = view.real.x, view.fake.x
    gap = [
        sum(float(a[i]) ** 2 - float(b[i].detach()) ** 2 for a, b in zip(x, fake, strict=True)) / 5
        for i in range(3)
    ]
    assert float(term.detach()) == pytest.approx(3 * sum(g**2 for g in gap))
    (slope,) = torch.autograd.grad(term, fake)
    expected = -2 * 3 * torch.tensor(gap, dtype=torch.float64) * 2 * fake.detach() / 5
    assert torch.allclose(slope, expected)


def test_it_replaces_only_the_adversarial_term_or_none() -> None:
    assert list(FeatureMatching(1.0, True).losses(turn(), compute)) == ["other", "feature_matching"]
    beside = FeatureMatching(1.0, False).losses(turn(), compute)
    assert list(beside) == ["adversarial", "other", "feature_matching"]


def test_it_replaces_all_adversarial_terms() -> None:
    tricks = ["feature_matching", "weight_clip", "feature_autoencoder"]
    for settings, kept in (([], []), (["trick.feature_matching.replace=false"], ["", "_one_sided"])):
        module = game("mmd_gan", tricks, "alternating", *settings)
        terms = module.phase.losses(module.phase.turn("generator", real_batch()))
        assert list(terms) == [*(f"adversarial{name}" for name in kept), "feature_matching"]


def test_the_discriminators_loss_is_unchanged() -> None:
    view = turn("discriminator")
    assert list(FeatureMatching(1.0, True).losses(view, compute)) == ["adversarial", "other"]


def test_the_weight_may_be_a_schedule() -> None:
    trick = FeatureMatching(Linear(2, 0, 10), True)
    first, half = (trick.losses(turn(step=step), compute)["feature_matching"] for step in (0, 5))
    assert torch.allclose(first, 2 * half)


def test_features_are_computed_from_inputs_that_other_tricks_changed() -> None:
    module = game("hinge", ["feature_matching", "instance_noise"]).game
    view = module.turn("generator", real_batch(), RandomStreams(0))
    found = module.losses(view)["feature_matching"]
    gap = view.on_real.features.mean(0) - view.on_fake.features.mean(0)
    assert torch.allclose(found, gap.square().sum())
    plain = module.discriminator(view.real.x).features.mean(0) - module.discriminator(
        view.fake.x
    ).features.mean(0)
    assert not torch.allclose(found, plain.square().sum())


def test_half_precision_is_converted_to_float32_before_averaging() -> None:
    module = game("hinge", ["feature_matching"]).game
    with torch.autocast("cpu", torch.bfloat16):
        view = module.turn("generator", real_batch(), RandomStreams(0))
        term = module.tricks.losses(view, module.objective)["feature_matching"]
    assert view.on_real.features.dtype == torch.bfloat16
    real_mean, fake_mean = (v.features.double().mean(0) for v in (view.on_real, view.on_fake))
    assert term.dtype == torch.float32
    assert float(term.detach()) == pytest.approx(float((real_mean - fake_mean).square().sum().detach()))


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: FeatureMatching(0, True), (".weight", 0, "no effect")),
        (
            lambda: game("mmd", ["feature_matching"]),
            ("trick", "feature_matching", "objective with a discriminator"),
        ),
    ],
)
def test_bad_values_are_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()
