from ganlab.core.turn import Capability, Networks
from ganlab.networks import class_conditioning
from ganlab.tricks.base import Trick


class LabelConditioning(Trick):
    """Both players are conditioned on the class of a sample (Mirza & Osindero 2014, equation 2).

    generator: `concat` (the latent and a one-hot vector), `embedding` (the latent times a class embedding) or
        `norm` (class-conditional gain and bias, Dumoulin et al. 2017).
    discriminator: `concat` (the sample and one-hot planes or columns), `embedding` (the sample and a learned
        plane as one more channel, Denton et al. 2015) or `projection` (Miyato & Koyama 2018).
    """

    needs = frozenset({Capability.LABELS, Capability.DISCRIMINATOR, Capability.SINGLE_SAMPLES})

    def __init__(
        self, generator: class_conditioning.GeneratorMode, discriminator: class_conditioning.DiscriminatorMode
    ):
        super().__init__()
        self.generator_mode, self.discriminator_mode = generator, discriminator
        if discriminator == "projection":
            self.needs = self.needs | {Capability.SCORES}

    def networks(self, networks: Networks) -> None:
        class_conditioning.condition_generator(networks, self.generator_mode)
        class_conditioning.condition_discriminator(networks, self.discriminator_mode)
