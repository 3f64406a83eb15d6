from ganlab.core.turn import Capability, Turn
from ganlab.tricks.base import Compute, Order, Terms, Trick


class InvertedLabels(Trick):
    """The generator learns with the labels inverted (Goodfellow et al. 2014, section 3; ganhacks 2).

    It minimises the discriminator's cost of calling its samples real, -log D(G(z)), and no longer maximises
    that of calling them fake. To invert a label is to negate the logit, and minimising for maximising is
    one more sign: c(l) becomes -c(-l). Inverted for the discriminator too, names alone would change.
    """

    order = Order.REPLACE  # it changes the objective's cost; what others add stands
    needs = frozenset({Capability.ZERO_SUM, Capability.GENERATOR_TERM})

    def __init__(self) -> None:
        super().__init__()

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "discriminator":
            return terms
        inverted = [(sample, said._replace(logits=-said.logits)) for sample, said in turn.verdicts]
        return {**terms, "adversarial": -compute(turn.replace(verdicts=inverted))["adversarial"]}
