from math import isfinite

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, play_steps, real_batch
from torch import Tensor, nn

from ganlab.augmentations.colour import Colour
from ganlab.augmentations.geometry import Geometry
from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.errors import UNSET
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.tricks.composition import Tricks
from ganlab.tricks.consistency_regularisation import ConsistencyRegularisation

PLAYS = ["alternating", "shared", "simultaneous"]
NAME = "consistency_regularisation"
FLIP = Geometry(True, False, 0, 0, 0, 0, 0)
CONTRAST = Colour(0, 0.5, False, 0, 0)


class Shaped:
    """A stand-in for a generator with a shape."""

    def __init__(self, *shape: int):
        self.shape = shape


class Linear(nn.Module):
    """A discriminator with the logit <w, x>, which records its inputs."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        self.shown.append(x)
        return Verdict((x * self.weight).flatten(1).sum(1), x.flatten(1))


def build_trick(
    *shape: int, geometry=FLIP, colour=None, value_range=(-1, 1), **settings
) -> ConsistencyRegularisation:
    settings = {"lambda_real": 2.0, "lambda_fake": 3.0} | settings
    trick = ConsistencyRegularisation(
        **settings, geometry=geometry, colour=colour, corruption=None, range=value_range
    )
    trick.networks(Networks({"generator": Shaped(*shape or (1, 4, 4))}))
    return trick


def turn(judge: nn.Module, player: str = "discriminator") -> Turn:
    x, fake = torch.randn(2, 30, 1, 4, 4, dtype=torch.float64)
    labels = torch.arange(30)
    view = Turn(player, 0, Batch(Sample(x, labels)), {"discriminator": judge}, Tricks({}), RandomStreams(0))
    return view.replace(generated=Sample(fake, labels))


def judge() -> Linear:
    return Linear(torch.randn(1, 4, 4, dtype=torch.float64))


def test_the_terms_of_a_linear_discriminator_equal_a_manual_computation() -> None:
    linear, trick = judge(), build_trick()
    view = turn(linear)
    terms = trick.losses(view, lambda _: {})
    assert set(terms) == {"consistency_real", "consistency_fake"}
    for kind, weight, sample in (("real", 2, view.real), ("fake", 3, view.fake)):
        # <w, x> - <w, flip(x)> = <w, x - flip(x)>, for about half of the images.
        flipped = weight * ((sample.x - sample.x.flip(3)) * linear.weight).flatten(1).sum(1).square()
        term = terms[f"consistency_{kind}"]
        assert (term.isclose(flipped) | (term == 0)).all()
        assert 5 < (term == 0).sum() < 25


def test_the_gradient_of_the_weights_equals_a_manual_computation() -> None:
    linear, trick = judge(), build_trick(geometry=None, colour=CONTRAST, lambda_fake=0)
    view = turn(linear)
    (term,) = trick.losses(view, lambda _: {}).values()
    x, augmented = linear.shown
    gap = ((x - augmented) * linear.weight).flatten(1).sum(1)
    slope = torch.autograd.grad(term.sum(), linear.weight)[0]
    assert torch.allclose(slope, (2 * 2 * gap.view(-1, 1, 1, 1) * (x - augmented)).sum(0))
    assert torch.allclose(augmented / x, (augmented / x)[:, :, :1, :1].expand_as(x)), "only contrast changed"


@pytest.mark.parametrize(("kind", "other"), [("real", "fake"), ("fake", "real")])
def test_a_lambda_of_0_costs_no_pass(kind: str, other: str) -> None:
    linear = judge()
    terms = build_trick(**{f"lambda_{other}": 0}).losses(turn(linear), lambda _: {})
    assert set(terms) == {f"consistency_{kind}"}
    assert len(linear.shown) == 2


def test_the_terms_of_an_invariant_discriminator_are_zero() -> None:
    weight = torch.randn(1, 4, 4, dtype=torch.float64)
    for term in build_trick().losses(turn(Linear(weight)), lambda _: {}).values():
        assert term.max() > 1e-3
    for term in build_trick().losses(turn(Linear(weight + weight.flip(2))), lambda _: {}).values():
        assert term.max() < 1e-20


def test_the_generators_loss_is_unchanged() -> None:
    linear = judge()
    assert build_trick().losses(turn(linear, "generator"), lambda _: {}) == {}
    assert linear.shown == []


def test_augmented_samples_keep_their_labels() -> None:
    trick, view = build_trick(), turn(judge())
    assert trick.augment(view.real, torch.ones(()), view).condition is view.real.condition


@pytest.mark.parametrize("play", PLAYS)
def test_the_penalty_reduces_the_gap_between_verdicts_in_a_game(play: str) -> None:
    gaps = []
    for weight in (1e-6, 100):
        overrides = [f"trick.{NAME}.lambda_{kind}={weight}" for kind in ("real", "fake")]
        row = play_steps(game("hinge", ["consistency_regularisation"], play, *overrides), 30)[-1]
        gaps.append(row["discriminator/consistency_real"] / weight)
    assert gaps[1] < gaps[0] / 3


@pytest.mark.parametrize("trick", ["packing", "unrolled", "r1", "diff_augment", "replay_buffer"])
def test_the_terms_exist_together_with_other_tricks(trick: str) -> None:
    row = play_step(game("hinge", ["consistency_regularisation", trick]))
    assert isfinite(row["discriminator/consistency_real"])
    assert row["discriminator/consistency_fake"] > 0


def test_half_precision_is_converted_to_float32() -> None:
    module = game("hinge", ["consistency_regularisation"]).game
    with torch.autocast("cpu", torch.bfloat16):
        view = module.turn("discriminator", real_batch(), RandomStreams(0))
        terms = module.tricks.losses(view, module.objective)
    assert view.on_real.logits.dtype == torch.bfloat16
    assert terms["consistency_real"].dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (
            lambda: build_trick(lambda_real=0, lambda_fake=0),
            (".lambda_real", 0, "no effect together with lambda_fake=0"),
        ),
        (lambda: build_trick(lambda_real=-1), (".lambda_real", -1, "of at least 0")),
        (
            lambda: build_trick(geometry=None),
            ("", UNSET, "all strengths that apply to 1-channel images are 0"),
        ),
        (lambda: build_trick(2), ("", UNSET, r"needs images, but a sample has the shape \[2\]")),
        (lambda: game("mmd", [NAME]), ("trick", NAME, "objective with a discriminator")),
        (lambda: game("mmd_gan", [NAME]), ("trick", NAME, "objective with a loss on logits")),
    ],
)
def test_a_trick_without_effect_is_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()
