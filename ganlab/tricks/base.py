"""Base classes of tricks, which change parts of a game through hooks."""

from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from enum import IntEnum
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ganlab.core.batch import Sample, Targets
from ganlab.core.capability import Capability
from ganlab.core.players import Networks, Player
from ganlab.core.schedules import Schedule, ScheduleLike, nonzero_schedule
from ganlab.core.turn import Turn
from ganlab.core.validation import Count

# A trick imports from here what its hooks receive and return.
__all__ = [
    "Capability", "Compute", "GradientRegulariser", "Networks", "Order", "Player", "PlayerChoice",
    "PlayerTrick", "Sample", "Targets", "Terms", "Trick", "Turn", "WeightedTrick",
]  # fmt: skip
Terms = dict[str, Tensor]  # loss terms by name; the player minimises the mean of each term's elements
Compute = Callable[[Turn], Terms]  # computes the loss terms of the player whose turn it is
PlayerChoice = Literal["discriminator", "generator", "both"]


class Order(IntEnum):
    """The position of a trick: hooks are called in this order. Tricks of one position are sorted by name."""

    REPLACE = 0  # replaces layers of the unchanged networks
    EXTEND = 1  # adds layers, heads, inputs
    RESHAPE = 2  # changes the shape of the discriminator's samples
    CONSTRAIN = 3  # constrains all weights, including those of added layers
    CHANGE_WEIGHTS = 4  # changes weights after an update, before the OBSERVE tricks read them
    OBSERVE = 5  # reads or copies the finished networks, or evaluates the losses of other tricks
    LAST = 6  # works on what the OBSERVE tricks provide, such as an averaged generator for sampling


class Trick(nn.Module):
    """Base class of tricks. A trick overrides some hooks; by default a hook changes nothing.

    The hooks are the methods from `networks` to `presented`. `composition.Tricks` calls a hook of all tricks
    of a game, by their `order`. Buffers are moved to the device of the game, and saved and restored with it.
    """

    order: ClassVar[Order] = Order.EXTEND

    # The capabilities that the trick uses. A game refuses the trick if any of them is not provided by its
    # objective, networks, data and settings. Several tricks may need the same capability.
    needs: frozenset[str] = frozenset()

    # The capabilities that no other trick of the game may need or claim. The game must provide them too. For
    # example, with trick packing there is no verdict on a single sample. So packing claims
    # `VERDICT_PER_SAMPLE`, and a game with packing refuses every trick that needs such verdicts.
    claims: frozenset[str] = frozenset()

    # The players that the trick applies to. The loss terms of the hook `terms` are added for them only.
    players: tuple[Player, ...] = ("discriminator", "generator")

    # The names of attributes that are saved and restored like buffers. They are keys in checkpoints.
    saved_attributes: ClassVar[tuple[str, ...]] = ()

    # Whether the trick takes gradients with respect to the real and fake samples.
    differentiates_inputs: ClassVar[bool] = False

    def networks(self, networks: Networks) -> None:
        """Changes the networks, in place and once, when the game is built; or prepares the trick for them.

        During the call, torch's default generator has a seed of its own for each run and each name of a
        trick. `torch.initial_seed()` returns this seed.
        """

    def on_weights_loaded(self, networks: Networks) -> None:
        """Called after weights of a different run or stage were loaded, before the first step of the game."""

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        """Changes the latents, [B, latent_dim]."""
        return latent

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        """Changes the fakes that the discriminator judges on its own turn."""
        return fake

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        """Changes every input of the discriminator, in the same way on both players' turns."""
        return sample

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        """Changes the targets of the discriminator."""
        return targets

    def terms(self, turn: Turn) -> Terms:
        """Loss terms that are added to those of the player whose turn it is, if the player is in `players`.

        This is the simple form of `losses`, for tricks that leave the terms of others unchanged.
        """
        return {}

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        """The loss terms of the player whose turn it is; by default those of `compute` and of `terms`.

        Tricks that change or drop terms, or compute them on a changed turn, override this hook. `compute`
        computes the terms of the objective and of the tricks before this one.
        """
        terms = compute(turn)
        return {**terms, **self.terms(turn)} if turn.player in self.players else terms

    def may_move(self, player: Player, step: int) -> bool:
        """Whether the player may move in this step, the same in all processes; every trick must agree."""
        return True

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        """Called after each update of a player."""

    def scalars(self) -> dict[str, Tensor]:
        """Scalars of a step, tensors [], that are logged as `<name of the trick>/<key>`.

        A hook that has a turn can log a number by `turn.log` instead.
        """
        return {}

    def presented(self, name: str, network: nn.Module) -> nn.Module:
        """Replaces a network for use outside of training, such as the generator of samples."""
        return network

    def get_extra_state(self) -> dict[str, Any]:
        return {name: copy(getattr(self, name)) for name in self.saved_attributes}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        for name in self.saved_attributes:
            setattr(self, name, copy(state[name]))


class WeightedTrick(Trick):
    """Base class of tricks whose setting `weight` multiplies their terms."""

    def __init__(self, weight: ScheduleLike):
        super().__init__()
        self.weight = nonzero_schedule(".weight", weight)


class PlayerTrick(Trick):
    """Base class of tricks whose setting `player` selects the players that they apply to."""

    def __init__(self, player: PlayerChoice):
        super().__init__()
        self.player = player
        self.players = ("discriminator", "generator") if player == "both" else (player,)
        needs = {"discriminator": Capability.DISCRIMINATOR, "generator": Capability.TRAINED_GENERATOR}
        self.needs = frozenset(needs[name] for name in self.players)


class GradientRegulariser(Trick):
    """Base class of penalties on the gradient of the discriminator's logits with respect to its inputs.

    The penalty is computed at every `every`-th update of the discriminator and multiplied by `every`, so its
    mean stays the same (lazy regularisation, StyleGAN2, Karras et al. 2020, section 3.1). StyleGAN2 updates
    the weights separately for the penalty, and therefore corrects the hyperparameters of Adam. Here the
    penalty is a term of the loss, so no correction is needed. In unrolled steps of the discriminator, the
    penalty is computed at each step.

    In a discriminator with batch norm, as in model=dcgan, the gradient at a sample depends on all samples of
    the batch. The trick `normalisation` replaces the batch norm.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.SECOND_DERIVATIVES})
    players = ("discriminator",)
    saved_attributes = ("num_updates",)

    def __init__(self, name: str, weight: Schedule, every: Count):
        super().__init__()
        self.name, self.weight, self.every = name, weight, every
        self.num_updates = 0  # the number of updates of the discriminator, at most one in each step

    @abstractmethod
    def penalty(self, turn: Turn) -> Tensor:
        """The penalty of each sample or pack, before it is multiplied by `weight` and `every`, [N]."""

    def terms(self, turn: Turn) -> Terms:
        every = 1 if turn.is_unrolled else self.every
        if self.num_updates % every:
            return {}
        return {self.name: every * self.weight(turn.step) * self.penalty(turn)}

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator":
            self.num_updates += 1
