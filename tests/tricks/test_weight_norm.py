import pytest
import torch
from support.small_games import DCGAN, SMALL, game, play_step
from torch import Tensor, nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.networks.base import WEIGHT_LAYERS


def by_output(layer: nn.Module, weight: Tensor) -> Tensor:
    """[outputs, inputs]."""
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)


@pytest.mark.parametrize("base", [SMALL, DCGAN], ids=["gan", "dcgan"])
def test_a_weight_is_a_norm_times_a_direction_for_each_output(base: tuple[str, ...]) -> None:
    game = build_game(compose(*base, "trick=weight_norm", "trick.weight_norm.player=both"))
    plain = build_game(compose(*base))
    latent = torch.randn(4, 6)
    assert torch.allclose(game.generator(latent), plain.generator(latent), atol=1e-4)
    for player in (game.generator, game.discriminator):
        layers = [m for m in player.modules() if isinstance(m, WEIGHT_LAYERS)]
        assert len(layers) >= 2
        for layer in layers:
            parts = layer.parametrizations.weight
            nn.init.normal_(parts.original0)
            nn.init.normal_(parts.original1)
            length, direction = by_output(layer, parts.original0), by_output(layer, parts.original1)
            expected = length * direction / direction.norm(dim=1, keepdim=True)
            assert length.shape[1] == 1
            assert torch.allclose(by_output(layer, layer.weight), expected, atol=1e-5)


def test_the_optimiser_updates_norm_and_direction() -> None:
    module = game("hinge", ["weight_norm"])
    parts = module.game.discriminator.score.parametrizations.weight
    before = [part.detach().clone() for part in (parts.original0, parts.original1)]
    play_step(module)
    assert not torch.equal(parts.original0, before[0])
    assert not torch.equal(parts.original1, before[1])
    assert not any("parametrizations" in name for name, _ in module.game.generator.named_parameters())


def test_an_unknown_player_is_refused() -> None:
    with pytest.raises(ConfigError, match="trick.weight_norm.player=none:? must be one of discriminator"):
        game("hinge", ["weight_norm"], "alternating", "trick.weight_norm.player=none")
