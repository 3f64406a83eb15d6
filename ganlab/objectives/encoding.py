"""Adversarial objectives that also train an encoder: VAE-GAN, and ALI, which judges codes too."""

from typing import ClassVar

from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.functional.likelihoods import Likelihood
from ganlab.objectives.autoencoding import Autoencoding, kl_from_standard_normal, require_normal_prior
from ganlab.objectives.base import TWO_PLAYERS, Capability, LossWeights, Networks, Objective, Players, Turn


class VAEGAN(Autoencoding):
    """VAE-GAN: a VAE whose reconstructions are compared in the discriminator's features (Larsen et al. 2016).

    The generator is the decoder of the VAE, f(x) are the discriminator's features of x, and x~ = G(E(x)) is a
    reconstruction. The losses are those of algorithm 1, [B] each. L_llike = -log p(f(x) | f(x~)), and L_prior
    is the divergence of the encoder's distribution from N(0, 1). The encoder minimises L_prior + L_llike. The
    generator minimises `gamma` L_llike and its losses in two games: its samples, and the reconstructions, are
    the fakes. The discriminator minimises its losses in these two games. Each of them counts the real
    samples, which so weigh as much as both kinds of fakes together, as in the authors' code. In equation 7 of
    the paper they count once.

    A generator with batch norm normalises samples and reconstructions separately in training, each by the
    statistics of its own batch. Its running statistics, which are used outside of training, are averages over
    both kinds. A discriminator with batch norm does the same for three kinds.

    Args:
        adversarial: the objective whose losses are used for each kind of fake.
        likelihood: that of features given those of the reconstruction; in the paper normal of variance 1.
        gamma: the weight of L_llike for the generator.
    """

    players: ClassVar[Players] = {**TWO_PLAYERS, "encoder": ("encoder",)}
    outputs_per_latent = 2

    def __init__(
        self, adversarial: Objective, likelihood: Likelihood, gamma: ScheduleLike, weight: LossWeights
    ):
        super().__init__(likelihood, weight)
        require_adversarial(adversarial)
        self.adversarial = adversarial
        self.gamma = nonzero_schedule(".gamma", gamma)
        # A log-likelihood may be positive.
        self.provides = adversarial.provides - {Capability.NON_NEGATIVE_LOSSES}
        self.needs = adversarial.needs

    def check_networks(self, networks: Networks) -> None:
        require_normal_prior(networks)
        reason = "judges patches, but reconstructions are compared in features of whole samples"
        is_whole = not networks.discriminator.judges_patches
        require(is_whole, reason, "choose another, such as that of model=vae_gan", "model.discriminator")

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        if turn.player == "encoder":
            mean, log_variance = turn.posterior.chunk(2, 1)  # [B, latent_dim]
            divergence = kl_from_standard_normal(mean, log_variance)
            return {"reconstruction": self._reconstruction(turn), "divergence": divergence}
        terms = self.adversarial(turn)
        of_reconstructions = self.adversarial(turn.replace(fake=turn.decoded))
        terms |= {f"{name}_reconstruction": term for name, term in of_reconstructions.items()}
        if turn.player == "generator":
            terms["reconstruction"] = self.gamma(turn.step) * self._reconstruction(turn)
        return terms

    def _reconstruction(self, turn: Turn) -> Tensor:
        """L_llike, [B]."""
        return -self.likelihood(turn.on_real.features, turn.judge(turn.decoded).features)


class ALI(Objective):
    """Adversarially learned inference: the discriminator judges a sample together with its code.

    Pairs of a real sample and its code, (x, E(x)), are real, and pairs (G(z), z) are fake. At the optimum of
    the minimax game both have the same distribution, so E inverts G (Dumoulin et al. 2017, equation 2). The
    generator and the encoder are one player. It minimises the generator's loss c(l) of `adversarial` for the
    logits l of fakes, and c(-l) for those of real samples. With the non-saturating loss these are the losses
    of algorithm 1.

    Args:
        adversarial: the objective. Its losses must treat real samples with a logit l as they treat fakes with
            the logit -l.
        stochastic: whether E infers a normal distribution, from which a code is drawn, as in ALI; otherwise
            it infers the code, as in BiGAN (Donahue et al. 2017).
    """

    players: ClassVar[Players] = {**TWO_PLAYERS, "generator": ("generator", "encoder")}

    def __init__(self, adversarial: Objective, stochastic: bool, weight: LossWeights):
        super().__init__(weight)
        require_adversarial(adversarial)
        is_symmetric = Capability.BOUNDARY_AT_ZERO in adversarial.provides
        reason = "has no loss of the encoder: its losses do not treat logits of 0 as undecided"
        remedy = "choose non_saturating, minimax, hinge or another with this boundary"
        require(is_symmetric, reason, remedy, ".adversarial", type(adversarial).__name__)
        self.adversarial = adversarial
        self.outputs_per_latent = 2 if stochastic else 1
        self.provides, self.needs = adversarial.provides, adversarial.needs

    def check_networks(self, networks: Networks) -> None:
        reason = "judges samples without their codes, which this objective needs"
        remedy = "choose model=ali, or set code_dim=${model.generator.latent_dim}"
        require(networks.code_dim > 0, reason, remedy, "model.discriminator")

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        terms = self.adversarial(turn)
        if turn.player == "generator":
            verdict = turn.on_real
            mirrored = [(turn.real, verdict._replace(logits=-verdict.logits))]
            of_codes = self.adversarial(turn.replace(fake=turn.real, verdicts=mirrored))
            terms |= {f"{name}_code": term for name, term in of_codes.items()}
        return terms


def require_adversarial(objective: Objective) -> None:
    """Raises `ConfigError` unless an objective has losses on logits for a discriminator and a generator."""
    fits = Capability.LOSS_ON_LOGITS in objective.provides and objective.players == TWO_PLAYERS
    remedy = "choose another, such as objective@objective.adversarial=non_saturating"
    require(fits, "is no adversarial objective", remedy, ".adversarial", type(objective).__name__)
