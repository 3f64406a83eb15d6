from math import cos, floor, pi, sin, sqrt

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, next_batch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, Span, validated_image_shape
from ganlab.augmentations.colour import Colour, mix_channels
from ganlab.augmentations.corruption import Corruption
from ganlab.augmentations.geometry import (
    Geometry,
    inverse_rotation,
    inverse_scaling,
    inverse_translation,
    warp,
)
from ganlab.augmentations.images import translate
from ganlab.core.batch import Sample
from ganlab.core.errors import UNSET
from ganlab.core.randomness import RandomStreams

STILL = {"flip": False, "quarter_turns": False, "translation": 0, "scale": 0, "rotation": 0}
STILL |= {"anisotropy": 0, "shift": 0}
PLAIN = {"brightness": 0, "contrast": 0, "luma_flip": False, "hue": 0, "saturation": 0}
PAPER = [
    Geometry(True, True, 0.125, 0.2, 1.0, 0.2, 0.125),
    Colour(0.2, 0.5, True, 1.0, 1.0),
    Corruption(0.1, 0.5),
]
SPAN = Span(0.0, 1.0)


def geometry(**strengths) -> Geometry:
    return Geometry(**STILL | strengths)


def colour(**strengths) -> Colour:
    return Colour(**PLAIN | strengths)


def augment(augmentation: Augmentation, x: Tensor, p: float = 1.0, span: Span = SPAN) -> Tensor:
    return augmentation(x, torch.tensor(p), span, RandomStreams(0), "test")


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def filled(n: int, value: float) -> Tensor:
    return torch.full((n,), value, dtype=torch.float64)


def test_a_warp_equals_grid_sample() -> None:
    for height, width in ((8, 8), (5, 9)):
        x = noise(20, 2, height, width)
        source = noise(20, 3, 3) * torch.tensor([[1, 1, 6], [1, 1, 6], [0, 0, 0]])
        to_pixels = torch.tensor([width / 2, height / 2, 1], dtype=torch.float64)
        theta = source / to_pixels[:, None] * to_pixels  # from -1 to 1, edge to edge
        grid = torch.nn.functional.affine_grid(theta[:, :2], list(x.shape), align_corners=False)
        expected = torch.nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
        assert torch.allclose(warp(x, source), expected, atol=1e-9)


@pytest.mark.parametrize("quarters", range(4))
def test_a_quarter_turn_equals_rot90_bit_for_bit(quarters: int) -> None:
    x = torch.randn(3, 2, 7, 7)
    exact = inverse_rotation(torch.full((3,), quarters * pi / 2)).round()
    assert torch.equal(warp(x, exact), torch.rot90(x, quarters, (2, 3)))
    x = noise(3, 2, 8, 8)
    angle = filled(3, quarters * pi / 2)
    assert torch.allclose(warp(x, inverse_rotation(angle)), torch.rot90(x, quarters, (2, 3)))


def test_a_flip_equals_that_of_torch_bit_for_bit() -> None:
    x = torch.randn(3, 2, 5, 8)
    assert torch.equal(warp(x, inverse_scaling(-torch.ones(3), 1)), x.flip(3))


def test_a_warp_by_whole_pixels_equals_translate_within_the_image() -> None:
    x = torch.randn(2, 1, 8, 8)
    right, down = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0])
    warped, translated = warp(x, inverse_translation(right, down)), translate(x, down, right, torch.nan)
    inside = ~translated.isnan()
    assert inside.sum() == 6 * 7 + 7 * 5
    assert torch.equal(warped[inside], translated[inside])
    assert torch.equal(warped[0, 0, 1:, 1], x[0, 0, :-1, 0]), "beyond its edge the image is mirrored"


