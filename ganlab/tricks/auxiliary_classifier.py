from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Capability, Networks, Turn
from ganlab.networks.class_conditioning import GeneratorMode, class_cross_entropy, condition_generator
from ganlab.tricks.base import Compute, Terms, Trick

SETTING = "trick.auxiliary_classifier.generator"


class AuxiliaryClassifier(Trick):
    """Both players want classes to be told (Odena, Olah & Shlens 2017, equations 2 and 3): AC-GAN.

    The generator is asked for a class, in the ways of label_conditioning. The discriminator is not told it,
    and says it by a head of its own: it minimises weight (-log p(y | x) - log p(y | G(z, y))) beside its
    other terms, and the generator the second half of that beside its own.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SINGLE_SAMPLES})
    claims = frozenset({Capability.LABELS})  # who told the discriminator the class would give the answer away

    def __init__(self, generator: GeneratorMode, weight: float | Schedule):
        super().__init__()
        self.generator_way = generator
        self.weight = nonzero_schedule(".weight", weight)

    def networks(self, networks: Networks) -> Networks:
        assert networks.num_classes is not None
        condition_generator(SETTING, self.generator_way, networks.generator, networks.num_classes)
        networks.required_discriminator.classes = networks.required_discriminator.head(networks.num_classes)
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        weight = self.weight(turn.step)
        terms = {**compute(turn), "class_of_fake": weight * class_cross_entropy(turn, turn.fake)}
        if turn.player == "discriminator":
            terms["class_of_real"] = weight * class_cross_entropy(turn, turn.real)
        return terms
