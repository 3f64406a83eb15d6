"""Tricks: each has hooks that map a value to a changed one; tricks compose by folding every hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from enum import IntEnum
from functools import partial
from inspect import signature
from itertools import combinations
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, completing
from ganlab.core.profiling import in_range, profile_range
from ganlab.core.randomness import derive_seed
from ganlab.core.turn import Networks, Player, Sample, Targets, Turn
from ganlab.networks.base import Discriminator

Terms = dict[str, Tensor]
Compute = Callable[[Turn], Terms]


class Order(IntEnum):
    """The position of a trick in every fold; ties are broken by name, never by the user's list."""

    REPLACE = 0  # replaces layers: must see the bare networks
    EXTEND = 1  # adds layers, heads, inputs
    RESHAPE = 2  # changes what a sample is for the discriminator
    CONSTRAIN = 3  # constrains all weights, those of added layers too
    MOVE = 4  # changes what a move has done to all weights, before anybody observes it
    OBSERVE = 5  # watches or copies finished networks; runs other tricks' losses inside its own
    PRESENT = 6  # changes what is shown of an observer's copy


class Trick(nn.Module):
    """Base class. Every hook maps a type to itself; a trick overrides the hooks that it uses.

    Buffers are moved, saved and restored with the game. The objective, the data and the settings must
    provide every capability in `needs` and `claims`; no other trick may need what one claims.
    """

    order: ClassVar[Order] = Order.EXTEND
    needs: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()
    players: tuple[Player, ...] = ("discriminator", "generator")  # whose networks or terms it changes
    counts: ClassVar[tuple[str, ...]] = ()  # attributes that are saved and restored like buffers
    differentiates_inputs: ClassVar[bool] = False  # takes gradients at the samples

    def networks(self, networks: Networks) -> Networks:
        """Changes the networks, once, at construction."""
        return networks

    def on_weights_loaded(self, networks: Networks) -> None:
        """Reacts to weights that were loaded from another run or stage."""

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        """Changes the latents, [B, latent_dim]."""
        return latent

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        """Changes the fakes that the discriminator sees on its own turn."""
        return fake

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        """Changes every input of the discriminator; must not depend on the player."""
        return sample

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        """Changes the targets of the discriminator."""
        return targets

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        """Adds, weighs or replaces terms, or computes them on a changed turn."""
        return compute(turn)

    def plays(self, player: Player, step: int) -> bool:
        """Whether this player may move in this round; all tricks must agree, on all ranks."""
        return True

    def after(self, player: Player, networks: Networks, step: int) -> None:
        """Reacts to a player's update."""

    def scalars(self) -> dict[str, Tensor]:
        """Scalars of the trick that are logged like loss terms."""
        return {}

    def sampler(self, generator: nn.Module) -> nn.Module:
        """Replaces the network that is sampled."""
        return generator

    def classifier(self, discriminator: Discriminator) -> Discriminator:
        """Replaces the network that classifies samples outside of training."""
        return discriminator

    def get_extra_state(self) -> dict[str, Any]:
        return {name: copy(getattr(self, name)) for name in self.counts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        for name in self.counts:
            setattr(self, name, copy(state[name]))


def remedy(name: str, trick: Trick) -> str:
    """A further remedy for a trick with a setting `player`."""
    return f"set trick.{name}.player, " if "player" in signature(type(trick)).parameters else ""


class Tricks(nn.ModuleDict):
    """All tricks of a game by their names in the config; folds every hook over them."""

    def __init__(self, tricks: Mapping[str, Trick]):
        super().__init__()
        for name in sorted(tricks, key=lambda name: (tricks[name].order, name)):
            if "." in name or hasattr(self, name):
                raise ConfigError(f"a trick cannot be called {name}: choose another key for it under trick")
            self[name] = tricks[name]
        self._refuse_doubles()

    def each(self) -> Iterator[Trick]:
        return cast(Iterator[Trick], iter(self.values()))

    def named(self) -> list[tuple[str, Trick]]:
        """The tricks with their names in the config."""
        return cast("list[tuple[str, Trick]]", list(self.items()))

    def _refuse_doubles(self) -> None:
        """Refuses two tricks of a class that would overwrite each other's loss term: those of one player."""
        for (one, trick), (other, twin) in combinations(self.named(), 2):
            kind = type(twin) if isinstance(trick, type(twin)) else type(trick)
            adding = isinstance(twin, kind) and kind.losses is not Trick.losses
            if adding and set(trick.players) & set(twin.players):
                raise ConfigError(
                    f"tricks {one} and {other} are both {kind.__name__}, of which only one can act: "
                    "leave one out"
                )

    @property
    def differentiates_inputs(self) -> bool:
        return any(trick.differentiates_inputs for trick in self.each())

    def check(self, provided: frozenset[str], setting: str) -> None:
        """Refuses a trick that could not act.

        Args:
            provided: the capabilities of objective, data and settings.
            setting: describes them in the message.

        Raises:
            ConfigError: a needed or claimed capability is not provided, or another trick claims it.
        """
        claimant = {thing: name for name, trick in self.named() for thing in trick.claims}
        for name, trick in self.named():
            for thing in sorted(trick.needs | trick.claims):
                if thing not in provided:
                    raise ConfigError(
                        f"trick {name} needs {thing}, which is not available here ({setting}): "
                        f"leave out trick {name}, {remedy(name, trick)}or change that"
                    )
                if claimant.get(thing, name) != name:
                    raise ConfigError(
                        f"tricks {claimant[thing]} and {name} cannot act together: "
                        f"{claimant[thing]} takes {thing}, which {name} needs; leave one out"
                    )

    def networks(self, networks: Networks) -> Networks:
        """Folds the hook; every trick draws its weights from its own seed, whatever other tricks exist."""
        seed = torch.initial_seed()
        with torch.random.fork_rng(devices=[]):
            for name, trick in self.named():
                torch.default_generator.manual_seed(derive_seed(seed, name))
                with completing(f"trick.{name}"):
                    networks = trick.networks(networks)
        return networks

    def _fold(self, hook: str, value: Any, *rest: Turn) -> Any:
        for name, trick in self.items():
            with profile_range(f"trick {name}"):
                value = getattr(trick, hook)(value, *rest)
        return value

    def on_weights_loaded(self, networks: Networks) -> None:
        for trick in self.each():
            trick.on_weights_loaded(networks)

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        return self._fold("latents", latent, turn)

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        return self._fold("fakes", fake, turn)

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        return self._fold("inputs", sample, turn)

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return self._fold("targets", targets, turn)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        """Wraps `compute` in every trick; the first in order is the innermost."""
        for name, trick in self.named():
            # What a trick has others compute, such as the objective, is the player's time.
            inner = in_range(turn.player, compute)
            compute = in_range(f"trick {name}", partial(trick.losses, compute=inner))
        return compute(turn)

    def plays(self, player: Player, step: int) -> bool:
        return all(in_range(f"trick {name}", trick.plays)(player, step) for name, trick in self.named())

    def after(self, player: Player, networks: Networks, step: int) -> None:
        for name, trick in self.named():
            with profile_range(f"trick {name}"):
                trick.after(player, networks, step)

    def scalars(self) -> dict[str, Tensor]:
        """The scalars of all tricks, by "trick/name"."""
        return {
            f"{name}/{key}": value for name, trick in self.named() for key, value in trick.scalars().items()
        }

    def sampler(self, generator: nn.Module) -> nn.Module:
        return self._fold("sampler", generator)

    def classifier(self, discriminator: Discriminator) -> Discriminator:
        return self._fold("classifier", discriminator)

    def samplers(self, generator: nn.Module) -> list[str]:
        """The names of the tricks that replace the network that is sampled."""
        return [name for name, trick in self.named() if trick.sampler(generator) is not generator]

    def classifiers(self, network: Discriminator) -> list[str]:
        """The names of the tricks that replace the network that classifies."""
        return [name for name, trick in self.named() if trick.classifier(network) is not network]
