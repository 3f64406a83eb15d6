"""MMD in the discriminator's features, which it learns so that the distance is large."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.gradients import input_gradients, interpolates, row_norms
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Sample, Turn, at_least_float32
from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import Kernel
from ganlab.objectives.base import Objective
from ganlab.objectives.matching import OfBatches, Weight, check_estimator, rooted


class LearnedMMD(Objective):
    """The generator minimises, and the discriminator maximises, the MMD of its features of both samples.

    Li et al. 2017 (equation 4) keep the features in bounds by clipping weights, which is a trick, and
    Binkowski et al. 2018 (section 3) by the slope of the witness function, which is this objective's
    own: it is made of the objective's kernel and of both samples' features. The discriminator's scores
    play no part.

    gradient_penalty: weight of E (|grad w| - 1)^2 for the witness w(t) = mean k(f(t), f(x)) -
        mean k(f(t), f(G(z))), at points between real and fake samples; None: no penalty.
    one_sided: weight of the mean over features of min(E f(x) - E f(G(z)), 0), which the generator
        minimises and the discriminator maximises (Li et al. 2017, section 3.4); None: without.
    """

    provides = frozenset({Capability.DISCRIMINATOR})

    def __init__(
        self,
        kernel: Kernel,
        estimator: OfBatches,
        root: bool,
        gradient_penalty: float | Schedule | None,
        one_sided: float | Schedule | None,
        weight: Weight,
    ):
        super().__init__(weight)
        check_estimator(estimator, root)
        self.kernel = kernel
        self.estimator: OfBatches = estimator
        self.root = root
        self.gradient_penalty = optional("objective.gradient_penalty", gradient_penalty)
        if self.gradient_penalty:
            self.needs = frozenset({Capability.SECOND_DERIVATIVES})
        self.one_sided = optional("objective.one_sided", one_sided)

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        real, fake = features(turn, turn.real), features(turn, turn.fake)
        sign = 1 if turn.player == "generator" else -1
        with torch.autocast(real.device.type, enabled=False):
            squared = mmd2(fake, real, self.kernel, self.estimator)
            terms = {"adversarial": sign * (rooted(squared) if self.root else squared)}
            if self.one_sided:
                lead = (real.mean(0) - fake.mean(0)).clamp_max(0).mean()
                terms["adversarial_one_sided"] = sign * self.one_sided(turn.step) * lead
        if self.gradient_penalty and turn.player == "discriminator":
            penalty = (self._slope(turn, real, fake) - 1).square()  # [B]
            terms["gradient_penalty"] = self.gradient_penalty(turn.step) * penalty
        return terms

    def _slope(self, turn: Turn, real: Tensor, fake: Tensor) -> Tensor:
        """|grad w| at one point between each real and fake sample, [B]; of packs, over all that is in one."""
        points = interpolates(turn, "between", len(turn.on_real.features))
        seen = at_least_float32(turn.judge(points).features)
        with torch.autocast(real.device.type, enabled=False):
            witness = self.kernel(seen, real).mean(1) - self.kernel(seen, fake).mean(1)  # [B]
        return row_norms(input_gradients(witness, points.x))


def features(turn: Turn, sample: Sample) -> Tensor:
    """The discriminator's features of the global batch, [W B, F]."""
    return all_gather_with_grad(at_least_float32(turn.judge(sample).features))


def optional(name: str, weight: float | Schedule | None) -> Schedule | None:
    return None if weight is None else nonzero_schedule(name, weight)
