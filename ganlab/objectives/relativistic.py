"""Relativistic objectives (Jolicoeur-Martineau 2018), which judge real samples relative to generated ones.

l is the discriminator's logit. The losses of both players depend on real and on generated samples.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.turn import Capability, Turn, at_least_float32
from ganlab.objectives.adversarial import Adversarial


class Relativistic(Adversarial):
    """The loss -log sigmoid(l(x) - l(G(z))), of the generator with x and G(z) exchanged (section 4.1).

    The i-th real sample is paired with the i-th fake. With logits over patches [B, h, w], patches at the same
    position are paired.
    """

    provides = Adversarial.provides | {Capability.COSTS}

    def discriminator(self, turn: Turn) -> Tensor:
        return softplus(turn.on_fake.logits - turn.on_real.logits)

    def generator(self, turn: Turn) -> Tensor:
        return softplus(turn.on_real.logits - turn.on_fake.logits)


class RelativisticAverage(Adversarial):
    """The loss -log sigmoid(l(x) - E l(G(z))) - log sigmoid(E l(x) - l(G(z))) (section 4.3).

    The generator minimises the same with x and G(z) exchanged. The means E are over the global batch and
    over all patches.
    """

    provides = Adversarial.provides - {Capability.FAKE_COSTS} | {Capability.COSTS}

    def discriminator(self, turn: Turn) -> Tensor:
        return average_loss(turn.on_real.logits, turn.on_fake.logits)

    def generator(self, turn: Turn) -> Tensor:
        # Real samples are judged first in both turns, because the order matters to layers with a state.
        real, fake = turn.on_real.logits, turn.on_fake.logits
        return average_loss(fake, real)


def average_loss(high: Tensor, low: Tensor) -> Tensor:
    """The losses -log sigmoid(high - E low) - log sigmoid(E high - low), of the shape of the logits."""
    high, low = at_least_float32(high), at_least_float32(low)
    mean_high, mean_low = all_gather_with_grad(high).mean(), all_gather_with_grad(low).mean()
    return softplus(mean_low - high) + softplus(low - mean_high)
