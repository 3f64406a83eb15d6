import copy

import pytest
import torch
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game, play_steps, real_batch
from torch import nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.tricks.noise_layers import NoiseLayers, ScheduledNoise


def test_the_noise_has_the_scheduled_standard_deviation_and_differs_between_passes() -> None:
    trick, layer = NoiseLayers(Linear(0.4, 0.0, 10), "discriminator"), ScheduledNoise("discriminator", 0)
    trick.layers["discriminator"] = [layer]
    turn = game().game.turn("discriminator", real_batch(), RandomStreams(0))
    x = torch.zeros(2000, 5)
    for step, std in {0: 0.4, 5: 0.2, 10: 0.0}.items():
        turn.step = step
        assert trick.inputs(turn.real, turn) is turn.real
        one, other = layer(x), layer(x)
        assert one.mean().abs() < 0.02
        assert one.std() == pytest.approx(std, abs=0.01)
        assert torch.equal(one, other) == (std == 0)
    turn.step = 0
    trick.inputs(turn.real, turn)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize(
    ("base", "layers"), [(DCGAN, 2), (SMALL, 1), ((*SMALL, "model.discriminator.hidden=[8,8,8]"), 3)]
)
def test_every_hidden_layer_and_the_features_have_separate_noise(base: tuple[str, ...], layers: int) -> None:
    table = build_game(compose(*base, "trick=noise_layers"))
    found = [m for m in table.discriminator.modules() if isinstance(m, ScheduledNoise)]
    assert len({layer.stream for layer in found}) == len(found) == layers
    assert list(table.discriminator.body)[-1] is table.tricks["noise_layers"].layers["discriminator"][-1]
    first = next(
        m for m in table.discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d | ScheduledNoise)
    )
    assert not isinstance(first, ScheduledNoise)


def test_verdicts_on_both_turns_have_the_noise_of_the_turn() -> None:
    module = game("hinge", ["noise_layers"])
    for player in ("discriminator", "generator"):
        one, again, other = (
            module.game.turn(player, real_batch(), RandomStreams(k))
            .replace(latent=torch.zeros(16, 6))
            .on_fake
            for k in (0, 0, 1)
        )
        assert torch.equal(one.features, again.features)
        assert not torch.equal(one.features, other.features)
    play_steps(module, 1)
    copied = copy.deepcopy(module.game)
    assert torch.equal(
        copied.eval().discriminator(real_batch().real.x).logits,
        module.game.eval().discriminator(real_batch().real.x).logits,
    )


@pytest.mark.parametrize(
    ("base", "layers"), [(DCGAN, 2), (SMALL, 1), ((*SMALL, "model.generator.hidden=[8,8,8]"), 3)]
)
def test_noise_in_the_generator_is_added_between_its_layers(base: tuple[str, ...], layers: int) -> None:
    table = build_game(compose(*base, "trick=noise_layers", "trick.noise_layers.player=generator"))
    weighted = [
        m for m in table.generator.modules() if isinstance(m, nn.Linear | nn.ConvTranspose2d | ScheduledNoise)
    ]
    assert [isinstance(m, ScheduledNoise) for m in weighted] == [False, *[True, False] * layers]
    assert not any(isinstance(m, ScheduledNoise) for m in table.discriminator.modules())


IN_GENERATOR = ("trick.noise_layers.player=generator", "trick.noise_layers.std=0.5")


def test_the_last_linear_layer_of_the_generator_transforms_the_noise() -> None:
    """Its output has the covariance W W^T std^2 around the output without noise."""
    overrides = (*IN_GENERATOR, "model.generator.batch_norm=false", "~data.range", "+data.range=null")
    module = game("mmd", ["noise_layers"], "shared", *overrides).game
    module.train()
    n = 4000
    turn = module.turn("generator", Batch(Sample(torch.zeros(n, 1, 8, 8))), RandomStreams(0))
    made = turn.replace(latent=torch.ones(n, 6)).generated  # without the hook
    assert made.x.std(0).max() < 1e-6
    made = turn.decode(torch.ones(n, 6)).x.flatten(1)
    weight = next(m for m in reversed(list(module.generator.modules())) if isinstance(m, nn.Linear)).weight
    expected = 0.25 * weight @ weight.T
    assert torch.allclose(torch.cov(made.T), expected, atol=0.15 * float(expected.detach().abs().max()))
    assert torch.allclose(made.mean(0), module.eval().generator(torch.ones(1, 6)).flatten(), atol=0.05)


def test_samples_have_no_noise_and_training_passes_have_separate_noise() -> None:
    module = game("hinge", ["noise_layers"], "alternating", *IN_GENERATOR)
    play_steps(module, 1)
    assert torch.equal(module.game.sample(5), module.game.sample(5))
    made = {}
    for player in ("discriminator", "generator"):
        for k in (0, 1):
            turn = module.game.turn(player, real_batch(), RandomStreams(k, player))
            made[player, k] = turn.decode(torch.zeros(16, 6)).x
    one, *others = made.values()
    assert not any(torch.equal(one, other) for other in others)


def test_the_reference_batch_of_virtual_batch_norm_has_no_noise() -> None:
    layer, x = ScheduledNoise("discriminator", 0), torch.zeros(7, 3)
    layer.random, layer.num_rows, layer.std = RandomStreams(0), 5, 1.0
    assert layer(x)[:2].equal(x[:2])
    layer.random = RandomStreams(0)
    assert layer(x)[2:].equal(RandomStreams(0).normal(layer.stream, 5, 3))


def test_a_generator_without_a_hidden_layer_is_refused() -> None:
    with refuses("trick", "noise_layers", "needs a generator with a hidden layer"):
        game("mmd", ["noise_layers"], "shared", *IN_GENERATOR, "model.generator.hidden=[]")


def test_a_negative_std_is_refused() -> None:
    with refuses(".std", -0.1, "of at least 0"):
        NoiseLayers(-0.1, "both")
