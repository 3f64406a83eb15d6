from ganlab.core.errors import ConfigError
from ganlab.core.turn import Networks
from ganlab.core.validation import OpenFraction
from ganlab.networks.noise import KeyedDropout, LatentKeys, insert_before_hidden
from ganlab.tricks.base import Trick


class GeneratorDropout(Trick):
    """Dropout of the generator's hidden layers, in training and, if asked, when it is sampled.

    Isola et al. 2017, section 3.1, keep it on at test time: with it as the only noise, samples vary
    (Chintala et al. 2016, tip 17). A mask is a function of the sample's latent: the seed that determines
    the latents determines the masks, on any number of processes and in batches of any size.
    """

    def __init__(self, rate: OpenFraction, at_test: bool):
        super().__init__()
        self.rate, self.at_test = rate, at_test

    def networks(self, networks: Networks) -> Networks:
        keys = LatentKeys()
        networks.generator.latents.append(keys)
        if not insert_before_hidden(
            networks.generator.body, lambda layer: KeyedDropout(keys, layer, self.rate, self.at_test)
        ):
            raise ConfigError("trick generator_dropout needs a generator with a hidden layer: give it one")
        return networks