def test_scaling_by_two_doubles_a_line() -> None:
    place = torch.arange(16, dtype=torch.float64) - 7.5
    x = place.expand(1, 1, 16, 16)
    assert torch.allclose(warp(x, inverse_scaling(filled(1, 2), filled(1, 2))), x / 2)
    wide = warp(x, inverse_scaling(filled(1, 2), 1 / filled(1, 2)))[0, 0, 8]
    assert torch.allclose(wide, place / 2)


def test_a_constant_image_stays_constant() -> None:
    x = torch.full((50, 3, 8, 8), 0.7, dtype=torch.float64)
    assert torch.allclose(augment(PAPER[0], x), x)


MOVES = [("flip", True), ("quarter_turns", True), ("translation", 0.25), ("scale", 0.2), ("rotation", 1.0)]
MOVES += [("anisotropy", 0.2), ("shift", 0.1)]
TINTS = [("brightness", 0.2), ("contrast", 0.5), ("luma_flip", True), ("hue", 1.0), ("saturation", 1.0)]
LOSSES = [("noise", 0.1), ("cutout", 0.5)]
# The share of images that a transform leaves unchanged although it is applied.
IDLE = {"flip": 1 / 2, "quarter_turns": 1 / 4, "translation": 1 / 25, "luma_flip": 1 / 2}


def alone(name: str, value: float) -> Augmentation:
    if name in STILL:
        return geometry(**{name: value})
    return colour(**{name: value}) if name in PLAIN else Corruption(**{"noise": 0, "cutout": 0, name: value})


@pytest.mark.parametrize(("name", "value"), [*MOVES, *TINTS, *LOSSES])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0, 1.7])
def test_a_transform_is_applied_to_an_image_with_probability_p(name: str, value: float, p: float) -> None:
    n = 1500
    x = torch.randn(n, 3, 8, 8)
    changed = (augment(alone(name, value), x, p) != x).flatten(1).any(1)
    expected = min(p, 1) * (1 - IDLE.get(name, 0))
    spread = sqrt(expected * (1 - expected) / n)
    assert float(changed.float().mean()) == pytest.approx(expected, abs=4 * spread)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("part", PAPER, ids=lambda part: type(part).__name__)
def test_nothing_changes_with_probability_0(part: Augmentation, channels: int) -> None:
    x = torch.rand(20, channels, 8, 8)
    assert torch.equal(augment(part, x, 0.0, Span(0.5, 0.5)), x)


def test_transforms_are_applied_independently() -> None:
    x = torch.randn(3000, 3, 4, 4)
    p = 0.5
    untouched = (augment(colour(brightness=0.2, contrast=0.5, hue=1.0, saturation=1.0), x, p) == x).flatten(1)
    assert float(untouched.all(1).float().mean()) == pytest.approx(p**4, abs=0.02)


@pytest.mark.parametrize("part", PAPER, ids=lambda part: type(part).__name__)
def test_an_image_is_transformed_independently_of_its_batch_with_correct_gradients(
    part: Augmentation,
) -> None:
    x = noise(2, 3, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(part, x, 0.7), x)
    assert torch.autograd.gradgradcheck(lambda x: augment(part, x, 0.7) ** 2, x)
    other = x.detach().clone()
    other[1:] = 0
    assert torch.equal(augment(part, x, 0.7)[0], augment(part, other, 0.7)[0])


def test_the_colour_map_is_the_product_of_the_matrices_in_the_paper() -> None:
    v = torch.ones(3, dtype=torch.float64) / sqrt(3)
    projection, eye = torch.outer(v, v), torch.eye(3, dtype=torch.float64)
    cross = torch.linalg.cross(v.expand(3, 3), eye).T  # v x e_i in column i
    x = noise(1, 3, 4, 5)
    for contrast, flip, angle, saturation in ((1.3, 0, 0.7, 1.8), (0.6, 1, -2.5, 0.4)):
        matrix = contrast * eye
        matrix = (eye - 2 * projection * flip) @ matrix
        matrix = torch.linalg.matrix_exp(angle * cross) @ matrix
        matrix = (projection + saturation * (eye - projection)) @ matrix
        sign = 1 - 2 * flip
        mixed = mix_channels(
            x, filled(1, contrast * sign), filled(1, contrast * saturation), filled(1, angle)
        )
        assert torch.allclose(mixed[0], torch.einsum("ij,jhw->ihw", matrix, x[0]))


