from collections.abc import Sequence

from torch import Tensor

from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.core.validation import Widths
from ganlab.networks import mlp
from ganlab.networks.priors import Normal
from ganlab.tricks.base import Compute, Terms, Trick


class FeatureAutoencoder(Trick):
    """The discriminator's features must tell the sample: it learns to decode them (Li et al. 2017).

    weight * mean over a sample's numbers of (x - decoded)^2, for real and fake samples, as the
    discriminator's own terms. A sample is decoded as it was before other tricks changed what the
    discriminator sees. The decoder is fully connected, of `hidden` widths.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SINGLE_SAMPLES})

    def __init__(
        self,
        weight: float | Schedule,
        hidden: Widths,
        shape: Sequence[int],
        value_range: tuple[float, float] | None,
    ):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.hidden = hidden
        self.shape = shape
        self.value_range = value_range

    def networks(self, networks: Networks) -> Networks:
        num_features = networks.required_discriminator.num_features
        # A decoder is a generator whose latents are features.
        networks.required_discriminator.decoder = mlp.generator(
            latent_dim=num_features,
            hidden=self.hidden,
            batch_norm=False,
            slope=0.0,
            shape=self.shape,
            value_range=self.value_range,
            prior=Normal(),
        ).body
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "generator":
            return terms
        return {
            **terms,
            "decoded_real": self.weight(turn.step) * self._error(turn, turn.real),
            "decoded_fake": self.weight(turn.step) * self._error(turn, turn.fake),
        }

    def _error(self, turn: Turn, sample: Sample) -> Tensor:
        """[B]"""
        decoded = turn.discriminator.decoder(turn.judge(sample).features)  # type: ignore[union-attr]
        return (at_least_float32(decoded) - at_least_float32(sample.x)).square().flatten(1).mean(1)
