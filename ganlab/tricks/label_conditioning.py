from ganlab.networks import class_conditioning as conditioning
from ganlab.tricks.base import Capability, Networks, Trick


class LabelConditioning(Trick):
    """Both players are told the class or the vector of a sample (Mirza & Osindero 2014, equation 2).

    generator: how the class enters the generator. `concat` appends a one-hot vector to the latent,
        `embedding` multiplies the latent by a class embedding, and `norm` gives the norms a gain and a bias
        for each class (Dumoulin et al. 2017).
    discriminator: how the class enters the discriminator. `concat` appends one-hot planes or columns to the
        sample, `embedding` appends a learned plane as one more channel (Denton et al. 2015), and `projection`
        adds a term to the logits (Miyato & Koyama 2018).

    Vectors, such as those of texts, enter like one-hot vectors, or by linear maps instead of embeddings.
    """

    needs = frozenset({Capability.LABELS, Capability.DISCRIMINATOR, Capability.VERDICT_PER_SAMPLE})

    def __init__(self, generator: conditioning.GeneratorMode, discriminator: conditioning.DiscriminatorMode):
        super().__init__()
        self.generator_mode, self.discriminator_mode = generator, discriminator
        if discriminator == "projection":
            self.needs = self.needs | {Capability.LOSS_ON_LOGITS}

    def networks(self, networks: Networks) -> None:
        conditioning.condition_generator(networks, self.generator_mode)
        conditioning.condition_discriminator(networks, self.discriminator_mode)
