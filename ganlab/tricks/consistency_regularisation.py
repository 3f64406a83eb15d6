from typing import Unpack

from ganlab.core.batch import at_least_float32
from ganlab.core.errors import require
from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.tricks.augmenting_trick import AugmentationSettings, AugmentingTrick
from ganlab.tricks.base import Capability, Terms, Turn


class ConsistencyRegularisation(AugmentingTrick):
    """bCR: the discriminator's logits should not change when a sample is augmented (Zhao et al. 2021).

    Adds `lambda_real` * E (D(x) - D(T(x)))^2 + `lambda_fake` * E (D(G(z)) - D(T(G(z))))^2 to the
    discriminator's loss, where T is a random augmentation (algorithm 1). With `lambda_fake` = 0 the trick is
    CR (Zhang et al. 2020). Every transform of T is applied to every image. The adversarial terms and the
    generator's turn use samples without T. Each lambda that is not 0 costs an additional pass through the
    discriminator.
    """

    stream = "consistency_regularisation"
    needs = frozenset({Capability.DISCRIMINATOR, Capability.APART, Capability.LOSS_ON_LOGITS})
    players = ("discriminator",)

    def __init__(
        self, lambda_real: ScheduleLike, lambda_fake: ScheduleLike, **settings: Unpack[AugmentationSettings]
    ):
        super().__init__(**settings)
        self.lambda_real = as_schedule(".lambda_real", lambda_real, "[0, inf)")
        self.lambda_fake = as_schedule(".lambda_fake", lambda_fake, "[0, inf)")
        has_effect = self.lambda_real.maximum or self.lambda_fake.maximum
        remedy = "set one of them to a positive number, or remove the trick"
        require(has_effect, "has no effect together with lambda_fake=0", remedy, ".lambda_real", 0)

    def terms(self, turn: Turn) -> Terms:
        terms = {}
        sources = ("real", self.lambda_real, turn.real), ("fake", self.lambda_fake, turn.fake)
        for name, weight, sample in sources:
            if weight.maximum:
                logits = at_least_float32(turn.judge(sample).logits)  # [B]
                augmented = self.augment(sample, p=sample.x.new_ones(()), turn=turn)
                gap = logits - at_least_float32(turn.judge(augmented).logits)
                terms[f"consistency_{name}"] = weight(turn.step) * gap.square()
        return terms
