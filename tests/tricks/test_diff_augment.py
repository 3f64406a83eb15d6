from math import sqrt

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_steps, real_batch
from torch import Tensor

from ganlab.core.batch import Sample
from ganlab.core.errors import UNSET
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.tricks.diff_augment import DiffAugment

NOTHING = {"brightness": 0, "saturation": 0, "contrast": 0, "translation": 0, "cutout": 0}


class Shaped:
    """A stand-in for a generator with a shape."""

    def __init__(self, *shape: int):
        self.shape = shape


def build_trick(*shape: int, value_range=(-1.0, 1.0), **strengths) -> DiffAugment:
    trick = DiffAugment(**NOTHING | strengths, range=value_range)
    trick.networks(Networks({"generator": Shaped(*shape)}))
    return trick


def turn(step: int = 0) -> Turn:
    view = game().game.turn("discriminator", real_batch(), RandomStreams(0, step))
    view.step = step
    return view


def seen(x: Tensor, step: int = 0, **settings) -> Tensor:
    return build_trick(*x.shape[1:], **settings).inputs(Sample(x), turn(step)).x


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def test_brightness_adds_one_number_to_an_image() -> None:
    x = noise(4000, 3, 2, 2)
    added = seen(x, brightness=0.5) - x
    assert torch.allclose(added, added[:, :1, :1, :1].expand_as(added))
    amount = added[:, 0, 0, 0]
    assert amount.abs().max() <= 0.5
    assert float(amount.mean()) == pytest.approx(0, abs=0.02)
    assert float(amount.std()) == pytest.approx(0.5 / sqrt(3), rel=0.03)


def test_brightness_is_in_units_of_half_the_range() -> None:
    x = noise(50, 1, 2, 2)
    narrow, wide = (seen(x, brightness=0.5, value_range=r) - x for r in ((0.0, 1.0), (-1.0, 1.0)))
    assert torch.allclose(2 * narrow, wide)


def test_saturation_keeps_the_grey_of_a_pixel_and_scales_its_colour() -> None:
    x = noise(4000, 3, 2, 2)
    y = seen(x, saturation=1.0)
    assert torch.allclose(y.mean(1), x.mean(1))
    factor = (y[:, 0] - y[:, 1]) / (
        x[:, 0] - x[:, 1]
    )  # by which a difference of channels is scaled, [B, H, W]
    assert torch.allclose(factor, factor[:, :1, :1].expand_as(factor))
    assert factor.min() >= 0
    assert factor.max() <= 2
    assert float(factor.mean()) == pytest.approx(1, abs=0.03)
    assert float(factor[:, 0, 0].std()) == pytest.approx(1 / sqrt(3), rel=0.03)


def test_contrast_keeps_the_mean_of_an_image_and_scales_its_spread() -> None:
    x = noise(4000, 3, 2, 2)
    y = seen(x, contrast=0.5)
    assert torch.allclose(y.flatten(1).mean(1), x.flatten(1).mean(1))
    factor = y.flatten(1).std(1) / x.flatten(1).std(1)
    assert factor.min() >= 0.5
    assert factor.max() <= 1.5
    assert float(factor.mean()) == pytest.approx(1, abs=0.02)


def test_translations_are_equally_likely_crops_of_the_padded_image() -> None:
    x = noise(1, 2, 8, 16).repeat(2000, 1, 1, 1)
    y = seen(x, translation=0.125)
    padded = torch.nn.functional.pad(x[0], (2, 2, 1, 1))
    crops = torch.stack([padded[:, i : i + 8, j : j + 16] for i in range(3) for j in range(5)])
    found = (y[:, None] == crops).flatten(2).all(2)  # [B, 15]
    assert (found.sum(1) == 1).all()
    assert found.sum(0) == pytest.approx(2000 / 15, abs=4 * sqrt(2000 / 15))


def test_pixels_from_outside_the_image_have_the_middle_of_the_range() -> None:
    x = torch.ones(50, 1, 8, 8)
    assert set(seen(x, translation=0.125, value_range=(0.0, 1.0)).unique().tolist()) == {0.5, 1.0}
    assert set(seen(x, cutout=0.5, value_range=(0.0, 1.0)).unique().tolist()) == {0.5, 1.0}


def test_a_cutout_is_a_square_that_may_extend_beyond_the_image() -> None:
    x = torch.ones(4000, 2, 16, 16)
    hole = seen(x, cutout=0.5) == 0
    assert torch.equal(hole[:, 0], hole[:, 1])
    rows, columns = hole[:, 0].any(2), hole[:, 0].any(1)  # [B, 16]
    assert torch.equal(hole[:, 0], rows[:, :, None] & columns[:, None, :])
    for line in (rows, columns):
        length = line.sum(1)
        whole = ~line[:, 0] & ~line[:, -1]
        assert set(length[whole].tolist()) == {8}
        # A centre c in [0, 1) covers min(c, 1/4) + min(1 - c, 1/4) of the line, 7/16 on average.
        assert float(length.double().mean()) == pytest.approx(7, abs=0.1)


