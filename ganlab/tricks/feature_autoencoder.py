from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.schedules import ScheduleLike
from ganlab.core.validation import ValueRange, Widths
from ganlab.networks import mlp, priors
from ganlab.tricks.base import Capability, Networks, Terms, Turn, WeightedTrick


class FeatureAutoencoder(WeightedTrick):
    """A decoder reconstructs each sample from the discriminator's features (Li et al. 2017).

    Adds `weight` * mean (x - decoded)^2 to the discriminator's loss. The mean is over the elements of each
    real or fake sample x, before other tricks change the discriminator's input. The term also trains the
    decoder. The decoder is fully connected, with hidden layers of the widths `hidden`.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.VERDICT_PER_SAMPLE, Capability.FEATURES})
    players = ("discriminator",)

    def __init__(self, weight: ScheduleLike, hidden: Widths, shape: Sequence[int], value_range: ValueRange):
        super().__init__(weight)
        self.decoder_settings: dict[str, Any] = {"hidden": hidden, "shape": shape, "value_range": value_range}

    def networks(self, networks: Networks) -> None:
        discriminator = networks.discriminator
        # The decoder is the body of a generator whose latents are the features. The prior is not used.
        settings = {**self.decoder_settings, "batch_norm": False, "slope": 0.0, "prior": priors.Normal()}
        discriminator.decoder = mlp.generator(discriminator.num_features, **settings).body

    def terms(self, turn: Turn) -> Terms:
        weight = self.weight(turn.step)
        samples = {"real": turn.real, "fake": turn.fake}
        return {f"decoded_{name}": weight * self._error(turn, sample) for name, sample in samples.items()}

    def _error(self, turn: Turn, sample: Sample) -> Tensor:
        """The mean squared error of each decoded sample, [B]."""
        decoded = turn.discriminator.decoder(turn.judge(sample).features)
        return (at_least_float32(decoded) - at_least_float32(sample.x)).square().flatten(1).mean(1)
