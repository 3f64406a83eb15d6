from functools import partial

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Networks, Player, Sample, Turn
from ganlab.networks.base import ConditionalSequential, insert_between_layers
from ganlab.tricks.base import PlayerChoice, PlayerTrick


class NoiseLayers(PlayerTrick):
    """Gaussian noise on the hidden activations of a player in training (Zhao, Mathieu & LeCun 2017).

    The noise is added to the input of every layer with weights but the first, and to the discriminator's
    features. The discriminator for MNIST of Salimans et al. 2016 (code) has it with `std` 0.5, and
    noise of 0.3 on the inputs; for the latter use instance_noise. Ganhacks 13 has it in the generator. `std`
    is in units of the activations.

    player: `discriminator`, `generator` or `both`.
    """

    def __init__(self, std: ScheduleLike, player: PlayerChoice):
        super().__init__(player)
        self.std = nonzero_schedule(".std", std)
        self.layers: dict[Player, list[ScheduledNoise]] = {player: [] for player in self.players}

    def networks(self, networks: Networks) -> None:
        for player in self.players:
            network, make_layer = getattr(networks, player), partial(self._add_layer, player)
            count = insert_between_layers(network.body, make_layer)
            if player == "discriminator":
                network.body = ConditionalSequential(network.body, make_layer(count))
            elif not count:
                reason = "needs a generator with a hidden layer"
                raise ConfigError(reason, "set model.generator.hidden, or remove the trick")

    def _add_layer(self, player: Player, index: int) -> "ScheduledNoise":
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


class ScheduledNoise(nn.Module):
    """Adds std * noise in training: [B, ...] -> the same shape.

    A trick sets `random`, `rows` and `std` before each pass, so that several processes draw the noise that
    one process would.

    Args:
        name: of its random stream.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.random: RandomStreams | None = None  # None: no noise
        # Only the last rows get noise, behind those of a reference batch; None: all.
        self.rows: int | None = None
        self.std = 0.0

    # Not compiled, because the streams of each step would trigger a compilation.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.random is None:
            return x
        batch = x if self.rows is None else x[len(x) - self.rows :]
        noisy = batch + self.std * self.random.normal(self.name, *batch.shape).to(x.dtype)
        return noisy if len(batch) == len(x) else torch.cat([x[: -len(batch)], noisy])
