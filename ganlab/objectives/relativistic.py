"""Relativistic objectives (Jolicoeur-Martineau 2018), which judge real samples relative to generated ones.

l is the discriminator's logit. The losses of both players depend on real and on generated samples.
"""

from torch import Tensor
from torch.nn.functional import softplus

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import all_gather_with_grad
from ganlab.objectives.adversarial import Adversarial
from ganlab.objectives.base import Capability, Turn


class Relativistic(Adversarial):
    """The loss -log sigmoid(l(x) - l(G(z))); the generator minimises it with x and G(z) exchanged.

    See section 4.1 of the paper. The i-th real sample is paired with the i-th fake; with logits over patches
    [B, h, w], patches at the same position are paired.
    """

    provides = Adversarial.provides | {Capability.NON_NEGATIVE_LOSSES}

    def discriminator_loss(self, turn: Turn) -> Tensor:
        return softplus(turn.on_fake.logits - turn.on_real.logits)

    def generator_loss(self, turn: Turn) -> Tensor:
        return softplus(turn.on_real.logits - turn.on_fake.logits)


class RelativisticAverage(Adversarial):
    """The loss -log sigmoid(l(x) - E l(G(z))) - log sigmoid(E l(x) - l(G(z))).

    See section 4.3 of the paper. The generator minimises this loss with x and G(z) exchanged. The means E are
    over the global batch and over all patches.
    """

    # LOSS_PER_FAKE is missing, because each loss depends on the mean over all fakes.
    provides = (Adversarial.provides | {Capability.NON_NEGATIVE_LOSSES}) - {Capability.LOSS_PER_FAKE}

    def discriminator_loss(self, turn: Turn) -> Tensor:
        return relativistic_average_loss(high=turn.on_real.logits, low=turn.on_fake.logits)

    def generator_loss(self, turn: Turn) -> Tensor:
        # In this order of arguments, real samples are judged before fakes, as in the discriminator's turn.
        # The order matters to layers with a state.
        return relativistic_average_loss(low=turn.on_real.logits, high=turn.on_fake.logits)


def relativistic_average_loss(high: Tensor, low: Tensor) -> Tensor:
    """-log sigmoid(high - E low) - log sigmoid(E high - low), in the shape of the logits `high` and `low`."""
    high, low = at_least_float32(high), at_least_float32(low)
    mean_high, mean_low = all_gather_with_grad(high).mean(), all_gather_with_grad(low).mean()
    return softplus(mean_low - high) + softplus(low - mean_high)
