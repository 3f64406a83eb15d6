"""Relativistic objectives (Jolicoeur-Martineau 2018): real samples are judged against generated ones.

l is the discriminator's logit. Both players judge both kinds of samples, on the generator's turn too.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.turn import Capability, Turn, at_least_float32
from ganlab.objectives.adversarial import Adversarial


class Relativistic(Adversarial):
    """-log sigmoid(l(x) - l(G(z))) in pairs, and the same with the roles exchanged (section 4.1).

    The i-th real sample is paired with the i-th fake; over patches [B, h, w], place with place.
    """

    provides = Adversarial.provides | {Capability.COSTS}

    def discriminator(self, turn: Turn) -> Tensor:
        return softplus(turn.on_fake.logits - turn.on_real.logits)

    def generator(self, turn: Turn) -> Tensor:
        return softplus(turn.on_real.logits - turn.on_fake.logits)


class RelativisticAverage(Adversarial):
    """-log sigmoid(l(x) - E l(G(z))) - log sigmoid(E l(x) - l(G(z))) (section 4.3).

    The generator minimises the same with the roles exchanged. The averages are those of the global batch,
    over all patches.
    """

    provides = Adversarial.provides - {Capability.FAKE_COSTS} | {Capability.COSTS}

    def discriminator(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return beats(real, fake) + beats(-fake, -real)

    def generator(self, turn: Turn) -> Tensor:
        real, fake = at_least_float32(turn.on_real.logits), at_least_float32(turn.on_fake.logits)
        return beats(fake, real) + beats(-real, -fake)


def beats(winner: Tensor, loser: Tensor) -> Tensor:
    """-log of the probability that each winner is more real than the average loser, shaped like both."""
    return softplus(all_gather_with_grad(loser).mean() - winner)
