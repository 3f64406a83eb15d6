import copy

import pytest
import torch
from support.refusals import refuses
from support.small_games import DCGAN, SMALL, game, play_step, play_steps, real_batch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Constant
from ganlab.game import Game
from ganlab.networks.base import WEIGHT_LAYERS
from ganlab.networks.norms import set_standing_statistics
from ganlab.networks.weights import FullPrecision, optimised_weight, parametrise, set_singular_vectors
from ganlab.tricks.ema import latent_batches

WEIGHTS = (*WEIGHT_LAYERS, nn.Embedding)


def built(base: tuple[str, ...], *overrides: str) -> Game:
    return build_game(compose(*base, "trick=[spectral_norm,label_conditioning]", *overrides))


def largest(layer: nn.Module) -> float:
    """The largest singular value of a weight as a matrix, one row per output."""
    weight = layer.weight.detach()
    outputs = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    return float(torch.linalg.svdvals(outputs.flatten(1)).max())


def judge(game: Game, passes: int) -> None:
    x, classes = torch.randn(4, 1, 8, 8), torch.arange(4)
    with torch.no_grad():
        for _ in range(passes):
            game.discriminator(x, classes)
            game.generator(torch.randn(4, game.generator.latent_dim), classes)


@pytest.mark.parametrize("way", ["concat", "projection"])
@pytest.mark.parametrize("base", [SMALL, DCGAN], ids=["gan", "dcgan"])
def test_every_weight_has_spectral_norm_one_including_those_of_other_tricks(
    base: tuple[str, ...], way: str
) -> None:
    game = built(base, "trick.spectral_norm.player=both", f"trick.label_conditioning.discriminator={way}")
    judge(game, 200)
    constrained = [
        m for p in (game.generator, game.discriminator) for m in p.modules() if isinstance(m, WEIGHTS)
    ]
    assert len(constrained) >= 4 + (way == "projection")
    for layer in constrained:
        assert largest(layer) == pytest.approx(1, abs=1e-4)
    free = build_game(compose(*base))
    assert all(abs(largest(m) - 1) > 1e-2 for m in free.discriminator.modules() if isinstance(m, WEIGHTS))


