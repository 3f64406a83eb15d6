"""Autoencoders, compared with exact likelihoods and with torch's distributions."""

from __future__ import annotations

import math

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, real_batch
from torch import Tensor, distributions, nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.core.errors import UNSET
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.functional.likelihoods import Bernoulli, Gaussian
from ganlab.networks import priors
from ganlab.networks.autoencoder import DropoutLinear, decoder, encoder
from ganlab.networks.base import ConditionalSequential, Generator
from ganlab.objectives.autoencoding import VAE, Reconstruction, kl_from_standard_normal
from ganlab.tricks.base import Trick
from ganlab.tricks.composition import Tricks

ALONE = {"generator": 1.0}


class LinearEncoder(nn.Module):
    """An encoder with a linear mean and a constant log-variance."""

    def __init__(self, map: Tensor, shift: Tensor, log_variance: Tensor):
        super().__init__()
        self.map, self.shift, self.log_variance = map, shift, log_variance

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        mean = (x - self.shift) @ self.map.T
        return torch.cat([mean, self.log_variance.expand_as(mean)], 1)


Autoencoder = dict[str, torch.nn.Module]


def pca(noise: float = 0.6) -> tuple[Autoencoder, Tensor, Tensor]:
    """Probabilistic PCA in two latents and five values: the networks, W [5, 2] and mu [5].

    W has orthogonal columns, so that the exact posterior has independent latents.
    """
    torch.manual_seed(0)
    w = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64)).Q * torch.tensor([1.5, 0.7])
    mu = torch.randn(5, dtype=torch.float64)
    layer = nn.Linear(2, 5).double()
    with torch.no_grad():
        layer.weight.copy_(w)
        layer.bias.copy_(mu)
    generator = Generator(ConditionalSequential(layer), 2, (5,), priors.Normal())
    precision = (
        w.square().sum(0) + noise**2
    ) / noise**2  # [2], of the posterior N(M^-1 W' (x - mu), s^2 M^-1)
    encoder = LinearEncoder(w.T / (w.square().sum(0) + noise**2)[:, None], mu, -precision.log())
    return {"generator": generator, "encoder": encoder}, w, mu


def turn_on(networks: Autoencoder, x: Tensor, seed: int = 0, tricks: Tricks | None = None) -> Turn:
    batch = Batch(Sample(x))
    return Turn("generator", 0, batch, networks, tricks or Tricks({}), RandomStreams(seed))


def bounds(networks: Autoencoder, x: Tensor, beta: float = 1.0, std: float = 0.6) -> Tensor:
    """Estimates of the bound, one for each row of x."""
    terms = VAE(Gaussian(std), beta, ALONE)(turn_on(networks, x))
    return -(terms["reconstruction"] + terms["divergence"]).detach()


def test_the_bound_of_probabilistic_pca_is_its_likelihood() -> None:
    networks, w, mu = pca()
    exact = distributions.MultivariateNormal(mu, w @ w.T + 0.36 * torch.eye(5))
    for x in (mu, mu + 1, torch.tensor([0.3, -1.0, 2.0, 0.0, 0.7], dtype=torch.float64)):
        found = bounds(networks, x.expand(40_000, 5))
        error = float(found.std()) / math.sqrt(len(found))
        assert abs(float(found.mean() - exact.log_prob(x))) < 4 * error


def test_another_posterior_lowers_the_bound_by_its_divergence_from_the_exact_one() -> None:
    networks, w, mu = pca()
    exact = distributions.MultivariateNormal(mu, w @ w.T + 0.36 * torch.eye(5))
    x = mu + 0.5
    exact_encoder = networks["encoder"]
    mean, log_variance = exact_encoder(x[None])[0].chunk(2)
    posterior = distributions.Normal(mean, (log_variance / 2).exp())
    other = LinearEncoder(exact_encoder.map, exact_encoder.shift, log_variance + 0.8)
    q = distributions.Normal(mean, ((log_variance + 0.8) / 2).exp())
    gap = distributions.kl_divergence(q, posterior).sum()
    found = bounds(networks | {"encoder": other}, x.expand(40_000, 5))
    error = float(found.std()) / math.sqrt(len(found))
    assert gap > 20 * error
    assert abs(float(found.mean() - (exact.log_prob(x) - gap))) < 4 * error


def test_the_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(2, 7, 3, dtype=torch.float64)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    expected = distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(kl_from_standard_normal(mean, log_variance), expected)


def test_beta_weighs_only_the_divergence() -> None:
    networks, _, mu = pca()
    x = mu + torch.randn(9, 5, dtype=torch.float64)
    plain, heavy = (VAE(Gaussian(0.6), beta, ALONE)(turn_on(networks, x)) for beta in (1.0, 2.5))
    assert torch.allclose(heavy["divergence"], 2.5 * plain["divergence"])
    assert torch.equal(heavy["reconstruction"], plain["reconstruction"])


