import torch
from torch import Tensor

from ganlab.core.distributed import all_gather_with_grad, local_rows
from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, as_schedule
from ganlab.core.turn import Capability, Turn, at_least_float32
from ganlab.tricks.base import Compute, Terms, Trick


class TopK(Trick):
    """The generator learns from the fakes with the largest logits alone (Sinha et al. 2020, algorithm 1).

    Its adversarial term is the mean over the k of them that the discriminator takes most for real, of all
    fakes of the global batch; terms of other tricks are about every fake. Of packs, whole ones are taken;
    of verdicts over patches, a sample's mean counts.

    share: k as a part of the batch, rounded down; the paper's falls from 1 to 1/2.
    """

    needs = frozenset(
        {Capability.DISCRIMINATOR, Capability.SCORES, Capability.FAKE_COSTS, Capability.GENERATOR_TERM}
    )

    def __init__(self, share: float | Schedule):
        super().__init__()
        self.share = as_schedule(".share", share, "[0, 1]")
        if self.share.start == self.share.end == 1:
            raise ConfigError("trick.top_k.share=1 would do nothing: give a smaller one, or leave it out")
        if 0 in (self.share.start, self.share.end):
            raise ConfigError("trick.top_k.share=0 would leave no fake to learn from: give a larger one")

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "discriminator":
            return terms
        costs = at_least_float32(terms["adversarial"])  # [N] or [N, h, w]
        weights = self._weights(turn.on_fake.logits.detach(), turn.step)
        return {**terms, "adversarial": costs * weights.view(-1, *[1] * (costs.ndim - 1))}

    def _weights(self, logits: Tensor, step: int) -> Tensor:
        """What each of the costs counts, so that their mean is that over the k best, [N]."""
        scores = all_gather_with_grad(
            at_least_float32(logits).flatten(1).mean(1) if logits.ndim > 1 else at_least_float32(logits)
        )
        n = len(scores)
        if n < 2:
            raise ConfigError("trick top_k has one fake to choose from: give a larger data.batch_size")
        k = max(1, int(self.share(step) * n + 1e-6))  # 0.29 times 100 is a little less than 29
        kept = torch.zeros_like(scores).index_fill(0, scores.topk(k).indices, n / k)
        return local_rows(kept)
