from typing import Annotated

import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, acting, images, span
from ganlab.core.distributed import mean_over_ranks
from ganlab.core.turn import Capability, Networks, Player, Sample, Turn, at_least_float32
from ganlab.core.validation import Count, Positive
from ganlab.tricks.base import Compute, Terms, Trick


class AdaptiveAugment(Trick):
    """ADA: everything the discriminator sees is augmented, the more it overfits (Karras et al. 2020, ADA).

    Each transform meets each image with probability p, which begins at 0. On every `interval`-th of the
    discriminator's moves p rises where r_t = E sign(D(x)), over the real samples of these moves, is above
    `target`, and else falls, by as much as takes it from 0 to 1 in `kimg` thousand real images; it never
    falls below 0 (section 3, equation 1; beyond 1 it counts as 1). Both players' turns are augmented,
    the generator's gradient flows through, and a class goes with its image.

    geometry, colour, corruption: what is done to images; null leaves one out.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SCORES, Capability.SIGNS})
    counts = ("moves", "images")
    p: Tensor
    signs: Tensor
    latest: Tensor

    def __init__(
        self,
        target: Annotated[float, "(-1, 1)"],
        interval: Count,
        kimg: Positive,
        geometry: Augmentation | None,
        colour: Augmentation | None,
        corruption: Augmentation | None,
        range: tuple[float, float] | None,
    ):
        super().__init__()
        self.target = target
        self.interval = interval
        self.kimg = kimg
        self.parts = {"geometry": geometry, "colour": colour, "corruption": corruption}
        self.range = range
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(()))  # the sum of E sign(D(x)) since p was moved
        self.register_buffer("latest", torch.zeros(()))  # that of the move that is under way
        self.moves = 0
        self.images = 0  # real ones of the moves since p was moved

    def networks(self, networks: Networks) -> Networks:
        shape = images("adaptive_augment", networks.generator.shape)
        self.span = span("adaptive_augment", self.range)
        self.acting = acting("adaptive_augment", self.parts, shape)
        return networks

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        x = at_least_float32(sample.x)
        for part in self.acting:
            x = part(x, self.p, self.span, turn.random, "adaptive_augment")
        return sample._replace(x=x)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "discriminator" and not turn.is_ahead:
            signs = at_least_float32(turn.on_real.logits.detach()).sign()
            self.latest.copy_(mean_over_ranks(signs.mean()))
            self.shown = len(turn.real.x) * turn.random.world_size
        return terms

    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player == "generator":
            return
        self.moves += 1
        self.images += self.shown
        self.signs += self.latest
        if self.moves % self.interval == 0:
            direction = (self.signs / self.interval - self.target).sign()
            self.p.add_(direction, alpha=self.images / (1000 * self.kimg)).clamp_(min=0)
            self.signs.zero_()
            self.images = 0

    def scalars(self) -> dict[str, Tensor]:
        return {"p": self.p.clone()}
