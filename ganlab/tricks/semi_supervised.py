from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Turn
from ganlab.networks.class_conditioning import KPlusOneLogit, class_cross_entropy
from ganlab.tricks.base import Compute, Terms, Trick


class SemiSupervised(Trick):
    """The discriminator tells K + 1 classes, the last of them `generated` (Salimans et al. 2016, section 5).

    With class logits l_1 ... l_K and l_(K+1) = 0, D = Z / (Z + 1), Z = sum_k exp l_k: the verdict's logit
    is log Z, and the objective's terms are the unsupervised loss. The supervised one is added, on labelled
    samples beside the batch: weight * -log p(y | x, y <= K). No other label is looked at.
    """

    needs = frozenset(
        {Capability.DISCRIMINATOR, Capability.SCORES, Capability.LABELLED_BATCH, Capability.SINGLE_SAMPLES}
    )
    claims = frozenset({Capability.LABELS})

    def __init__(self, weight: float | Schedule):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)

    def networks(self, networks: Networks) -> Networks:
        assert networks.num_classes is not None
        classes = networks.required_discriminator.head(networks.num_classes)
        networks.required_discriminator.classes = classes
        networks.required_discriminator.score = KPlusOneLogit(classes)
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "generator":
            return terms
        assert turn.labelled is not None
        return {**terms, "supervised": self.weight(turn.step) * class_cross_entropy(turn, turn.labelled)}
