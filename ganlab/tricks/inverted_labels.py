from ganlab.tricks.base import Capability, Compute, Order, Terms, Trick, Turn


class InvertedLabels(Trick):
    """The generator is trained with inverted labels (Goodfellow et al. 2014, section 3; ganhacks 2).

    The generator minimises -log D(G(z)), the discriminator's loss for fakes labelled as real, instead of
    log(1 - D(G(z))). With D = sigmoid(l), the objective's loss is the function c(l) = log(1 - D) of the logit
    l, and the inverted loss is -c(-l) = -log D. The discriminator's labels are not inverted, because that
    would only swap the names of the two classes.
    """

    order = Order.REPLACE  # changes the objective's term only, before other tricks change it
    needs = frozenset({Capability.ZERO_SUM, Capability.GENERATOR_ADVERSARIAL_TERM})

    # The signature of nn.Module accepts all arguments; this one refuses unknown settings.
    def __init__(self) -> None:
        super().__init__()

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player != "generator":
            return terms
        # The first call of `compute` has judged the fakes. The second computes c(-l): a turn calls the
        # discriminator only for samples without a verdict.
        opposite = [(sample, verdict._replace(logits=-verdict.logits)) for sample, verdict in turn.verdicts]
        negated = compute(turn.replace(verdicts=opposite))
        return terms | {name: -term for name, term in negated.items() if name.startswith("adversarial")}
