"""Shapes, initial weights and layers of the networks, and the priors of their latents."""

import copy
import math

import pytest
import torch
from support.refusals import refuses
from torch import nn

from ganlab.core.randomness import RandomStreams
from ganlab.networks import dcgan, mlp, priors, translation
from ganlab.networks.base import (
    Branching,
    add_inputs,
    add_network_inputs,
    input_layers,
    insert_between_layers,
    output_layer,
)
from ganlab.networks.mlp import Maxout
from ganlab.networks.norms import DifferentiableBatchNorm
from ganlab.networks.residual import ResidualBlock


def test_patches_need_images_that_can_be_halved() -> None:
    for shape, halvings in (((1, 8, 8), 4), ((2,), 1)):
        with refuses(".halvings", halvings, "is too often for samples of shape"):
            translation.patch(4, halvings, condition=None, shape=shape)


SHAPES = [(1, 8, 8), (3, 10, 10), (1, 28, 28), (3, 64, 64), (1, 8, 32), (3, 48, 20), (1, 30, 14)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_dcgan_generates_and_judges_every_even_size(shape: tuple[int, ...], kernel: int) -> None:
    generator = dcgan.generator(
        4, 2, kernel=kernel, slope=0.0, shape=shape, value_range=(-1, 1), prior=priors.Normal()
    )
    discriminator = dcgan.discriminator(2, kernel=kernel, slope=0.2, shape=shape)
    samples = generator(torch.randn(3, 4))
    assert samples.shape == (3, *shape)
    assert samples.abs().max() <= 1
    verdict = discriminator(samples)
    assert verdict.logits.shape == (3,)
    assert verdict.features.shape == (3, discriminator.num_features)


@pytest.mark.parametrize("shape", [(1, 6, 8), (1, 9, 9), (2,), (1, 8, 11)])
def test_dcgan_refuses_other_sizes(shape: tuple[int, ...]) -> None:
    for build in (
        lambda: dcgan.generator(
            4, 2, kernel=5, slope=0.0, shape=shape, value_range=(-1, 1), prior=priors.Normal()
        ),
        lambda: dcgan.discriminator(2, kernel=5, slope=0.2, shape=shape),
    ):
        with refuses("data.shape", list(shape), "even sides of at least 8"):
            build()


@pytest.mark.parametrize(
    ("sides", "smallest_plane", "suggestion"),
    [
        ((218, 178), "109x89", "216x176"),
        ((250, 250), "125x125", "248x248"),
        ((34, 34), "17x17", "32x32"),
        ((128, 129), "128x129", "128x128"),
        ((132, 1000), "33x250", "128x1000"),
    ],
)
def test_dcgan_refuses_sizes_that_halve_badly_and_suggests_better_ones(
    sides: tuple[int, int], smallest_plane: str, suggestion: str
) -> None:
    good_height, good_width = map(int, suggestion.split("x"))
    remedy = f"data.height={good_height} data.width={good_width}"
    for build in (
        lambda h, w: dcgan.generator(
            4, 2, kernel=5, slope=0.0, shape=(3, h, w), value_range=(-1, 1), prior=priors.Normal()
        ),
        lambda h, w: dcgan.discriminator(2, kernel=5, slope=0.2, shape=(3, h, w)),
    ):
        with refuses("data.shape", [3, *sides], f"ends at {smallest_plane}", remedy):
            build(*sides)
        with torch.device("meta"):  # without memory for the weights
            build(good_height, good_width)


def test_dcgan_has_the_widths_of_the_paper() -> None:
    generator = dcgan.generator(
        100, 64, kernel=5, slope=0.0, shape=(3, 64, 64), value_range=(-1, 1), prior=priors.Uniform(1.0)
    )
    channels = [layer.in_channels for layer in generator.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert channels == [512, 256, 128, 64]
    assert input_layers(generator.body)[0].out_features == 512 * 4 * 4
    discriminator = dcgan.discriminator(64, kernel=5, slope=0.2, shape=(3, 64, 64))
    norms = [m for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [128, 256, 512]


def test_dcgans_features_are_linear_in_the_last_plane() -> None:
    discriminator = dcgan.discriminator(2, kernel=5, slope=0.2, shape=(1, 8, 8), features=16).eval()
    x = torch.randn(3, 1, 8, 8)
    *_, flatten, linear = discriminator.body
    assert isinstance(flatten, nn.Flatten)
    last_plane = discriminator.body[:-1](x)
    expected = last_plane @ linear.weight.T + linear.bias
    assert discriminator(x).features.shape == (3, discriminator.num_features) == (3, 16)
    assert torch.allclose(discriminator(x).features, expected)


@pytest.mark.parametrize(
    "build",
    [
        lambda slope: dcgan.generator(
            4, 2, kernel=5, slope=slope, shape=(1, 28, 28), value_range=None, prior=priors.Normal()
        ),
        lambda slope: mlp.generator(
            4, [3, 5], batch_norm=True, slope=slope, shape=(2,), value_range=None, prior=priors.Normal()
        ),
    ],
    ids=["dcgan", "mlp"],
)
def test_leaky_relu_leaves_no_hidden_activation_of_a_generator_at_zero(build) -> None:
    def zero_fractions(slope: float) -> list[float]:
        """The fraction of zeros among the outputs of each (leaky) ReLU."""
        fractions = []

        def record(layer: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            fractions.append(float((output == 0).float().mean()))

        generator = build(slope)
        for layer in generator.modules():
            if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                layer.register_forward_hook(record)
        generator(torch.randn(16, 4))
        assert len(fractions) == 2
        return fractions

    assert min(zero_fractions(0.0)) > 0.3
    assert max(zero_fractions(0.2)) == 0


def test_weights_start_as_in_the_paper() -> None:
    generator = dcgan.generator(
        100, 64, kernel=5, slope=0.0, shape=(1, 28, 28), value_range=(-1, 1), prior=priors.Normal()
    )
    (layer,) = input_layers(generator.body)
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.02)


def test_inputs_are_added_to_every_branch_of_a_first_residual_block() -> None:
    path = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 5, 3, padding=1)]
    body = nn.Sequential(ResidualBlock(path, [nn.Conv2d(3, 5, 1)]), nn.Conv2d(5, 2, 1))
    x, added = torch.randn(2, 3, 4, 4), torch.randn(2, 2, 4, 4)
    before = body(x)
    add_network_inputs(body, 2)
    assert torch.allclose(body(torch.cat([x, 0 * added], 1)), before, atol=1e-6)
    assert [layer.in_channels for layer in input_layers(body)] == [5, 5]
    for weights in (layer.weight.data[:, 3:] for layer in input_layers(body)):
        alone = body(torch.cat([x, added], 1))
        weights.zero_()
        assert not torch.allclose(body(torch.cat([x, added], 1)), alone)
    with refuses(reason="must begin with linear or convolutional layers"):
        add_network_inputs(ResidualBlock([nn.Conv2d(3, 3, 1)]), 2)


class Backwards(nn.Module):
    """Two layers that are registered from the last to the first."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.first = nn.Linear(5, 2), nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.first(x))


class Parallel(nn.Module):
    """Two layers that both receive the input."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.left(x) + self.right(x)


class DeclaredParallel(Parallel, Branching):
    def branches(self) -> list[nn.Module]:
        return [self.left, self.right]


@pytest.mark.parametrize("module", [Backwards, Parallel])
def test_the_first_layers_are_not_guessed_from_the_order_of_attributes(module: type[nn.Module]) -> None:
    body = nn.Sequential(nn.Flatten(), module(), nn.Linear(2, 1))
    for change in (lambda: add_network_inputs(body, 2), lambda: insert_between_layers(body, nn.Dropout)):
        with refuses("", reason=f"{module.__name__} does not say which they are", remedy="Branching"):
            change()
    first = nn.Linear(3, 3)
    assert input_layers(nn.Sequential(first, module())) == [first]  # what follows need not be declared


def test_a_module_declares_its_first_layers() -> None:
    body = nn.Sequential(DeclaredParallel())
    add_network_inputs(body, 2)
    assert body(torch.randn(4, 5)).shape == (4, 2)
    assert input_layers(body) == [body[0].left, body[0].right]


def test_layers_are_inserted_between_the_layers_of_a_residual_network() -> None:
    path = [nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 5, 1)]
    body = nn.Sequential(ResidualBlock(path, [nn.Conv2d(3, 5, 1)]), ResidualBlock([nn.Conv2d(5, 5, 1)]))
    inserted: list[nn.Module] = []

    def make(index: int) -> nn.Module:
        assert index == len(inserted)
        inserted.append(nn.Dropout(0.5))
        return inserted[-1]

    assert insert_between_layers(body, make) == 2  # before the path's second layer and the second block's
    assert body[0].path[2][0] is inserted[0]
    assert body[1].path[0][0] is inserted[1]


