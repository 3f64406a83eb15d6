from functools import partial

import torch
from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.networks.base import ConditionalSequential, insert_between_layers
from ganlab.tricks.base import Networks, Player, PlayerChoice, PlayerTrick, Sample, Turn


class NoiseLayers(PlayerTrick):
    """Adds Gaussian noise to the hidden activations of a player in training (Zhao, Mathieu & LeCun 2017).

    The noise is added to the input of every layer with weights except the first, and to the discriminator's
    features. The discriminator for MNIST in the code of Salimans et al. 2016 has such noise with `std` 0.5.
    It also has noise with `std` 0.3 on its inputs, for which there is trick instance_noise. Ganhacks 13
    recommends noise in the generator.

    std: the standard deviation of the noise, in units of the activations.
    player: the player whose activations get noise: `discriminator`, `generator` or `both`.
    """

    def __init__(self, std: ScheduleLike, player: PlayerChoice):
        super().__init__(player)
        self.std = nonzero_schedule(".std", std)
        self.layers: dict[Player, list[ScheduledNoise]] = {}  # the noise layers of each player

    def networks(self, networks: Networks) -> None:
        for player in self.players:
            network = networks[player]
            make_layer = partial(ScheduledNoise, player)
            num_inserted = insert_between_layers(network.body, make_layer)
            if player == "discriminator":
                network.body = ConditionalSequential(network.body, make_layer(num_inserted))
            else:
                remedy = "set model.generator.hidden, or remove the trick"
                require(num_inserted, "needs a generator with a hidden layer", remedy)
            self.layers[player] = [layer for layer in network.modules() if isinstance(layer, ScheduledNoise)]

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        # With trick virtual_batch_norm, a reference batch precedes the latents in the pass. It gets no noise.
        self._prepare_layers("generator", turn, num_rows=len(latent))
        return latent

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        self._prepare_layers("discriminator", turn, num_rows=None)
        return sample

    def _prepare_layers(self, player: Player, turn: Turn, num_rows: int | None) -> None:
        """Gives the noise layers of a player what they need in the pass that follows."""
        for layer in self.layers.get(player, []):
            layer.random, layer.num_rows, layer.std = turn.random, num_rows, self.std(turn.step)


class ScheduledNoise(nn.Module):
    """Adds normal noise of standard deviation `std` in training: [B, ...] -> the same shape.

    `NoiseLayers` sets the attributes before each pass. With the random streams of the turn, several processes
    draw the same noise as a single process. The layer's index in the player's network names its own stream.
    """

    def __init__(self, player: Player, index: int):
        super().__init__()
        self.stream = f"noise_layers/{player}/{index}"
        self.random: RandomStreams | None = None  # None: no noise
        self.num_rows: int | None = None  # the number of rows that get noise, from the end; None: all rows
        self.std = 0.0

    # Not compiled, because the new random streams of each step would trigger a compilation.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.random is None:
            return x
        first = 0 if self.num_rows is None else len(x) - self.num_rows
        noisy = x[first:] + self.std * self.random.normal(self.stream, *x[first:].shape).to(x.dtype)
        return torch.cat([x[:first], noisy]) if first else noisy