def test_the_gradient_of_all_transforms_together_is_correct() -> None:
    x = noise(3, 3, 4, 4).requires_grad_()
    settings = {"brightness": 0.5, "saturation": 1.0, "contrast": 0.5, "translation": 0.25, "cutout": 0.5}
    trick = build_trick(3, 4, 4, **settings)
    view = turn()

    def augmented(x: Tensor) -> Tensor:
        view.random = RandomStreams(1)
        return trick.inputs(Sample(x), view).x

    assert torch.autograd.gradcheck(augmented, x)
    assert torch.autograd.gradgradcheck(lambda x: augmented(x) ** 2, x)


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous"])
def test_the_generators_gradient_flows_through_the_augmentation(play: str) -> None:
    off = [f"trick.diff_augment.{part}=0" for part in ("brightness", "contrast", "translation")]
    module = game("hinge", ["diff_augment"], play, *off)
    view = module.game.turn("generator", real_batch(), RandomStreams(0))
    slope = torch.autograd.grad(module.game.losses(view)["adversarial"], view.generated.x)[0]
    shown = view.tricks.apply_hook(
        "inputs", view.generated, module.game.turn("generator", real_batch(), RandomStreams(0))
    ).x
    assert torch.equal(slope == 0, shown == 0), "what was cut out teaches nothing, and all else does"
    assert (slope == 0).any()
    play_steps(module, 2)


def test_real_and_fake_samples_have_separate_random_numbers_and_keep_their_labels() -> None:
    module = game(tricks=["diff_augment"]).game
    view = module.turn("discriminator", real_batch(), RandomStreams(0))
    one, other = (module.tricks.apply_hook("inputs", view.real, view) for _ in range(2))
    assert not torch.equal(one.x, other.x)
    assert one.condition is view.real.condition


def test_a_strength_may_follow_a_schedule() -> None:
    x = noise(50, 1, 8, 8)
    for step, most in {0: 0.0, 5: 0.25, 10: 0.5}.items():
        moved = (seen(x, step, brightness=Linear(0, 0.5, 10)) - x).abs().max()
        assert float(moved) == pytest.approx(most, rel=0.1)


def test_saturation_has_no_effect_on_grey_images() -> None:
    x = noise(50, 1, 8, 8)
    assert torch.equal(seen(x, saturation=1.0, contrast=0.5), seen(x, contrast=0.5))


def test_half_precision_is_converted_to_float32() -> None:
    assert seen(torch.zeros(4, 1, 8, 8, dtype=torch.bfloat16), cutout=0.5).dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: build_trick(3, 8, 8), ("", UNSET, "all strengths that apply to 3-channel images are 0")),
        (
            lambda: build_trick(1, 8, 8, saturation=1.0),
            ("", UNSET, "all strengths that apply to 1-channel images are 0"),
        ),
        (
            lambda: build_trick(2, brightness=0.5),
            ("", UNSET, r"needs images, but a sample has the shape \[2\]"),
        ),
        (lambda: build_trick(3, 8, 8, brightness=-0.5), (".brightness", -0.5, "between 0 and 1")),
        (lambda: build_trick(3, 8, 8, cutout=1.5), (".cutout", 1.5, "between 0 and 1")),
        (
            lambda: build_trick(3, 8, 8, translation=0.05),
            (".translation", 0.05, "less than half a pixel for images of 8 pixels"),
        ),
        (
            lambda: build_trick(3, 8, 8, contrast=0.5, value_range=None),
            (".range", None, "must be two increasing numbers"),
        ),
        (
            lambda: build_trick(3, 8, 8, contrast=0.5, value_range=(1, 0)),
            (".range", (1, 0), "must be two increasing numbers"),
        ),
        (lambda: game("mmd", ["diff_augment"]), ("trick", "diff_augment", "objective with a discriminator")),
    ],
)
def test_a_trick_without_effect_is_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()


def test_an_image_as_condition_is_moved_with_its_sample_and_keeps_its_colours() -> None:
    x = noise(50, 1, 8, 8)
    moved = build_trick(1, 8, 8, translation=0.3, cutout=0.5).inputs(Sample(x, x.clone()), turn())
    assert torch.equal(moved.condition, moved.x)
    assert not torch.equal(moved.x, x)
    painted = build_trick(1, 8, 8, brightness=0.5).inputs(Sample(x, x.clone()), turn())
    assert torch.equal(painted.condition, x)
    assert not torch.equal(painted.x, x)