def test_maxout_is_the_largest_of_its_pieces() -> None:
    layer = Maxout(3, 4, pieces=5)
    x = torch.randn(2, 3)
    weight, bias = layer.linear.weight.view(4, 5, 3), layer.linear.bias.view(4, 5)
    expected = torch.stack([(weight[:, p] @ x.T).T + bias[:, p] for p in range(5)]).max(0).values
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_the_discriminator_of_2014() -> None:
    discriminator = mlp.discriminator(
        [240, 240], maxout=5, slope=0.2, dropout=0.5, input_dropout=0.2, shape=(1, 28, 28)
    )
    classes = [type(layer).__name__ for layer in discriminator.body]
    assert classes == ["Flatten", "Dropout", "Maxout", "Dropout", "Maxout", "Dropout"]
    assert discriminator(torch.randn(2, 1, 28, 28)).logits.shape == (2,)


def test_outputs_are_in_the_range_of_the_data() -> None:
    x = torch.tensor([-100.0, 0.0, 100.0])
    assert output_layer((-1, 1))(x).tolist() == [-1, 0, 1]
    assert output_layer((0, 1))(x).tolist() == [0, 0.5, 1]
    assert output_layer(None)(x).tolist() == x.tolist()
    with refuses("data.range", (0, 255)):
        output_layer((0, 255))


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv2d(3, 2, 3)])
def test_added_inputs_keep_the_old_weights(layer: nn.Module) -> None:
    x = torch.randn(2, 3) if isinstance(layer, nn.Linear) else torch.randn(2, 3, 5, 5)
    before = layer(x)
    add_inputs(layer, 4)
    extra = torch.zeros(2, 4, *x.shape[2:])
    assert torch.allclose(layer(torch.cat([x, extra], 1)), before, atol=1e-6)
    assert not torch.allclose(layer(torch.cat([x, extra + 1], 1)), before)


