"""Objectives of autoencoders, which train a generator and its encoder, without a discriminator."""

from typing import ClassVar

from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.functional.likelihoods import Likelihood
from ganlab.networks import priors
from ganlab.objectives.base import LossWeights, Networks, Objective, Players, Turn


class Autoencoding(Objective):
    """Base class of objectives with a term for the likelihood of the data given their reconstruction."""

    players: ClassVar[Players] = {"generator": ("generator", "encoder")}

    def __init__(self, likelihood: Likelihood, weight: LossWeights):
        super().__init__(weight)
        self.likelihood = likelihood


class Reconstruction(Autoencoding):
    """The loss -log p(x | G(E(x))), [B], where E is the encoder.

    The loss constrains G only at the latents of encoded data, so what G makes of latents from the prior is
    meaningless. A later game can generate latents of encoded data instead, with the setting `code_of`.
    """

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        return {"reconstruction": -self.likelihood(turn.real.x, turn.decoded.x)}


class VAE(Autoencoding):
    """The negative evidence lower bound (Kingma & Welling 2014, equation 10 with one latent per sample).

    The two terms, [B] each, are -log p(x | G(z)) and `beta` KL(q || N(0, 1)), where z is drawn from the
    posterior q = N(mean, diag exp(log_variance)). The encoder computes the mean and the log-variance from x.

    Args:
        beta: the weight of the divergence (Higgins et al. 2017); with 1 the loss is the bound.
    """

    outputs_per_latent = 2  # the encoder infers the mean and the log-variance of each element of the latent

    def __init__(self, likelihood: Likelihood, beta: ScheduleLike, weight: LossWeights):
        super().__init__(likelihood, weight)
        self.beta = nonzero_schedule(".beta", beta)

    def check_networks(self, networks: Networks) -> None:
        require_normal_prior(networks)

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        mean, log_variance = turn.posterior.chunk(2, 1)  # [B, latent_dim]
        return {
            "reconstruction": -self.likelihood(turn.real.x, turn.decoded.x),
            "divergence": self.beta(turn.step) * kl_from_standard_normal(mean, log_variance),
        }


def require_normal_prior(networks: Networks) -> None:
    """Raises `ConfigError` unless the latents are normal."""
    prior = networks.generator.prior
    reason = f"must be normal for a VAE, whose divergence is from N(0, 1), not {type(prior).__name__}"
    remedy = "choose ganlab.networks.priors.Normal"
    require(isinstance(prior, priors.Normal), reason, remedy, "model.generator.prior")


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_variance)) || N(0, 1)) in nats, [B] (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