def random_numbers(augmentation: str, n: int, transforms: int, normals: int) -> tuple[list, list]:
    """The uniform and the normal numbers of n images, as `augment` draws them."""
    draw = RandomStreams(0)
    uniform = draw.uniform(f"test/{augmentation}", n, 2, transforms)[:, 1]
    return uniform.tolist(), draw.normal(f"test/{augmentation}", n, normals).tolist()


def test_the_pixel_map_is_the_product_of_the_transforms_in_the_paper() -> None:
    n, height, width = 6, 8, 16
    source = PAPER[0]._inverse_maps(
        torch.zeros(n, 1, height, width), torch.tensor(1.0), RandomStreams(0), "test/geometry"
    )
    for found, u, z in zip(source, *random_numbers("geometry", n, 9, 4), strict=True):
        stretch = 2 ** (0.2 * z[1])
        transforms = [
            scaling(1 - 2 * floor(2 * u[0]), 1),
            rotation(floor(4 * u[1]) * pi / 2),
            shift(floor(5 * u[2]) - 2, floor(3 * u[3]) - 1),
            scaling(2 ** (0.2 * z[0]), 2 ** (0.2 * z[0])),
            rotation(pi * (2 * u[4] - 1)),
            scaling(stretch, 1 / stretch),
            rotation(pi * (2 * u[5] - 1)),
            shift(0.125 * width * z[2], 0.125 * height * z[3]),
        ]
        moved_by = torch.eye(3, dtype=torch.float64)
        for transform in transforms:
            moved_by = transform @ moved_by
        assert torch.allclose(found.double(), moved_by.inverse(), atol=1e-4)


