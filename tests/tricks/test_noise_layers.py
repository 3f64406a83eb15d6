import copy

import pytest
import torch
from table import DCGAN, SMALL, game, real, rounds
from torch import nn

from ganlab.cli import compose
from ganlab.config import build_game
from ganlab.errors import Refused
from ganlab.networks.noise import Noise
from ganlab.randomness import Draw
from ganlab.schedules import Linear
from ganlab.tricks.noise_layers import NoiseLayers


def test_the_noise_is_as_large_as_the_schedule_says_and_fresh_in_each_pass() -> None:
    trick, layer = NoiseLayers(Linear(0.4, 0.0, 10)), Noise(0)
    trick.layers.append(layer)
    turn = game().game.turn("discriminator", real(), Draw(0))
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
def test_every_hidden_layer_gets_noise_of_its_own_the_features_too(
    base: tuple[str, ...], layers: int
) -> None:
    table = build_game(compose(*base, "trick=noise_layers"))
    found = [m for m in table.discriminator.modules() if isinstance(m, Noise)]
    assert len({layer.name for layer in found}) == len(found) == layers
    assert list(table.discriminator.body)[-1] is table.tricks["noise_layers"].layers[-1]
    first = next(m for m in table.discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d | Noise))
    assert not isinstance(first, Noise)


def test_both_players_verdicts_are_noisy_and_those_of_the_turn() -> None:
    module = game("hinge", ["noise_layers"])
    for player in ("discriminator", "generator"):
        one, again, other = (
            module.game.turn(player, real(), Draw(k)).replace(latent=torch.zeros(16, 6)).on_fake
            for k in (0, 0, 1)
        )
        assert torch.equal(one.features, again.features)
        assert not torch.equal(one.features, other.features)
    rounds(module, 1)
    copied = copy.deepcopy(module.game)
    assert torch.equal(
        copied.eval().discriminator(real().real.x).logits,
        module.game.eval().discriminator(real().real.x).logits,
    )


def test_a_negative_std_is_refused() -> None:
    with pytest.raises(Refused, match="trick.noise_layers.std=-0.1 must lie between 0"):
        NoiseLayers(-0.1)
