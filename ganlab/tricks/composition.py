"""The composition of the tricks of a game: which of them go together, and the calls of their hooks."""

from collections.abc import Callable, ItemsView, Mapping, Set, ValuesView
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError
from ganlab.core.players import Networks, Player
from ganlab.core.profiling import profiled
from ganlab.core.randomness import derive_seed
from ganlab.core.turn import Turn
from ganlab.tricks.base import Compute, PlayerTrick, Terms, Trick


def call_hook(name: str, hook: Callable[..., Any], *args: Any) -> Any:
    """Calls a hook of the trick that has this name in the config, and measures its time for a profile.

    Raises:
        ConfigError: the hook has raised it; without a key, the error is about the trick as a whole.
    """
    try:
        return profiled(f"trick {name}", hook)(*args)
    except ConfigError as error:
        raise error.of_part("trick", name) from error.__cause__


# For each capability that does not depend on the objective: why it is missing, and the remedy. The reasons
# complete a sentence that names the capability, such as "needs a single process, but the run has several".
MISSING_CAPABILITIES: dict[str, tuple[str, str]] = {
    Capability.CLASSES: ("the data have no labels, or only one class", "choose labelled data"),
    Capability.LABELS: ("the data have no labels, or only one class", "choose labelled data"),
    Capability.LABELLED_BATCH: ("data.labelled is not set", "set it, such as data.labelled=100"),
    Capability.ONE_PROCESS: ("the run has several", "use one process"),
    Capability.FEATURES: ("this discriminator judges patches, or has none", "choose that of model=dcgan"),
    Capability.LATENT: ("this generator has none", "set model.generator.latent_dim"),
    Capability.PAIRS: ("the samples of these data have no conditions to answer", "choose data of pairs"),
    Capability.SECOND_DERIVATIVES: ("compiled networks have none", "set compile=false"),
}


def capability_error(name: str, trick: Trick, capability: str, objective: str) -> ConfigError:
    """The error about a trick that needs or claims a capability which is not provided."""
    if capability in MISSING_CAPABILITIES:
        cause, remedy = MISSING_CAPABILITIES[capability]
        reason = f"needs {capability}, but {cause}"
    else:
        reason = f"needs an objective with {capability}, but {objective} has none"
        example = "minimax" if capability == Capability.ZERO_SUM else "non_saturating"
        remedy = f"choose an objective such as {example}"
    player_remedy = f"set trick.{name}.player, " if isinstance(trick, PlayerTrick) else ""
    return ConfigError(reason, f"remove the trick, {player_remedy}or {remedy}", "trick", name)


class Tricks(nn.ModuleDict):
    """All tricks of a game, by their names in the config.

    The methods call the hooks of every trick, in order: `change_networks` calls `networks`, `apply_hook` one
    of `latents`, `fakes`, `inputs` and `targets`, and each other method the hook of its own name.
    """

    if TYPE_CHECKING:  # for type checkers: torch's annotations allow any module as a value

        def items(self) -> ItemsView[str, Trick]: ...

        def values(self) -> ValuesView[Trick]: ...

    def __init__(self, tricks: Mapping[str, Trick]):
        super().__init__()
        # A trick becomes an attribute of this module, so no other attribute may have its name. The name of a
        # hook is refused too, because the trick would be mistaken for the hook.
        reserved = {*dir(self), *dir(Trick)}
        for name in sorted(tricks, key=lambda name: (tricks[name].order, name)):
            if "." in name or name in reserved:
                raise ConfigError("is a reserved name", "choose another key", "trick", name)
            self[name] = tricks[name]
        # Two tricks would give their loss terms the same names if they apply to the same player, and the
        # class of one, which is either of the two, equals that of the other or is derived from it.
        for (name, trick), (other_name, other) in permutations(self.items(), 2):
            base = type(other)
            adds_terms = base.losses is not Trick.losses or base.terms is not Trick.terms
            if isinstance(trick, base) and adds_terms and set(trick.players) & set(other.players):
                reason = f"both are {base.__name__} and would overwrite each other's loss terms"
                raise ConfigError(reason, "remove one of them", "trick", sorted([name, other_name]))

    def check_capabilities(self, provided: frozenset[str], unclaimable: Set[str], objective: str) -> None:
        """Raises `ConfigError` if a need or a claim is not provided, or is claimed by a different trick.

        Args:
            provided: the capabilities of objective, networks, data and settings.
            unclaimable: those that objective or networks need, so that no trick may claim them.
            objective: the name of the objective's class, for the message.
        """
        claimant = {capability: name for name, trick in self.items() for capability in trick.claims}
        for name, trick in self.items():
            for capability in sorted(trick.claims & unclaimable):
                reason = f"claims {capability}, which the objective or the discriminator needs as well"
                remedy = "remove it, or choose a discriminator of samples alone, such as that of model=gan"
                raise ConfigError(reason, remedy, "trick", name)
            for capability in sorted(trick.needs | trick.claims):
                if capability not in provided:
                    raise capability_error(name, trick, capability, objective)
                if capability in claimant and claimant[capability] != name:
                    reason = f"{claimant[capability]} claims {capability}, which {name} needs as well"
                    raise ConfigError(reason, "remove one of them", "trick", [claimant[capability], name])

    def change_networks(self, networks: Networks) -> None:
        """Calls the `networks` hook of each trick, which changes the networks in place.

        During the call, torch's default generator has a seed that is derived from the name of the trick.
        """
        seed = torch.initial_seed()
        with torch.random.fork_rng(devices=[]):
            for name, trick in self.items():
                torch.default_generator.manual_seed(derive_seed(seed, name))
                call_hook(name, trick.networks, networks)

    def apply_hook(self, hook: str, value: Any, turn: Turn) -> Any:
        """Passes a value through the hook of this name of every trick."""
        for name, trick in self.items():
            value = call_hook(name, getattr(trick, hook), value, turn)
        return value

    def on_weights_loaded(self, networks: Networks) -> None:
        for trick in self.values():
            trick.on_weights_loaded(networks)

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        """The loss terms of the player whose turn it is.

        The `compute` that each trick receives is the `losses` hook of the trick before it, or, for the first
        trick, the argument of this method.
        """
        for name, trick in self.items():
            # In a profile, what a hook spends in `player_terms` counts for the player and earlier tricks.
            player_terms = profiled(turn.player, compute)
            compute = profiled(f"trick {name}", partial(trick.losses, compute=player_terms))
        return compute(turn)

    def may_move(self, player: Player, step: int) -> bool:
        return all(call_hook(name, trick.may_move, player, step) for name, trick in self.items())

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        for name, trick in self.items():
            call_hook(name, trick.after_update, player, networks, step)

    def scalars(self) -> dict[str, Tensor]:
        """The scalars of all tricks, by names such as "adaptive_augment/p"."""
        return {f"{name}/{key}": x for name, trick in self.items() for key, x in trick.scalars().items()}

    def presented(self, name: str, network: nn.Module) -> nn.Module:
        """The network that is used outside of training under this name."""
        for trick_name, trick in self.items():
            network = call_hook(trick_name, trick.presented, name, network)
        return network

    def tricks_that_replace(self, name: str, network: nn.Module) -> list[str]:
        """The names of the tricks that replace the network with this name outside of training."""
        return [key for key, trick in self.items() if trick.presented(name, network) is not network]
