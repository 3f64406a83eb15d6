from collections.abc import Sequence
from functools import partial

from torch import Tensor

from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.core.validation import ValueRange, Widths
from ganlab.networks import mlp, priors
from ganlab.tricks.base import Terms, Trick


class FeatureAutoencoder(Trick):
    """A decoder reconstructs each sample from the discriminator's features (Li et al. 2017).

    Adds weight * mean (x - decoded)^2, over the elements of each real or fake sample, to the discriminator's
    loss, which also trains the decoder. The target is the sample before other tricks change the
    discriminator's input. The decoder is fully connected, with hidden layers of the widths `hidden`.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SINGLE_SAMPLES})
    players = ("discriminator",)

    def __init__(self, weight: ScheduleLike, hidden: Widths, shape: Sequence[int], value_range: ValueRange):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.hidden, self.shape, self.value_range = hidden, shape, value_range

    def networks(self, networks: Networks) -> None:
        # A decoder is a generator whose latents are features.
        discriminator, shape = networks.required_discriminator, self.shape
        make = partial(mlp.generator, batch_norm=False, slope=0.0, shape=shape, value_range=self.value_range)
        discriminator.decoder = make(discriminator.num_features, self.hidden, prior=priors.Normal()).body

    def terms(self, turn: Turn) -> Terms:
        weight, samples = self.weight(turn.step), {"decoded_real": turn.real, "decoded_fake": turn.fake}
        return {name: weight * self._error(turn, sample) for name, sample in samples.items()}

    def _error(self, turn: Turn, sample: Sample) -> Tensor:
        """The mean squared error of each decoded sample, [B]."""
        decoded = turn.discriminator.decoder(turn.judge(sample).features)  # type: ignore[union-attr]
        return (at_least_float32(decoded) - at_least_float32(sample.x)).square().flatten(1).mean(1)