def test_the_gradient_reaches_both_networks_and_is_that_of_differences() -> None:
    made = game("vae").game.double()
    batch = Batch(Sample(real_batch().real.x.double()))

    def loss() -> Tensor:
        return sum(made.losses(made.turn("generator", batch, RandomStreams(3))).values())

    loss().backward()
    for weight in (made.encoder.body[1].weight, made.generator.body[0].weight):
        assert weight.grad is not None
        with torch.no_grad():
            values = []
            for step in (1e-5, -2e-5):
                weight[0, 0] += step
                values.append(float(loss()))
            weight[0, 0] += 1e-5
        assert float(weight.grad[0, 0]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_the_likelihoods_are_those_of_torch() -> None:
    x, made = torch.rand(2, 4, 1, 3, 3, dtype=torch.float64)
    expected = distributions.Normal(made, 0.3).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(Gaussian(0.3)(x, made), expected)
    coin = distributions.Bernoulli(made, validate_args=False).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(Bernoulli((0, 1))(x, made), coin)
    assert torch.allclose(Bernoulli((-1, 1))(2 * x - 1, 2 * made - 1), coin)


def test_probabilities_at_their_ends_stay_finite() -> None:
    made = torch.tensor([[0.0, 1.0]], requires_grad=True)
    said = Bernoulli((0, 1))(torch.tensor([[1.0, 0.0]]), made)
    assert said.isfinite().all()
    assert torch.autograd.grad(said.sum(), made)[0].isfinite().all()


def test_the_reconstruction_term_is_the_likelihood_of_the_data_given_the_decoded_codes() -> None:
    generator = decoder(3, [5], "relu", (1, 4, 4), (-1, 1), priors.Normal())
    encode = encoder([5], "relu", [0.0, 0.0], (1, 4, 4), None, num_outputs=3)
    x = torch.rand(6, 1, 4, 4)
    found = Reconstruction(Gaussian(1.0), ALONE)(turn_on({"generator": generator, "encoder": encode}, x))
    made = generator(encode(x))
    squares = (x - made).square().flatten(1).sum(1) / 2 + 16 * math.log(2 * math.pi) / 2
    assert list(found) == ["reconstruction"]
    assert torch.allclose(found["reconstruction"], squares)


class Zero(Trick):
    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        return torch.zeros_like(latent)


def test_tricks_change_codes_as_they_change_latents() -> None:
    networks, _, mu = pca()
    turn = turn_on(networks, mu.expand(3, 5) + 1, tricks=Tricks({"zero": Zero()}))
    assert torch.allclose(turn.decoded.x, mu.expand(3, 5))


def test_a_vae_learns_codes_that_differ_between_samples() -> None:
    module = game("vae", [], "alternating", "optimizer.generator.lr=0.003")
    first = play_step(module)
    for _ in range(150):
        last = play_step(module)
    assert last["generator/reconstruction"] < 0.7 * first["generator/reconstruction"]
    codes = module.game.encode(real_batch().real.x)
    assert codes.shape == (16, 6)
    assert codes.std(0).max() > 0.5


def test_outputs_are_scaled_in_evaluation_for_the_inputs_dropped_in_training() -> None:
    layer = DropoutLinear(400, 3, 0.25)
    x = torch.randn(1, 400)
    layer.train()
    outputs = (
        layer(x.expand(20_000, -1)).detach() - layer.bias.detach()
    )  # of masked inputs, on average 0.75 W x
    expected = 0.75 * (x @ layer.weight.T)
    assert torch.allclose(
        outputs.mean(0), expected[0], atol=4 * float(outputs.std(0).max()) / math.sqrt(20_000)
    )
    assert torch.allclose(layer.eval()(x), 0.75 * (x @ layer.weight.T + layer.bias), atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "key", "value", "reason"),
    [
        (
            ["objective=vae", "model/prior@model.generator.prior=sphere"],
            "model.generator.prior",
            UNSET,
            "Sphere",
        ),
        (["model=gmn", "objective=vae"], "model.encoder", UNSET, "is needed by the objective"),
        (["model=vae", "objective.beta=-1"], "objective.beta", -1, "at least 0"),
        (["model=vae", "objective.likelihood.std=0"], "objective.likelihood.std", 0, "positive"),
        (["model=vae", "model.encoder.dropout=[0.1]"], "model.encoder.dropout", [0.1], "3 rates"),
        (["model=vae", "model.encoder.activation=tanh"], "model.encoder.activation", "tanh", "one of relu"),
        (["model=vae", "model.encoder.code_range=[0,2]"], "model.encoder.code_range", [0, 2], "must be"),
    ],
)
def test_an_untrainable_autoencoder_is_refused(
    overrides: list[str], key: str, value: object, reason: str
) -> None:
    with refuses(key, value, reason):
        build_game(compose("logger=csv", *overrides))


def test_a_bernoulli_likelihood_needs_data_in_a_range() -> None:
    with refuses(".value_range", None, "needs data in a range"):
        Bernoulli(None)
