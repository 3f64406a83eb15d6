from ganlab.core.errors import ConfigError
from ganlab.core.turn import Networks
from ganlab.core.validation import OpenFraction
from ganlab.networks.noise import KeyedDropout, LatentKeys, insert_before_hidden
from ganlab.tricks.base import Trick


class GeneratorDropout(Trick):
    """Dropout on the generator's hidden layers in training (Isola et al. 2017, section 3.1).

    Each mask is a function of the sample's latent. So the seed of the latents also determines the masks, for
    any number of processes and any batch size.

    at_test: true applies dropout when sampling too, as the paper does and ganhacks 17 recommends.
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
            reason = "needs a generator with a hidden layer"
            raise ConfigError(reason, "set model.generator.hidden, or remove the trick")
        return networks
