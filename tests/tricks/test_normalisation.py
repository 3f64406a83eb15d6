import pytest
import torch
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game
from torch import Tensor, nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.game import Game
from ganlab.networks.norms import BATCH_NORMS, remove_batch_norm
from ganlab.networks.residual import ResidualBlock


def built(base: tuple[str, ...], *overrides: str, tricks: str = "normalisation") -> Game:
    return build_game(compose(*base, f"trick=[{tricks}]", *(f"trick.{override}" for override in overrides)))


def of_kind(kind: str) -> list[str]:
    return [f"normalisation.kind={kind}", *(["normalisation.groups=2"] if kind == "group" else [])]


def norms(network: nn.Module, kinds: tuple[type[nn.Module], ...] = (nn.GroupNorm,)) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


@pytest.mark.parametrize(
    ("kind", "parts"), [("layer", lambda c: 1), ("instance", lambda c: c), ("group", lambda c: 2)]
)
def test_a_sample_is_normalised_by_its_own_statistics(kind: str, parts) -> None:
    made = norms(built(DCGAN, *of_kind(kind)).generator)
    assert len(made) == 2
    for norm in made:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        channels = len(norm.weight)
        x = torch.randn(3, channels, 4, 5)
        out = norm(x)
        for sample, shown in zip(x, out, strict=True):
            by_hand = [
                (part - part.mean()) / (part.var(correction=0) + norm.eps).sqrt()
                for part in sample.chunk(parts(channels))
            ]
            expected = torch.cat(by_hand) * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
            assert torch.allclose(shown, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["layer", "instance", "group", "none"])
@pytest.mark.parametrize("player", ["discriminator", "generator", "both"])
def test_no_sample_of_the_player_depends_on_the_others(kind: str, player: str) -> None:
    game = built(DCGAN, *of_kind(kind), f"normalisation.player={player}").train()

    def alone(of: str, network, x: Tensor) -> None:
        judged = [network(rows) for rows in (x, x[:2])]
        one, other = (getattr(verdict, "logits", verdict) for verdict in judged)
        free = player in (of, "both")
        assert torch.allclose(one[:2], other, atol=1e-5) == free
        assert bool(norms(network, BATCH_NORMS)) != free

    with torch.no_grad():
        for weight in game.parameters():  # the paper's initial weights are too small for visible differences
            weight.normal_(0, 0.3)
        alone("generator", game.generator, torch.randn(6, 6))
        alone("discriminator", game.discriminator, torch.randn(6, 1, 8, 8))


def test_a_layer_whose_batch_norm_is_removed_gets_a_bias() -> None:
    game, plain = built(DCGAN, "normalisation.kind=none"), build_game(compose(*DCGAN))
    for player in ("generator", "discriminator"):
        free, normed = (
            [
                m
                for m in getattr(g, player).modules()
                if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
            ]
            for g in (game, plain)
        )
        assert [layer.bias is None for layer in free] == [False] * len(free)
        assert any(layer.bias is None for layer in normed)
        for layer in free:
            outputs = layer.weight.shape[isinstance(layer, nn.ConvTranspose2d)]
            assert layer.bias.shape == (outputs,)
            assert not layer.bias.any()


def test_a_bias_remains_where_no_sequence_says_which_layer_is_before_a_removed_norm() -> None:
    def conv() -> nn.Conv2d:
        return nn.Conv2d(2, 2, 1, bias=False)

    # The shortcut is registered before the path, but it is not before the norm.
    block = ResidualBlock([nn.BatchNorm2d(2), conv(), nn.BatchNorm2d(2)], [conv()])
    assert remove_batch_norm(block) == 2
    assert block.shortcut[0].bias is None
    nn.init.constant_(block.path[0].bias, 3)
    nn.init.constant_(block.path[1].bias, 5)
    x = torch.randn(4, 2, 3, 3)
    assert torch.allclose(block.path(x), block.path[1](x + 3))
    nested = nn.Sequential(nn.Sequential(conv()), nn.Sequential(nn.BatchNorm2d(2)))
    assert remove_batch_norm(nested) == 1
    assert nested[0][0].bias.tolist() == [0, 0]


def test_norm_conditioning_is_accepted_and_virtual_batch_norm_is_refused() -> None:
    both = "normalisation,label_conditioning"
    game = built(SMALL, "label_conditioning.generator=norm", tricks=both)
    (norm,) = norms(game.generator)
    assert norm.weight is None
    with refuses("trick.label_conditioning.generator", "norm", "needs a generator with batch norm"):
        built(SMALL, "label_conditioning.generator=norm", "normalisation.kind=none", tricks=both)
    with refuses("trick", ["virtual_batch_norm", "normalisation"], "claims the generator's batch norm"):
        built(SMALL, tricks="normalisation,virtual_batch_norm")
    built(DCGAN, "normalisation.player=discriminator", tricks="normalisation,virtual_batch_norm")


@pytest.mark.parametrize(
    ("overrides", "key", "value", "reason"),
    [
        (["groups=2"], "groups", 2, "does not go with kind=layer"),
        (["kind=group"], "groups", None, "does not go with kind=group"),
        (["kind=group", "groups=3"], "groups", 3, "does not divide 16 channels"),
        (["kind=group", "groups=8"], "groups", 8, "leaves fewer than 3 of 16 features in a group"),
        (["kind=instance"], "kind", "instance", "has nothing to average over"),
    ],
)
def test_a_norm_that_does_not_fit_is_refused(overrides: list[str], key: str, value, reason: str) -> None:
    with refuses(f"trick.normalisation.{key}", value, reason):
        built(SMALL, *(f"normalisation.{override}" for override in overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["kind=batch"], "kind=batch:? must be one of layer, instance, group, none"),
        (["kind=group", "groups=0"], "groups=0:? must be a whole number of at least 1"),
        (["player=none"], "player=none:? must be one of discriminator"),
    ],
)
def test_settings_out_of_range_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"trick.normalisation.{message}"):
        built(SMALL, *(f"normalisation.{override}" for override in overrides))


def test_a_player_without_batch_norm_is_refused() -> None:
    with refuses(
        "trick", "normalisation", "no effect on a discriminator without batch norm", "remove the trick"
    ):
        game("hinge", ["normalisation"], "alternating", "trick.normalisation.player=discriminator")


def test_gains_and_biases_start_as_those_of_the_batch_norm() -> None:
    ours = norms(built(DCGAN).discriminator)
    theirs = norms(build_game(compose(*DCGAN)).discriminator, BATCH_NORMS)
    assert len(ours) == len(theirs) > 0
    for norm, other in zip(ours, theirs, strict=True):
        assert other.weight.std() > 0
        assert torch.equal(norm.weight, other.weight)
        assert torch.equal(norm.bias, other.bias)
