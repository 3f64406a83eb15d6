from ganlab.networks.class_conditioning import KPlusOneLogit
from ganlab.tricks.auxiliary_classifier import class_cross_entropy
from ganlab.tricks.base import Capability, Networks, Terms, Turn, WeightedTrick


class SemiSupervised(WeightedTrick):
    """The discriminator classifies samples as K classes or as fake (Salimans et al. 2016, section 5).

    With class logits l_1, ..., l_K and l_(K+1) = 0 for fakes, D = Z / (Z + 1), where Z = sum_k exp l_k for
    k = 1, ..., K. The verdict's logit is log Z, and the terms of the objective are the unsupervised loss. The
    trick adds the supervised loss of a second batch, of labelled samples: -`weight` * log p(y | x, y <= K).
    No other labels are used.
    """

    needs = frozenset({
        Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.CLASSES,
        Capability.LABELLED_BATCH, Capability.VERDICT_PER_SAMPLE, Capability.FEATURES,
    })  # fmt: skip
    claims = frozenset({Capability.LABELS})
    players = ("discriminator",)

    def networks(self, networks: Networks) -> None:
        assert networks.num_classes is not None
        discriminator = networks.discriminator
        # The score is computed from the class logits. It replaces the linear score.
        discriminator.class_head = discriminator.make_head(networks.num_classes)
        discriminator.score = KPlusOneLogit(discriminator.class_head)

    def terms(self, turn: Turn) -> Terms:
        return {"supervised": self.weight(turn.step) * class_cross_entropy(turn, turn.labelled)}
