"""Base class of objectives."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from ganlab.core.batch import Sample
from ganlab.core.capability import Capability
from ganlab.core.errors import require
from ganlab.core.players import TWO_PLAYERS, Networks, Player, Players, network_names
from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn

# An objective imports from here what its methods receive and return.
__all__ = [
    "TWO_PLAYERS", "Capability", "LossWeights", "Networks", "Objective", "Players", "Sample", "Turn",
]  # fmt: skip
LossWeights = Mapping[Player, ScheduleLike]  # for each player, the factor of its loss terms


class Objective(nn.Module, ABC):
    """The loss of each player: turn -> named terms. The player whose turn it is minimises their weighted sum.

    A term is [B], [B, h, w] over patches, or a scalar. The game averages it after tricks have changed it. The
    first term is called "adversarial", "matching" or "reconstruction". Some tricks replace all adversarial
    terms, so the names of further adversarial terms start with this word, as in "adversarial_one_sided".

    Args:
        weight: for each of `players`, the factor of all its terms: a positive number or a schedule.
    """

    players: ClassVar[Players] = TWO_PLAYERS
    # The networks that the objective uses and no player updates. They must be borrowed from a trained game.
    frozen: tuple[str, ...] = ()
    # The number of outputs of the encoder for each element of a latent: 1 for the latent itself, 2 for the
    # mean and the log-variance of a normal distribution of latents.
    outputs_per_latent: int = 1
    provides: frozenset[str] = frozenset()  # capabilities that tricks may need, see `Capability`
    # Capabilities that the objective itself needs, such as second derivatives, which some settings exclude.
    needs: frozenset[str] = frozenset()

    def __init__(self, weight: LossWeights):
        super().__init__()
        reason = f"needs the keys {' and '.join(self.players)}, and no others"
        require(set(weight) == set(self.players), reason, key=".weight")
        self.weights = {name: nonzero_schedule(f".weight.{name}", value) for name, value in weight.items()}

    @property
    def network_names(self) -> list[str]:
        """The names of the networks that the objective uses."""
        return [*network_names(self.players), *self.frozen]

    def forward(self, turn: Turn) -> dict[str, Tensor]:
        weight = self.weights[turn.player](turn.step)
        terms = self.terms(turn)
        # Terms of weight 1 are not multiplied, which would only cost time in both passes.
        return terms if weight == 1 else {name: weight * term for name, term in terms.items()}

    def check_networks(self, networks: Networks) -> None:
        """Raises `ConfigError` if the objective cannot train these networks; accepts all by default."""

    def shown_as_real(self, sample: Sample, turn: Turn) -> Sample:
        """What the discriminator and all tricks see as real; by default the samples of the batch."""
        return sample

    def shown_as_fake(self, sample: Sample, turn: Turn) -> Sample:
        """What the discriminator and all tricks see as generated; by default the generator's outputs."""
        return sample

    def presented(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """What the generator's outputs become as samples outside of training; by default unchanged."""
        return x

    @abstractmethod
    def terms(self, turn: Turn) -> dict[str, Tensor]:
        """The terms by name, not yet weighted."""
