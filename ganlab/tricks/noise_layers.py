from functools import partial

from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, nonzero_schedule
from ganlab.core.turn import Networks, Player, Sample, Turn
from ganlab.networks.base import ConditionalSequential
from ganlab.networks.noise import ScheduledNoise, insert_before_hidden
from ganlab.tricks.player_trick import PlayerChoice, PlayerTrick


class NoiseLayers(PlayerTrick):
    """Gaussian noise on the hidden activations of a player in training (Zhao, Mathieu & LeCun 2017).

    The noise is added to the input of every layer with weights but the first, and to the discriminator's
    features. The discriminator for MNIST of Salimans et al. 2016 (code) has it with `std` 0.5, and
    noise of 0.3 on the inputs; for the latter use instance_noise. Ganhacks 13 has it in the generator. `std`
    is in units of the activations.

    player: `discriminator`, `generator` or `both`.
    """

    def __init__(self, std: float | Schedule, player: PlayerChoice):
        super().__init__(player)
        self.std = nonzero_schedule(".std", std)
        self.layers: dict[Player, list[ScheduledNoise]] = {player: [] for player in self.players}

    def networks(self, networks: Networks) -> Networks:
        for player in self.players:
            insert_before_hidden(getattr(networks, player).body, partial(self._add_layer, player))
        if "discriminator" in self.players:
            discriminator = networks.required_discriminator
            on_features = self._add_layer("discriminator", len(self.layers["discriminator"]))
            discriminator.body = ConditionalSequential(discriminator.body, on_features)
        if self.layers.get("generator") == []:
            reason = "needs a generator with a hidden layer"
            raise ConfigError(reason, "set model.generator.hidden, or remove the trick")
        return networks

    def _add_layer(self, player: Player, index: int) -> ScheduledNoise:
        layer = ScheduledNoise(f"noise_layers/{player}/{index}")
        self.layers[player].append(layer)
        return layer

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        self._set_streams("generator", turn, len(latent))
        return latent

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        self._set_streams("discriminator", turn, None)
        return sample

    def _set_streams(self, player: Player, turn: Turn, rows: int | None) -> None:
        """Gives the layers the turn's random streams for the next pass.

        rows: only the last rows have noise, because the first may be a reference batch; None: all.
        """
        for layer in self.layers.get(player, []):
            layer.random, layer.rows, layer.std = turn.random, rows, self.std(turn.step)
