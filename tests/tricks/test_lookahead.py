import math

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, play_steps
from torch import nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.config.load import load_players
from ganlab.core.players import Networks
from ganlab.networks.weights import flat_weights
from ganlab.tricks.lookahead import Lookahead

PLAYERS = ("discriminator", "generator")


def weights(module) -> dict[str, torch.Tensor]:
    return {player: flat_weights(getattr(module.game, player)).detach().double() for player in PLAYERS}


class Fast(Lookahead):
    """Records the weights before the interpolation."""

    def after_update(self, player, networks, step) -> None:
        self.fast = {name: flat_weights(networks[name]).detach().double() for name in PLAYERS}
        super().after_update(player, networks, step)


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous", "extragradient"])
def test_both_players_are_interpolated_at_every_third_step(play: str) -> None:
    settings = ("trick.lookahead.k=3", "trick.lookahead.alpha=0.3")
    module = game("hinge", ["lookahead"], play, *settings)
    module.game.tricks["lookahead"].__class__ = Fast
    slow = weights(module)
    for step in range(1, 8):
        play_step(module)
        fast = module.game.tricks["lookahead"].fast
        for player, found in weights(module).items():
            if step % 3:
                assert torch.equal(found, fast[player])
            else:
                expected = slow[player] + 0.3 * (fast[player] - slow[player])
                assert torch.allclose(found, expected, atol=1e-7)
                assert not torch.allclose(found, fast[player], atol=1e-5)
                slow[player] = found


class Two(nn.Module):
    """A network with one parameter."""

    def __init__(self, value: float):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value], dtype=torch.float64))


def test_it_converges_in_the_bilinear_game_unlike_gradient_descent() -> None:
    """min over x, max over y of x y, simultaneously: each step multiplies x + i y by 1 + i rate."""
    rate, k, alpha = 0.3, 5, 0.5
    networks = Networks({"generator": Two(1.0), "discriminator": Two(1.0)})
    x, y = networks.generator.value, networks.discriminator.value
    trick = Lookahead(k, alpha, "both")
    trick.networks(networks)
    for step in range(10 * k):
        with torch.no_grad():
            slope_x, slope_y = y.clone(), x.clone()
            x -= rate * slope_x
            y += rate * slope_y
        for player in PLAYERS:
            trick.after_update(player, networks, step)
    expected = (1 + 1j) * (1 - alpha + alpha * (1 + rate * 1j) ** k) ** 10
    assert complex(x.item(), y.item()) == pytest.approx(expected, rel=1e-9)
    assert math.hypot(x.item(), y.item()) < 0.3 < 10 < abs((1 + 1j) * (1 + rate * 1j) ** (10 * k))


def test_it_counts_generator_updates_and_not_steps() -> None:
    settings = ("trick.lookahead.k=2", "trick.critic_steps.n=3")
    module = game("hinge", ["lookahead", "critic_steps"], "alternating", *settings)
    slow = module.game.tricks["lookahead"].discriminator.clone()
    play_steps(module, 5)
    assert torch.equal(module.game.tricks["lookahead"].discriminator, slow)
    play_steps(module, 1)
    assert module.game.tricks["lookahead"].num_updates == 2
    assert not torch.equal(module.game.tricks["lookahead"].discriminator, slow)


def test_a_player_that_is_not_selected_is_not_interpolated() -> None:
    for player, other in (PLAYERS, PLAYERS[::-1]):
        settings = ("trick.lookahead.k=1", f"trick.lookahead.player={player}")
        module = game("hinge", ["lookahead"], "alternating", *settings)
        module.game.tricks["lookahead"].__class__ = Fast
        play_step(module)
        found, fast = weights(module), module.game.tricks["lookahead"].fast
        assert not torch.equal(found[player], fast[player])
        assert torch.equal(found[other], fast[other])


def test_it_needs_no_discriminator_for_the_generator_alone() -> None:
    module = game("mmd", ["lookahead"], "alternating", "trick.lookahead.player=generator")
    play_steps(module, 5)
    assert module.game.tricks["lookahead"].num_updates == 5


