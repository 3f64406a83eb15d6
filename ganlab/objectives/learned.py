"""Learned MMD: the maximum mean discrepancy (MMD) in features that are trained to maximise it."""

import torch
from torch import Tensor

from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import all_gather_with_grad
from ganlab.core.gradients import input_gradients, interpolate_samples, row_norms
from ganlab.core.schedules import Schedule, ScheduleLike, nonzero_schedule
from ganlab.functional.distances import BatchEstimator, MMDEstimator
from ganlab.functional.kernels import Kernel
from ganlab.objectives.base import Capability, LossWeights, Objective, Turn


class LearnedMMD(Objective):
    """The MMD of real and fake features, which the generator minimises and the discriminator maximises.

    f(x) are the discriminator's features of a sample; its logits are not used. As in a Wasserstein GAN, the
    discriminator needs a constraint. Li et al. (2017, equation 4) clip its weights, as trick=weight_clip
    does. Binkowski et al. (2018, section 3) penalise the gradient of the witness function w. With the kernel
    k and means over the batch, w(t) = mean k(f(t), f(x)) - mean k(f(t), f(G(z))). The penalty is a setting of
    the objective and not a trick, because it depends on the kernel and on the features of both batches.

    Args:
        root: whether the root of the squared MMD is taken, which needs the biased estimator.
        gradient_penalty: the weight of the penalty E (|grad w| - 1)^2 at points between real samples and
            fakes; None: no penalty.
        one_sided: the weight of the one-sided term, by which the discriminator learns E f(x) >= E f(G(z)) for
            each feature (Li et al. 2017, section 3.4). The term is the mean over the features of
            min(E f(x) - E f(G(z)), 0). The generator minimises the term and the discriminator maximises it.
            None: no such term.
    """

    provides = frozenset({Capability.DISCRIMINATOR, Capability.APART})

    def __init__(
        self,
        kernel: Kernel,
        estimator: BatchEstimator,
        *,
        root: bool,
        gradient_penalty: ScheduleLike | None,
        one_sided: ScheduleLike | None,
        weight: LossWeights,
    ):
        super().__init__(weight)
        self.kernel, self.mmd = kernel, MMDEstimator(kernel, estimator, take_root=root)
        self.gradient_penalty = optional_schedule(".gradient_penalty", gradient_penalty)
        if self.gradient_penalty:
            self.needs = frozenset({Capability.SECOND_DERIVATIVES})
        self.one_sided = optional_schedule(".one_sided", one_sided)

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        verdicts = (turn.on_real, turn.on_fake)
        # The features of the samples of all W processes, [W B, F].
        real, fake = (all_gather_with_grad(at_least_float32(verdict.features)) for verdict in verdicts)
        sign = 1 if turn.player == "generator" else -1  # the discriminator maximises
        with torch.autocast(real.device.type, enabled=False):
            terms = {"adversarial": sign * self.mmd(fake, real)}
            if self.one_sided:
                gap = (real.mean(0) - fake.mean(0)).clamp_max(0).mean()
                terms["adversarial_one_sided"] = sign * self.one_sided(turn.step) * gap
        if self.gradient_penalty and turn.player == "discriminator":
            penalty = (self._witness_slope(turn, real, fake) - 1).square()  # [N], for each row of features
            terms["gradient_penalty"] = self.gradient_penalty(turn.step) * penalty
        return terms

    def _witness_slope(self, turn: Turn, real: Tensor, fake: Tensor) -> Tensor:
        """|grad w|, [N], for each row of features of points between real samples and fakes.

        The features of a batch of B samples have one row for each sample; with the trick `packing`, one for
        each pack of samples, so N is smaller than B.
        """
        points = interpolate_samples(turn, stream="between", n=len(turn.on_real.features))  # B points
        features = at_least_float32(turn.judge(points).features)  # [N, F]
        with torch.autocast(real.device.type, enabled=False):
            witness = self.kernel(features, real).mean(1) - self.kernel(features, fake).mean(1)  # [N]
        return row_norms(input_gradients(witness, points.x))


def optional_schedule(key: str, weight: ScheduleLike | None) -> Schedule | None:
    """A schedule that is not identically zero; None if the setting is None."""
    return None if weight is None else nonzero_schedule(key, weight)
