"""The fully connected players of Salimans et al. (2016)."""

import copy

import pytest
import torch
from support.modules import build
from support.refusals import refuses
from torch import nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.networks.salimans2016 import GaussianNoise, NormalisedLinear

SMALLER = ("logger=csv", "model=improved", "model.generator.latent_dim=5", "model.generator.hidden=[7]")
RECIPE = (*SMALLER, "model.discriminator.hidden=[9,8]", "trick=semi_supervised", "data.labelled=10")


def test_weight_normalisation_is_that_of_torch() -> None:
    layer = NormalisedLinear(4, 3, initialise=False, learn_scale=True)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(5, 4)
    columns = [
        s * (x @ v) / (v @ v).sqrt() + b
        for s, v, b in zip(layer.scale, layer.weight, layer.bias, strict=True)
    ]
    assert torch.allclose(layer(x), torch.stack(columns, 1), atol=1e-6)
    torch_layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    with torch.no_grad():
        torch_layer.parametrizations.weight.original0.copy_(layer.scale[:, None])
        torch_layer.parametrizations.weight.original1.copy_(layer.weight)
        torch_layer.bias.copy_(layer.bias)
    assert torch.allclose(layer(x), torch_layer(x), atol=1e-6)


@pytest.mark.parametrize("learn", [True, False])
def test_the_first_training_batch_sets_scale_and_shift(learn: bool) -> None:
    layer = NormalisedLinear(6, 3, initialise=True, learn_scale=learn)
    x = 2 + 3 * torch.randn(50, 6)
    layer.eval()(x)
    assert layer.initialise_at_next_batch
    outputs = layer.train()(x)
    assert torch.allclose(outputs.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(outputs.var(0, correction=0), torch.ones(3), atol=1e-4)
    state = copy.deepcopy(layer.state_dict())
    layer(5 * x)
    assert torch.equal(layer.scale, state["scale"])
    restored = NormalisedLinear(6, 3, initialise=True, learn_scale=learn)
    restored.load_state_dict(state)
    assert torch.equal(restored(5 * x), layer(5 * x))
    assert (layer.scale in set(layer.parameters())) is learn


def test_noise_is_added_in_training_only() -> None:
    noise, x = GaussianNoise(0.5), torch.zeros(20_000)
    assert noise(x).std() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(noise.eval()(x), x)


def test_the_players_are_those_of_the_paper() -> None:
    game = build_game(
        compose(*RECIPE, "model.discriminator.input_noise=0.3", "model.discriminator.noise=0.5")
    )
    discriminator = game.discriminator
    noise = [layer.std for layer in discriminator.modules() if isinstance(layer, GaussianNoise)]
    assert noise == [0.3, 0.5, 0.5]
    assert isinstance(discriminator.body[-1], nn.ReLU)  # features are without the noise that follows
    assert [
        layer.out_features for layer in discriminator.modules() if isinstance(layer, NormalisedLinear)
    ] == [
        9,
        8,
        10,
    ]
    norms = [layer for layer in game.generator.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert [norm.weight.requires_grad for norm in norms] == [False]
    assert isinstance(game.generator.body[2], nn.Softplus)


def test_a_step_initialises_the_scales_of_the_players_but_not_of_an_average() -> None:
    cfg = compose(*RECIPE, "trick=[semi_supervised,ema]", "trick.ema.players=[generator,discriminator]")
    module = build(cfg)
    module.train()
    x, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    module.play_step(Batch(Sample(x, labels), Sample(x, labels)))
    average = module.game.tricks["ema"].averages["discriminator"]
    trained = module.game.discriminator
    for averaged, current in zip(average.parameters(), trained.parameters(), strict=True):
        assert torch.equal(averaged, current)
    for averaged, current in zip(average.buffers(), trained.buffers(), strict=True):
        assert torch.equal(averaged, current)
    assert torch.equal(module.game.classify(x), module.game.discriminator.eval()(x).class_logits)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("model.discriminator.hidden", [], "must be a list of 1 or more"),
        ("model.discriminator.noise", -1, "must be a number of at least 0"),
        ("model.generator.hidden", [0], "must be a list, each a whole number"),
    ],
)
def test_bad_values_are_refused(key: str, value: object, reason: str) -> None:
    with refuses(key, value, reason):
        build_game(compose(*SMALLER, f"{key}={value}"))


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize("trick", ["spectral_norm", "weight_norm"])
def test_a_parametrisation_of_weights_whose_norm_has_no_effect_is_refused(trick: str, player: str) -> None:
    with refuses("trick", trick, "no effect on the layers of model=improved", "remove the trick"):
        build_game(compose(*SMALLER, f"trick={trick}", f"trick.{trick}.player={player}"))


def test_clipping_weights_whose_norm_has_no_effect_is_refused() -> None:
    with refuses("trick", "weight_clip", "no effect on the layers of model=improved"):
        build_game(compose(*SMALLER, "trick=weight_clip"))


def test_the_experiment_is_the_published_recipe() -> None:
    cfg = compose("experiment=salimans2016_mnist_100", "logger=csv")
    game = build_game(cfg)
    widths = [layer.out_features for layer in game.discriminator.modules() if isinstance(layer, nn.Linear)]
    assert widths == [1000, 500, 250, 250, 250, 10]
    assert [layer.out_features for layer in game.generator.modules() if isinstance(layer, nn.Linear)] == [
        500,
        500,
        784,
    ]
    assert cfg.trick.feature_matching.weight == 1 / 250
    assert cfg.steps == 300 * 600
    assert cfg.objective.weight.discriminator == 0.5
