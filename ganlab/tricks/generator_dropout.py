from ganlab.core.errors import require
from ganlab.core.validation import OpenFraction
from ganlab.networks.base import insert_between_layers
from ganlab.networks.keyed_dropout import KeyedDropout, LatentKeys
from ganlab.tricks.base import Capability, Networks, Trick


class GeneratorDropout(Trick):
    """Dropout on the generator's hidden layers in training (Isola et al. 2017, section 3.1).

    Each mask is a function of the sample's latent. So the same latents give the same masks for any number of
    processes and any batch size.

    at_test: whether dropout is also applied when sampling, as in the paper and in ganhacks 17.
    """

    needs = frozenset({Capability.TRAINED_GENERATOR, Capability.LATENT})

    def __init__(self, rate: OpenFraction, at_test: bool):
        super().__init__()
        self.rate, self.at_test = rate, at_test

    def networks(self, networks: Networks) -> None:
        latent_keys = LatentKeys()
        networks.generator.latent_transforms.append(latent_keys)

        def make_dropout(layer: int) -> KeyedDropout:
            return KeyedDropout(latent_keys, layer, self.rate, self.at_test)

        num_inserted = insert_between_layers(networks.generator.body, make_dropout)
        remedy = "set model.generator.hidden, or remove the trick"
        require(num_inserted, "needs a generator with a hidden layer", remedy)
