"""Initial weights of networks."""

from __future__ import annotations

import math

import pytest
import torch
from support.modules import build
from support.refusals import refuses
from support.small_games import SMALL
from torch import nn

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.networks import dcgan, initial, mlp, priors
from ganlab.networks.autoencoder import linear_layers
from ganlab.networks.base import Generator

MEAN = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64).view(1, 2, 2)


def generator(value_range: tuple[float, float] | None = (0, 1)) -> Generator:
    return mlp.generator(
        5,
        [400, 300],
        batch_norm=False,
        slope=0.0,
        shape=(1, 2, 2),
        value_range=value_range,
        prior=priors.Normal(),
    )


def test_uniform_weights_fill_their_range_in_every_layer() -> None:
    discriminator = mlp.discriminator(
        [50, 40], maxout=5, slope=0.2, dropout=0.0, input_dropout=0.0, shape=(1, 8, 8)
    )
    initial.Uniform(0.005)(discriminator, None)
    layers = linear_layers(discriminator)
    assert [layer.out_features for layer in layers] == [250, 200, 1]
    for layer in layers:
        assert 0.0045 < float(layer.weight.detach().abs().max()) <= 0.005
        assert not layer.bias.any()
    assert float(layers[0].weight.detach().std()) == pytest.approx(0.005 / math.sqrt(3), rel=0.02)


def test_the_variance_of_fan_in_weights_is_inverse_to_the_number_of_inputs() -> None:
    network = generator()
    initial.FanIn(0.1)(network, None)
    for layer, inputs in zip(linear_layers(network)[1:], (400, 300), strict=True):
        assert float(layer.weight.detach().var()) * inputs == pytest.approx(0.1, rel=0.1)
        assert not layer.bias.any()
    convolution = nn.Conv2d(16, 64, 5)
    initial.FanIn(0.1)(convolution, None)
    assert float(convolution.weight.detach().var()) * 16 * 25 == pytest.approx(0.1, rel=0.1)
    with refuses(".", reason="transposed"):
        initial.FanIn(0.1)(nn.ConvTranspose2d(2, 2, 3), None)


@pytest.mark.parametrize("value_range", [(0, 1), (-1, 1), None])
def test_a_generator_with_zero_weights_generates_the_mean(value_range: tuple[float, float] | None) -> None:
    low, high = value_range or (0, 1)
    mean = low + (high - low) * MEAN
    network = generator(value_range)
    initial.OutputMean(1e-7)(network, lambda: mean)
    nn.init.zeros_(linear_layers(network)[-1].weight)
    samples = network(torch.randn(3, 5))
    assert torch.allclose(samples, mean.float().expand(3, 1, 2, 2), atol=1e-6)
    assert all(p.isfinite().all() for p in network.parameters())


def test_without_data_the_bias_stays() -> None:
    network = generator()
    before = linear_layers(network)[-1].bias.clone()
    initial.OutputMean(1e-7)(network, None)
    assert torch.equal(linear_layers(network)[-1].bias, before)


@pytest.mark.parametrize(
    "network",
    [
        dcgan.generator(
            4, 2, kernel=5, slope=0.0, shape=(1, 8, 8), value_range=(0, 1), prior=priors.Normal()
        ),
        mlp.discriminator([4], maxout=None, slope=0.2, dropout=0, input_dropout=0, shape=(1, 2, 2)),
    ],
)
def test_a_generator_without_a_last_linear_layer_is_refused(network: nn.Module) -> None:
    with refuses(".", reason="needs a last linear layer"):
        initial.OutputMean(1e-7)(network, lambda: torch.full((1, 8, 8), 0.5))


def test_a_run_and_its_moving_average_start_from_the_mean_of_the_data() -> None:
    initialisers = "[{_target_: ganlab.networks.initial.OutputMean, margin: 1e-7}]"
    cfg = compose(*SMALL, f"initial.generator={initialisers}", "trick=ema")
    data = build_data(cfg)
    expected = data.mean().flatten().clamp(1e-7 - 1, 1 - 1e-7).atanh().float()
    game = build(cfg, data).game
    for network in (game.generator, game.presented("generator")):
        assert torch.equal(linear_layers(network)[-1].bias, expected)
    assert game.presented("generator") is not game.generator


def test_normal_weights_have_the_same_deviation_in_every_layer() -> None:
    network = generator()
    initial.Normal(0.1)(network, None)
    for layer in linear_layers(network)[1:]:
        assert float(layer.weight.detach().std()) == pytest.approx(0.1, rel=0.05)
        assert not layer.bias.any()
