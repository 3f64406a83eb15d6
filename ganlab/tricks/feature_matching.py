from torch import Tensor

from ganlab.core.distributed import mean_over_ranks
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Capability, Turn, Verdict, at_least_float32
from ganlab.tricks.base import Compute, Terms, Trick


class FeatureMatching(Trick):
    """The generator minimises weight |E f(x) - E f(G(z))|^2 (Salimans et al. 2016, section 3.1).

    f are the discriminator's features, the inputs of its last layer; the expectations are means over the
    global batch. The discriminator's loss is unchanged.

    replace: whether the term replaces the generator's adversarial terms, as in the paper; otherwise it is
        added to them.
    """

    needs = frozenset({Capability.DISCRIMINATOR})

    def __init__(self, weight: ScheduleLike, replace: bool):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)
        self.replace = replace
        if replace:
            self.claims = frozenset({Capability.GENERATOR_TERM})

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "discriminator":
            return terms
        kept = {k: term for k, term in terms.items() if not (self.replace and k.startswith("adversarial"))}
        gap = mean_over_ranks(mean_features(turn.on_real) - mean_features(turn.on_fake))  # [F]
        return {**kept, "feature_matching": self.weight(turn.step) * gap.square().sum()}


def mean_features(verdict: Verdict) -> Tensor:
    """The means of the features over this process's batch, [F]."""
    return at_least_float32(verdict.features).mean(0)
