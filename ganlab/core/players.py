"""The players of a game, and the networks that they update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganlab.core.batch import ConditionSpec, Sample
from ganlab.core.capability import Capability
from ganlab.core.errors import require

if TYPE_CHECKING:
    from ganlab.networks.base import Discriminator, Generator

Player = str
# The networks that each player updates, in the order in which the players move. "network.part" is a part of a
# network, such as "discriminator.codes". It then belongs to this player, and not to the one of the network.
Players = Mapping[Player, tuple[str, ...]]
TWO_PLAYERS: Players = {"discriminator": ("discriminator",), "generator": ("generator",)}


def path(*names: str) -> str:
    """Names as a path, such as "ab/generator", without those that are empty."""
    return "/".join(filter(None, names))


def network_names(players: Players) -> list[str]:
    """The names of the networks of which players update at least a part, each once."""
    return list(dict.fromkeys(path.partition(".")[0] for paths in players.values() for path in paths))


class Networks(dict[str, Any]):
    """The networks of a game by name, and what they are told.

    Args:
        networks: the networks by name, of which "generator" is always one.
        condition: what goes with a sample of the data; None: nothing.
        conditions: a function from n to the conditions of n training samples, the same at every call. None:
            the game is built without data, and its buffers will be loaded.
        players: the networks that each player updates.
    """

    def __init__(
        self,
        networks: Mapping[str, Any],
        condition: ConditionSpec | None = None,
        conditions: Callable[[int], Tensor] | None = None,
        players: Players = TWO_PLAYERS,
    ):
        super().__init__(networks)
        self.condition, self._conditions, self.players = condition, conditions, players

    @property
    def generator(self) -> Generator:
        return self["generator"]

    @property
    def discriminator(self) -> Discriminator:
        """The discriminator, for tricks that need `Capability.DISCRIMINATOR`."""
        return self["discriminator"]

    @property
    def num_classes(self) -> int | None:
        """The number of classes of the condition; None if it is no class."""
        return None if self.condition is None else self.condition.num_classes

    def updated_by(self, players: Iterable[Player]) -> list[str]:
        """The names of the networks that these players update as a whole, each once."""
        paths = (path for player in players for path in self.players.get(player, ()))
        return list(dict.fromkeys(path for path in paths if "." not in path))

    def conditions(self, n: int) -> Tensor | None:
        """The conditions of n samples: classes in turn, or those of training samples; None without any."""
        if self.condition is None:
            return None
        if self.num_classes is not None:
            return torch.arange(n) % self.num_classes
        return self.condition.blank(n) if self._conditions is None else self._conditions(n)

    def capabilities(self) -> set[str]:
        """The capabilities that depend on the networks and the condition of the data."""
        has_classes = (self.num_classes or 0) > 1
        has_vectors = self.condition is not None and self.condition.kind == "vector"
        has_capability = {
            Capability.CLASSES: has_classes,
            Capability.LABELS: has_classes or has_vectors,
            Capability.PAIRS: self.condition is not None and self.condition.paired,
            Capability.TRAINED_GENERATOR: "generator" in network_names(self.players),
            Capability.LATENT: self.generator.latent_dim > 0,
            Capability.FEATURES: "discriminator" in self and self.discriminator.has_features_of_samples,
        }
        return {capability for capability, present in has_capability.items() if present}

    def needs(self) -> set[str]:
        """The capabilities that no trick may claim, because the networks need them.

        A discriminator that was built for conditions or codes judges each sample with its own.
        """
        is_told = "discriminator" in self and (self.discriminator.condition is not None or self.code_dim > 0)
        return {Capability.VERDICT_PER_SAMPLE} if is_told else set()

    @property
    def code_dim(self) -> int:
        """The number of elements of the code that the discriminator judges with a sample; 0: none."""
        return self.discriminator.code_dim if "discriminator" in self else 0

    def check_codes(self) -> None:
        """Raises `ConfigError` if the discriminator judges codes that this game does not have."""
        remedy = "choose objective=ali, or another model"
        has_codes = not self.code_dim or "encoder" in self
        reason = "judges codes, but this objective trains no encoder"
        require(has_codes, reason, remedy, "model.discriminator.code_dim", self.code_dim)
        reason = f"must be that of latents, {self.generator.latent_dim}"
        fits = self.code_dim in (0, self.generator.latent_dim)
        require(fits, reason, key="model.discriminator.code_dim", value=self.code_dim)

    def blank(self, n: int) -> Sample:
        """Zeros with the shapes and types of n generated samples, their conditions and their latents."""
        condition = None if self.condition is None else self.condition.blank(n)
        code = torch.zeros(n, self.generator.latent_dim)
        return Sample(torch.zeros(n, *self.generator.shape), condition, code)
