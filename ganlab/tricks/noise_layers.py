from functools import partial

from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Networks, Player, Sample, Turn
from ganlab.networks.base import ConditionalSequential
from ganlab.networks.noise import ScheduledNoise, insert_before_hidden
from ganlab.tricks.base import Trick
from ganlab.tricks.players import SIDES, Side, needed


class NoiseLayers(Trick):
    """Gaussian noise on a player's hidden layers in training, the discriminator's features among them.

    As in the discriminator for MNIST (Salimans et al. 2016, code): `std` 0.5 there, and 0.3 on its inputs,
    which is what instance_noise is for. Ganhacks 13 has it in the generator, as Zhao, Mathieu & LeCun 2017
    do. `std` is in units of the layers' outputs.

    player: `discriminator`, `generator` or `both`.
    """

    def __init__(self, std: float | Schedule, player: Side):
        super().__init__()
        self.std = nonzero_schedule(".std", std)
        self.players = SIDES[player]
        self.needs = needed(self.players)
        self.layers: dict[Player, list[ScheduledNoise]] = {player: [] for player in self.players}

    def networks(self, networks: Networks) -> Networks:
        for player in self.players:
            insert_before_hidden(getattr(networks, player).body, partial(self._layer, player))
        if "discriminator" in self.players:
            features = self._layer("discriminator", len(self.layers["discriminator"]))
            networks.required_discriminator.body = ConditionalSequential(
                networks.required_discriminator.body, features
            )
        if not self.layers.get("generator", True):
            raise ConfigError("trick noise_layers needs a generator with a hidden layer: give it one")
        return networks

    def _layer(self, player: Player, number: int) -> ScheduledNoise:
        layer = ScheduledNoise(f"noise_layers/{player}/{number}")
        self.layers[player].append(layer)
        return layer

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        self._hand("generator", turn, len(latent))
        return latent

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        self._hand("discriminator", turn, None)
        return sample

    def _hand(self, player: Player, turn: Turn, rows: int | None) -> None:
        for layer in self.layers.get(player, []):
            layer.random, layer.rows, layer.std = turn.random, rows, self.std(turn.step)
