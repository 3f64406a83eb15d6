from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import all_gather_with_grad, local_rows
from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.tricks.base import Capability, Compute, Terms, Trick, Turn


class TopK(Trick):
    """The generator is trained on the k fakes with the largest logits only (Sinha et al. 2020, algorithm 1).

    The adversarial term is the mean over the k fakes of the global batch that look most real to the
    discriminator. The terms of other tricks use every fake. With packing, k is a number of packs; if a
    verdict has logits for patches, fakes are ordered by their mean logit.

    share: the fraction of the n fakes in the global batch that are used; k = `share` * n, rounded down. In
        the paper the fraction falls from 1 to 1/2.
    """

    needs = frozenset({
        Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS,
        Capability.LOSS_PER_FAKE, Capability.GENERATOR_ADVERSARIAL_TERM,
    })  # fmt: skip

    def __init__(self, share: ScheduleLike):
        super().__init__()
        self.share = as_schedule(".share", share, "(0, 1]")
        minimum = min(self.share.start, self.share.end)
        require(minimum < 1, "has no effect", "set a smaller one, or remove the trick", ".share", 1)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player != "generator":
            return terms
        logits = at_least_float32(turn.on_fake.logits.detach())
        # The logits are detached, so no gradient flows through the gathering.
        scores = all_gather_with_grad(logits.reshape(len(logits), -1).mean(1))  # means over patches
        n = len(scores)
        require(n > 1, "leaves top_k one fake to choose from", "set a larger one", "data.batch_size")
        # 1e-6 is added because 0.29 * 100, for example, is slightly less than 29 in floating point.
        k = max(1, int(self.share(turn.step) * n + 1e-6))
        # The k fakes get the weight n / k, and all others 0. The game takes the mean over the n fakes, which
        # is then the mean over the k fakes.
        weights = local_rows(scores.new_zeros(n).index_fill(0, scores.topk(k).indices, n / k))
        losses = at_least_float32(terms["adversarial"])  # of each fake, [B] or [B, h, w]
        weights = weights.view(-1, *[1] * (losses.ndim - 1))  # [B] or [B, 1, 1]
        return {**terms, "adversarial": losses * weights}
