from typing import Annotated, Unpack

import torch
from torch import Tensor, nn

from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.validation import Count, Positive
from ganlab.tricks.augmenting_trick import AugmentationSettings, AugmentingTrick
from ganlab.tricks.base import Capability, Compute, Networks, Player, Terms, Turn

MeanSign = Annotated[float, "(-1, 1)"]


class AdaptiveAugment(AugmentingTrick):
    """The discriminator's inputs are augmented more as it overfits (ADA, Karras et al. 2020).

    Each transform is applied to each image with probability p, which starts at 0. After every `interval`
    updates of the discriminator, p rises if r_t = E sign(D(x)), over the real samples of these updates, is
    above `target`; otherwise p falls (section 3, equation 1). p needs `kimg` thousand real images to rise
    from 0 to 1. p never falls below 0, and values above 1 act as 1. Samples are augmented on both players'
    turns, and the generator's gradient flows through the augmentation. An augmented image keeps its class.
    """

    stream = "adaptive_augment"
    needs = frozenset({
        Capability.DISCRIMINATOR, Capability.APART, Capability.LOSS_ON_LOGITS, Capability.BOUNDARY_AT_ZERO,
    })  # fmt: skip
    saved_attributes = ("num_updates", "images")

    def __init__(
        self, target: MeanSign, interval: Count, kimg: Positive, **settings: Unpack[AugmentationSettings]
    ):
        super().__init__(**settings)
        self.target, self.interval, self.kimg = target, interval, kimg
        self.p = nn.Buffer(torch.zeros(()))
        self.latest = nn.Buffer(torch.zeros(()))  # E sign(D(x)) in the discriminator's latest turn
        self.signs = nn.Buffer(torch.zeros(()))  # the sum of `latest` over the updates since p last changed
        self.global_batch_size = 0  # the number of real images in the discriminator's latest turn
        self.num_updates = 0  # the number of updates of the discriminator
        self.images = 0  # the number of real images since p last changed

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        return self.augment(sample, self.p, turn)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.of_discriminator and not turn.is_unrolled:
            mean_sign = at_least_float32(turn.on_real.logits.detach()).sign().mean()
            self.latest.copy_(mean_over_processes(mean_sign))
            self.global_batch_size = len(turn.real.x) * turn.random.world_size
        return terms

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player != "discriminator":
            return
        self.num_updates += 1
        self.images += self.global_batch_size
        self.signs.add_(self.latest)
        if self.num_updates % self.interval == 0:
            direction = (self.signs / self.interval - self.target).sign()
            self.p.add_(direction, alpha=self.images / (1000 * self.kimg)).clamp_(min=0)
            self.signs.zero_()
            self.images = 0

    def scalars(self) -> dict[str, Tensor]:
        return {"p": self.p.clone()}