def test_averages_use_the_interpolated_weights() -> None:
    tricks = ["ema", "historical_averaging", "lookahead"]
    settings = ("trick.lookahead.k=1", "trick.lookahead.player=generator")
    module = game("hinge", tricks, "alternating", *settings)
    play_step(module)
    generator = flat_weights(module.game.generator)
    assert torch.equal(flat_weights(module.game.tricks["ema"].averages["generator"]), generator)
    for player in PLAYERS:
        average = getattr(module.game.tricks["historical_averaging"], player)
        assert torch.equal(average, flat_weights(getattr(module.game, player)))


@pytest.mark.parametrize("player", ["both", "discriminator"])
@pytest.mark.parametrize(
    "averaging",
    [
        ("historical_averaging",),
        ("ema", "semi_supervised", "trick.ema.players=[generator,discriminator]"),
    ],
)
def test_an_average_of_an_interpolated_discriminator_is_refused(player: str, averaging) -> None:
    tricks = [name for name in averaging if "." not in name]
    settings = [setting for setting in averaging if "." in setting]
    reason = f"lookahead claims discriminator updates that are never undone, which {tricks[0]} needs as well"
    with refuses("trick", ["lookahead", tricks[0]], reason, "remove one of them"):
        game("hinge", [*tricks, "lookahead"], "alternating", f"trick.lookahead.player={player}", *settings)
    game("hinge", [*tricks, "lookahead"], "alternating", "trick.lookahead.player=generator", *settings)


def test_an_average_of_the_generator_is_accepted() -> None:
    module = game("hinge", ["ema", "lookahead"], "alternating", "trick.lookahead.k=1")
    play_step(module)
    assert torch.equal(
        flat_weights(module.game.tricks["ema"].averages["generator"]), flat_weights(module.game.generator)
    )


@pytest.mark.parametrize("player", ["generator", "both"])
def test_spectral_norms_are_those_of_the_interpolated_weights(player: str) -> None:
    settings = ("trick.spectral_norm.player=both", f"trick.lookahead.player={player}", "trick.lookahead.k=5")
    module = game("hinge", ["spectral_norm", "lookahead"], "alternating", *settings)
    play_steps(module, 5)
    module.eval()
    for mover in ("generator", "discriminator")[: 1 + (player == "both")]:
        for layer in getattr(module.game, mover).modules():
            if isinstance(layer, nn.Linear):
                assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) == pytest.approx(1, abs=1e-4)


def test_weights_that_other_tricks_add_are_interpolated() -> None:
    tricks = ["label_conditioning", "lookahead", "weight_norm"]
    module = game("hinge", tricks, "alternating", "trick.lookahead.k=1")
    many = sum(w.numel() for w in module.game.weights("discriminator"))
    assert module.game.tricks["lookahead"].discriminator.shape == (many,)
    play_step(module)
    assert torch.equal(module.game.tricks["lookahead"].discriminator, flat_weights(module.game.discriminator))


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: Lookahead(5, 1, "both"), (".alpha", 1, "strictly between 0 and 1")),
        (
            lambda: game("mmd", ["lookahead"]),
            ("trick", "lookahead", "objective with a discriminator", "set trick.lookahead.player"),
        ),
    ],
)
def test_bad_values_are_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()


def test_the_first_slow_weights_are_the_loaded_ones() -> None:
    old, module = (game("hinge", ["lookahead"], "alternating", f"seed={seed}") for seed in (1, 2))
    load_players(module, {"state_dict": old.state_dict()})
    for player in PLAYERS:
        assert torch.equal(
            getattr(module.game.tricks["lookahead"], player), flat_weights(getattr(old.game, player))
        )


def test_weights_that_are_initialised_from_the_first_batch_are_refused() -> None:
    improved = ("logger=csv", "model=improved", "trick=lookahead")
    with refuses("trick.lookahead.player", "both", "scales and biases that model=improved computes"):
        build_game(compose(*improved))
    build_game(compose(*improved, "trick.lookahead.player=generator"))
