"""The objective of imputation: the missing values of a sample are generated, and each value is judged."""

import torch
from torch import Tensor

from ganlab.core.batch import Sample, Targets, at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.errors import require
from ganlab.core.validation import OpenFraction, Positive
from ganlab.networks.incomplete import is_incomplete, known_and_mask
from ganlab.objectives.adversarial import Adversarial
from ganlab.objectives.base import Capability, LossWeights, Networks, Objective, Turn


class GAIN(Objective):
    """Generative adversarial imputation (Yoon, Jordon & van der Schaar 2018).

    The condition holds the known values k of an image and a mask m. The generator's output g completes them:
    x = m k + (1 - m) g. The discriminator guesses for each pixel of x whether it is known. It minimises the
    adversarial loss with the target m (equation 3); the generator minimises that loss for the missing pixels,
    and `alpha` * E m (k - g)^2 / E m (section 4). E m is over the global batch.

    The discriminator is also given a hint, m b, where each element of b is 1 with probability `hint_rate`. It
    is that of the authors' code, whose loss is over all pixels. In the paper, what is hidden is 1/2 instead
    of 0, and only hidden pixels have a loss (equations 4 and 6).

    Args:
        adversarial: an adversarial objective with targets; others are refused, as are data without a mask.
    """

    def __init__(
        self, adversarial: Adversarial, hint_rate: OpenFraction, alpha: Positive, weight: LossWeights
    ):
        super().__init__(weight)
        has_targets = Capability.TARGETS in adversarial.provides
        require(has_targets, "needs targets", "choose NonSaturating, Minimax or LeastSquares", ".adversarial")
        self.adversarial, self.hint_rate, self.alpha = adversarial, hint_rate, alpha
        # A sample has real and fake values, so it is neither real nor fake, and is judged once.
        lacks = {Capability.APART, Capability.BOUNDARY_AT_ZERO, Capability.LOSS_PER_FAKE}
        self.provides = adversarial.provides - lacks

    def check_networks(self, networks: Networks) -> None:
        reason = "must be the known values of an image and a last channel with the name mask"
        remedy = "choose data=masked or data=missing_digits"
        require(is_incomplete(networks), reason, remedy, "data.condition")
        _, *size = networks.generator.shape
        hint = networks.discriminator.condition
        reason = "needs a verdict on each pixel, given a hint of one channel"
        remedy = "choose ganlab.networks.translation.pixelwise with hint=1"
        require(hint is not None and hint.shape == (1, *size), reason, remedy, "model.discriminator")

    def shown_as_real(self, sample: Sample, turn: Turn) -> Sample:
        return turn.shown

    def shown_as_fake(self, sample: Sample, turn: Turn) -> Sample:
        assert sample.condition is not None
        mask = known_and_mask(sample.condition)[1]
        hint = mask & (turn.random.uniform("hint", *mask.shape) < self.hint_rate)
        completed = self.presented(sample.x, sample.condition)
        return sample._replace(x=completed, condition=hint.to(completed.dtype))

    def presented(self, x: Tensor, condition: Tensor | None) -> Tensor:
        assert condition is not None
        known, mask = known_and_mask(condition)
        return torch.where(mask, known, x)

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        assert turn.asked is not None
        known, mask = known_and_mask(turn.asked)
        is_known = mask.squeeze(1)  # [B, H, W]
        reason, remedy = "needs a verdict on each pixel", "choose ganlab.networks.translation.pixelwise"
        require(turn.on_fake.logits.shape == is_known.shape, reason, remedy, "model.discriminator")
        if turn.of_discriminator:
            target = torch.where(is_known, turn.targets.real, turn.targets.fake)
            # The adversarial loss has a term for what is real and an equal one for what is fake.
            loss = self.adversarial(turn.replace(targets=Targets(target, target)))["adversarial"] / 2
            return {"adversarial": loss}
        error = (at_least_float32(turn.generated.x) - known).square() * mask
        known_share = mean_over_processes(mask.to(error.dtype).mean())
        return {
            "adversarial": self.adversarial(turn)["adversarial"] * ~is_known,
            "reconstruction": self.alpha * error.flatten(1).mean(1) / known_share,
        }