def test_one_iteration_per_pass_follows_changing_weights() -> None:
    module = game("hinge", ["spectral_norm"])
    play_steps(module, 30)
    for layer in module.game.discriminator.modules():
        if isinstance(layer, WEIGHTS):
            assert largest(layer) == pytest.approx(1, abs=0.05)
    judge(module.game, 200)
    module.game.discriminator.eval()
    x = torch.randn(50, 1, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(module.game.discriminator(x).logits.sum(), x)
    assert float(slope.flatten(1).norm(dim=1).max()) <= 1 + 1e-4


def test_the_gradient_is_equation_12() -> None:
    """Equation 12: (E[delta h^T] - lambda u v^T) / sigma, with lambda = <E[delta h^T], W_SN>."""
    discriminator = built(SMALL).double().discriminator
    for _ in range(300):
        discriminator(torch.zeros(1, 1, 8, 8).double(), torch.zeros(1, dtype=torch.long))
    layer = discriminator.score
    weight = layer.parametrizations.weight.original
    h, delta = torch.randn(5, 16).double(), torch.randn(5, 1).double()
    (delta * layer(h)).sum().backward()
    u, s, vh = torch.linalg.svd(weight.detach(), full_matrices=False)
    plain = delta.T @ h
    share = (plain * weight.detach() / s[0]).sum()
    assert torch.allclose(weight.grad, (plain - share * torch.outer(u[:, 0], vh[0])) / s[0], atol=1e-8)


def test_only_training_passes_change_the_singular_vectors() -> None:
    discriminator = game(tricks=["spectral_norm"]).game.discriminator
    with torch.no_grad():
        for weight in discriminator.parameters():
            weight.normal_()
    for training in (False, True):
        before = copy.deepcopy(dict(discriminator.named_buffers()))
        discriminator.train(training)(torch.randn(2, 1, 8, 8))
        moved = [not torch.equal(b, before[name]) for name, b in discriminator.named_buffers()]
        assert any(moved) == training


def test_an_unrolled_discriminator_is_constrained_and_does_not_change_the_original() -> None:
    """Verdicts after one unrolled step equal those of a copy that takes the step."""
    module = game(
        "non_saturating",
        ["spectral_norm", "unrolled"],
        "alternating",
        "trick.unrolled.steps=1",
        "trick.unrolled.lr=0.1",
    )
    doubled = module.game.double()
    sample = real_batch().real
    turn = doubled.turn(
        "generator", real_batch()._replace(real=sample._replace(x=sample.x.double())), RandomStreams(0)
    )
    turn = turn.replace(latent=torch.randn(16, 6).double())
    before = copy.deepcopy(doubled.discriminator.state_dict())
    ahead, fake = copy.deepcopy(doubled.discriminator), turn.generated.x.detach()
    softplus = nn.functional.softplus
    loss = softplus(-ahead(turn.real.x).logits).mean() + softplus(ahead(fake).logits).mean()
    slopes = torch.autograd.grad(loss, list(ahead.parameters()))
    with torch.no_grad():
        for weight, slope in zip(ahead.parameters(), slopes, strict=True):
            weight -= 0.1 * slope
    expected = softplus(-ahead(fake).logits).mean()
    assert float(doubled.losses(turn)["adversarial"].detach()) == pytest.approx(
        float(expected.detach()), rel=1e-9
    )
    assert all(torch.equal(value, before[name]) for name, value in doubled.discriminator.state_dict().items())


def test_the_average_of_a_constrained_generator_is_sampled() -> None:
    module = game("hinge", ["ema", "spectral_norm"], "alternating", "trick.spectral_norm.player=both")
    play_step(module)  # the average copies weights and singular vectors
    sampler, generator = module.game.presented("generator"), module.game.generator
    set_standing_statistics(generator, latent_batches(generator, None))  # as in the average
    latent = torch.randn(3, 6)
    assert torch.allclose(sampler.eval()(latent), generator.eval()(latent), atol=0.05)
    assert largest(sampler.body[0]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_averages_are_divided_by_their_own_singular_values(model: str) -> None:
    tricks = ["ema", "spectral_norm", "semi_supervised", *["normalisation"] * (model == "dcgan")]
    both = ("trick.ema.players=[generator,discriminator]", "trick.spectral_norm.player=both")
    module = game("non_saturating", tricks, "alternating", *both, model=model)
    module.game.tricks["ema"].decay = Constant(0.9)
    play_steps(module, 12)
    before = copy.deepcopy(module.game.state_dict())
    twin = game("non_saturating", tricks, "alternating", *both, model=model)
    twin.load_state_dict(module.state_dict())
    for made in (module.game, twin.game):
        for network in (made.presented("generator").eval(), made.classifier.eval()):
            layers = [layer for layer in network.modules() if isinstance(layer, WEIGHT_LAYERS)]
            assert len(layers) >= 2
            assert [largest(layer) for layer in layers] == pytest.approx([1] * len(layers), abs=1e-4)
    after = module.game.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items() if isinstance(v, torch.Tensor))
    assert torch.equal(module.game.sample(5), twin.game.sample(5))


def test_weights_that_are_not_finite_give_samples_that_are_not_finite() -> None:
    network = nn.Sequential(nn.Linear(4, 3))
    parametrise(network[0], spectral_norm)
    optimised_weight(network[0]).detach()[0, 0] = torch.inf
    set_singular_vectors(network)
    assert not network.eval()(torch.ones(1, 4)).isfinite().all()


def test_a_decoder_is_not_constrained() -> None:
    module = game("mmd_gan", ["spectral_norm", "feature_autoencoder"])
    decoder = list(module.game.discriminator.decoder.named_parameters())
    assert decoder
    assert not any("parametrizations" in name for name, _ in decoder)


def test_norms_are_computed_in_full_precision() -> None:
    seen = []

    class Recording(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            seen.append((torch.is_autocast_enabled("cpu"), (weight @ weight).dtype))
            return weight

    with torch.autocast("cpu", dtype=torch.bfloat16):
        FullPrecision(Recording())(torch.eye(2))
    assert seen == [(False, torch.float32)]
    module = game("hinge", ["spectral_norm"])
    assert sum(isinstance(m, FullPrecision) for m in module.game.discriminator.modules()) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("player=all", "player=all:? must be one of discriminator, generator, both"),
        ("iterations=0", "iterations=0:? must be a whole number of at least 1"),
        ("iterations=1.5", "iterations=1.5:? must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"trick.spectral_norm.{message}"):
        built(SMALL, f"trick.spectral_norm.{override}")


def test_two_tricks_that_normalise_the_same_weights_are_refused() -> None:
    pair = ["spectral_norm", "weight_norm"]
    with refuses("trick", pair[::-1], "weight_norm claims the scale of the discriminator's weights"):
        game("hinge", pair)
    game("hinge", pair, "alternating", "trick.weight_norm.player=generator")
    with refuses("trick", pair[::-1], "weight_norm claims the scale of the generator's weights"):
        game(
            "hinge",
            pair,
            "alternating",
            *(f"trick.{t}.player={p}" for t, p in zip(pair, ("both", "generator"), strict=True)),
        )


@pytest.mark.parametrize("base", [SMALL, DCGAN], ids=["gan", "dcgan"])
def test_class_planes_and_columns_in_the_input_are_not_constrained(base: tuple[str, ...]) -> None:
    game = built(base, "trick.label_conditioning.discriminator=embedding")
    judge(game, 3)
    (embedding,) = (m for m in game.discriminator.modules() if isinstance(m, nn.Embedding))
    assert largest(embedding) > 2