def test_priors() -> None:
    uniform = priors.Uniform(math.sqrt(3))(RandomStreams(0), 20000, 2)
    assert uniform.abs().max() <= math.sqrt(3)
    assert uniform.var() == pytest.approx(1, abs=0.02)
    assert priors.Normal()(RandomStreams(0), 20000, 2).std() == pytest.approx(1, abs=0.02)
    sphere = priors.Sphere()(RandomStreams(0), 20000, 7)
    assert torch.allclose(sphere.norm(dim=1), torch.tensor(math.sqrt(7)))
    assert torch.allclose(sphere.T @ sphere / 20000, torch.eye(7), atol=0.05)
    assert sphere.mean(0).abs().max() < 0.05


def test_the_elementary_norm_is_batch_norm_and_can_be_differentiated_three_times() -> None:
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    torch_norm = nn.BatchNorm2d(3).double()
    nn.init.normal_(torch_norm.weight)
    elementary = DifferentiableBatchNorm(copy.deepcopy(torch_norm))
    for norm in (torch_norm.train(), elementary.train()):
        norm(x.detach() + 1)
    assert torch.allclose(torch_norm(x), elementary(x), atol=1e-12)
    for name, buffer in torch_norm.named_buffers():
        assert torch.allclose(buffer, dict(elementary.named_buffers())[name]), name
    assert torch.allclose(torch_norm.eval()(x), elementary.eval()(x))
    value = elementary.train()(x).pow(4).sum()
    for _ in range(3):
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        value = slope.pow(2).sum()
    assert value.isfinite()