def rows(*numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def scaling(across: float, down: float) -> Tensor:
    return rows([across, 0, 0], [0, down, 0], [0, 0, 1])


def shift(across: float, down: float) -> Tensor:
    return rows([1, 0, across], [0, 1, down], [0, 0, 1])


def rotation(angle: float) -> Tensor:
    """Counter-clockwise, with rows counted downwards."""
    return rows([cos(angle), sin(angle), 0], [-sin(angle), cos(angle), 0], [0, 0, 1])


def test_colours_are_changed_by_the_transforms_in_the_paper_in_order() -> None:
    x = noise(6, 3, 4, 5)
    found = augment(PAPER[1], x)
    grey = torch.ones(3, 3, dtype=torch.float64) / 3
    cross = rows([0, -1, 1], [1, 0, -1], [-1, 1, 0]) / sqrt(3)  # the cross product with the grey axis
    for image, changed, u, z in zip(x, found, *random_numbers("colour", 6, 5, 3), strict=True):
        image = image + 0.2 * z[0]
        matrix = 2 ** (0.5 * z[1]) * torch.eye(3, dtype=torch.float64)
        matrix = matrix - 2 * floor(2 * u[2]) * grey @ matrix
        matrix = torch.linalg.matrix_exp(pi * (2 * u[3] - 1) * cross) @ matrix
        matrix = grey @ matrix + 2 ** z[2] * (matrix - grey @ matrix)
        assert torch.allclose(changed, torch.einsum("ij,jhw->ihw", matrix, image), atol=1e-5)


def test_a_grey_image_equals_three_equal_channels() -> None:
    x = noise(30, 1, 4, 4)
    for of_data in (Span(0.0, 1.0), Span(0.5, 0.5)):
        coloured = augment(PAPER[1], x.expand(-1, 3, -1, -1), span=of_data)
        alone = augment(PAPER[1], x, span=of_data)
        assert torch.allclose(coloured, alone.expand_as(coloured), atol=1e-5)  # factors are float32


def test_contrast_is_one_factor_for_all_channels() -> None:
    x = noise(30, 3, 4, 4)
    factor = augment(colour(contrast=0.5), x) / x
    assert torch.allclose(factor, factor[:, :1, :1, :1].expand_as(x))


def test_colour_transforms_are_equal_in_any_range_of_the_data() -> None:
    x = noise(30, 3, 4, 4)
    narrow = augment(PAPER[1], x / 2 + 0.5, span=Span(0.5, 0.5))
    assert torch.allclose(narrow, augment(PAPER[1], x) / 2 + 0.5, atol=1e-6)


def test_strengths_are_the_documented_deviations() -> None:
    x = torch.zeros(4000, 3, 2, 2, dtype=torch.float64)
    assert float(augment(colour(brightness=0.2), x)[:, 0, 0, 0].std()) == pytest.approx(0.2, rel=0.05)
    factors = augment(colour(contrast=0.5), x + 1)[:, 0, 0, 0].log2()
    assert float(factors.std()) == pytest.approx(0.5, rel=0.05)
    assert float(factors.mean()) == pytest.approx(0, abs=0.03)
    spread = augment(Corruption(0.1, 0), x).square().mean()
    assert float(spread) == pytest.approx(0.1**2, rel=0.1)
    line = (torch.arange(64, dtype=torch.float64) - 31.5).expand(500, 1, 64, 64)
    slope = augment(geometry(scale=0.2), line)[:, 0, 32, 33] / 1.5
    assert float(slope.log2().std()) == pytest.approx(0.2, rel=0.15)
    down = (torch.arange(64, dtype=torch.float64) - 31.5)[:, None].expand(500, 1, 64, 64)
    turned_by = augment(geometry(rotation=0.1), down)[:, 0, 32, 32:34].diff().asin()
    # The sum of two angles, each uniform up to 0.1 pi.
    assert float(turned_by.std()) == pytest.approx(0.1 * pi * sqrt(2 / 3), rel=0.15)


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (
            lambda: geometry(translation=0.01).has_effect((1, 8, 8)),
            (".translation", 0.01, "is less than half"),
        ),
        (lambda: colour(hue=1).has_effect((2, 8, 8)), ("", UNSET, "images with 1 or 3 channels")),
        (lambda: validated_image_shape((2,)), ("", UNSET, r"needs images, but a sample has the shape \[2\]")),
        (lambda: Span.of_range((1, 0)), (".range", (1, 0), "must be two increasing numbers")),
        (lambda: Span.of_range(None), (".range", None, "must be two increasing numbers")),
    ],
)
def test_bad_values_are_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()


def test_a_group_that_does_not_apply_to_the_images_is_named() -> None:
    half_a_pixel = "trick.consistency_regularisation.geometry.translation=0.01"
    with refuses(half_a_pixel.partition("=")[0], 0.01, "is less than half a pixel for images of 8 pixels"):
        game("hinge", ["consistency_regularisation"], "alternating", half_a_pixel)


def test_an_image_as_condition_is_moved_with_its_sample_and_keeps_its_colours() -> None:
    module = game("non_saturating", ["consistency_regularisation"], model="pix2pix")
    trick = module.game.tricks["consistency_regularisation"]
    turn = module.game.turn("discriminator", next_batch(module), RandomStreams(0))
    trick.augmentations = [trick.geometry]
    x = turn.batch.real.x
    moved = trick.augment(Sample(x, x.clone()), torch.ones(()), turn)
    assert torch.equal(moved.condition, moved.x)
    assert not torch.equal(moved.x, x)
    trick.augmentations = [Colour(brightness=1, contrast=0, luma_flip=False, hue=0, saturation=0)]
    painted = trick.augment(Sample(x, x.clone()), torch.ones(()), turn)
    assert torch.equal(painted.condition, x)
    assert not torch.equal(painted.x, x)
