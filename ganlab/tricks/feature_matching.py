from ganlab.core.batch import at_least_float32
from ganlab.core.distributed import mean_over_processes
from ganlab.core.schedules import ScheduleLike
from ganlab.tricks.base import Capability, Compute, Terms, Turn, WeightedTrick


class FeatureMatching(WeightedTrick):
    """The generator minimises `weight` * |E f(x) - E f(G(z))|^2 (Salimans et al. 2016, section 3.1).

    f(x) are the discriminator's features of a sample x, the inputs of its last layer. The expectations are
    means over the global batch. The discriminator's loss is unchanged.

    replace: whether the term replaces the generator's adversarial terms, as in the paper; otherwise it is
        added to them.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.APART})

    def __init__(self, weight: ScheduleLike, replace: bool):
        super().__init__(weight)
        self.replace = replace
        if replace:  # then no other trick may use the adversarial terms, which are dropped
            self.claims = frozenset({Capability.GENERATOR_ADVERSARIAL_TERM})

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player != "generator":
            return terms
        if self.replace:
            terms = {name: term for name, term in terms.items() if not name.startswith("adversarial")}
        on_real, on_fake = (at_least_float32(v.features).mean(0) for v in (turn.on_real, turn.on_fake))  # [F]
        gap = mean_over_processes(on_real - on_fake)
        return {**terms, "feature_matching": self.weight(turn.step) * gap.square().sum()}
