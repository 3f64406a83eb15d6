"""Objectives that read latents off the data: the generator and its encoder are one player, and play alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Networks, Player, Turn, at_least_float32
from ganlab.functional.likelihoods import Likelihood
from ganlab.networks.priors import Normal
from ganlab.objectives.base import Objective


class Reconstruction(Objective):
    """An autoencoder: -log p(x | G(E(x))), [B].

    It says nothing of latents that are no codes: such a generator is there to be played in, not sampled.
    """

    players = ("generator",)
    num_statistics = 1
    provides = frozenset()

    def __init__(self, likelihood: Likelihood, weight: Mapping[Player, float | Schedule]):
        super().__init__(weight)
        self.likelihood = likelihood

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        made = turn.decode(turn.generator.encode(turn.real.x))
        return {"reconstruction": -self.likelihood(turn.real.x, made.x)}


class VAE(Objective):
    """The evidence lower bound, negated (Kingma & Welling 2014, equation 10 with one latent per sample).

    -log p(x | G(z)) and `beta` KL(q || N(0, 1)), each [B], where the encoder reads the statistics of
    q = N(mean, diag exp(log-variance)) off x, and z is drawn from q. beta = 1 is the bound; another weighs
    codes against reconstructions (Higgins et al. 2017).

    Raises:
        ConfigError: the prior of the generator is not normal, so that the divergence would be from another.
    """

    players = ("generator",)
    num_statistics = 2
    provides = frozenset()

    def __init__(
        self, likelihood: Likelihood, beta: float | Schedule, weight: Mapping[Player, float | Schedule]
    ):
        super().__init__(weight)
        self.likelihood = likelihood
        self.beta = nonzero_schedule(".beta", beta)

    def check_networks(self, networks: Networks) -> None:
        prior = networks.generator.prior
        if not isinstance(prior, Normal):
            raise ConfigError(
                f"model.generator.prior: a VAE needs a normal prior, not {type(prior).__name__}: "
                "choose ganlab.networks.priors.Normal"
            )

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        mean, log_variance = at_least_float32(turn.generator.encode(turn.real.x)).chunk(
            2, 1
        )  # [B, latent_dim]
        noise = turn.random.normal("posterior", *mean.shape).to(mean.dtype)
        made = turn.decode(mean + (log_variance / 2).exp() * noise)
        return {
            "reconstruction": -self.likelihood(turn.real.x, made.x),
            "divergence": self.beta(turn.step) * divergence(mean, log_variance),
        }


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_variance)) || N(0, 1)) in nats, [B] (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
