from torch import Tensor
from torch.nn.functional import cross_entropy

from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.schedules import ScheduleLike
from ganlab.networks.class_conditioning import GeneratorMode, condition_generator
from ganlab.tricks.base import Capability, Networks, Terms, Turn, WeightedTrick


class AuxiliaryClassifier(WeightedTrick):
    """AC-GAN: both players are trained so that a classifier head recognises the class (Odena et al. 2017).

    The generator is conditioned on a class y, by one of the modes of the trick label_conditioning. The
    discriminator does not receive the class, but predicts its probability p(y | x) with a separate head. The
    trick adds `weight` * (-log p(y | x) - log p(y | G(z, y))) to the discriminator's loss, and
    -`weight` * log p(y | G(z, y)) to the generator's loss (equations 2 and 3).
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.VERDICT_PER_SAMPLE, Capability.FEATURES})
    # No other trick may give the class to the discriminator, because its head could then copy the class.
    claims = frozenset({Capability.CLASSES, Capability.LABELS})

    def __init__(self, generator: GeneratorMode, weight: ScheduleLike):
        super().__init__(weight)
        self.generator_mode = generator

    def networks(self, networks: Networks) -> None:
        num_classes = condition_generator(networks, self.generator_mode)
        discriminator = networks.discriminator
        discriminator.class_head = discriminator.make_head(num_classes)

    def terms(self, turn: Turn) -> Terms:
        weight = self.weight(turn.step)
        terms = {"class_of_fake": weight * class_cross_entropy(turn, turn.fake)}
        if turn.of_discriminator:
            terms["class_of_real"] = weight * class_cross_entropy(turn, turn.real)
        return terms


def class_cross_entropy(turn: Turn, sample: Sample) -> Tensor:
    """The cross entropy of each sample's class under the class logits of its verdict, [B]."""
    logits = turn.judge(sample).class_logits
    assert logits is not None
    assert sample.condition is not None
    return cross_entropy(at_least_float32(logits), sample.condition, reduction="none")
