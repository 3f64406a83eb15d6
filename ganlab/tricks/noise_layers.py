from ganlab.networks.base import Layers
from ganlab.networks.noise import Noise, before_hidden
from ganlab.schedules import Schedule, active
from ganlab.tricks.base import Trick
from ganlab.turn import Networks, Offer, Sample, Turn


class NoiseLayers(Trick):
    """Gaussian noise on the discriminator's hidden layers in training, its features among them.

    As in the networks of Salimans et al. 2016 for MNIST (`std` 0.5, and 0.3 on their inputs, which is what
    instance_noise is for). `std` is in units of the layers' outputs.
    """

    needs = frozenset({Offer.DISCRIMINATOR})

    def __init__(self, std: float | Schedule):
        super().__init__()
        self.std = active("trick.noise_layers.std", std)
        self.layers: list[Noise] = []

    def networks(self, networks: Networks) -> Networks:
        assert networks.discriminator is not None
        body = networks.discriminator.body
        before_hidden(body, self._layer)
        networks.discriminator.body = Layers(body, self._layer(len(self.layers)))
        return networks

    def _layer(self, number: int) -> Noise:
        self.layers.append(Noise(number))
        return self.layers[-1]

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        for layer in self.layers:
            layer.draw, layer.std = turn.draw, self.std(turn.step)
        return sample
