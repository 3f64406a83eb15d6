"""The turn of a player in one step of a game, and the types of its parts."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ganlab.core.randomness import RandomStreams
    from ganlab.networks.base import Discriminator, Generator
    from ganlab.tricks.base import Tricks

Player = Literal["discriminator", "generator"]


class Capability(StrEnum):
    """Properties of an objective, of data or of a setting that a trick may need, or claim exclusively.

    A trick that destroys a property claims it. Every other trick that needs the property is then refused.
    The values are noun phrases for messages: "needs targets".
    """

    DISCRIMINATOR = "a discriminator"
    LOSS_ON_LOGITS = "a loss on logits"  # some objectives use only the features of the discriminator
    BOUNDARY_AT_ZERO = "logits that are positive for real samples and negative for fakes"
    TARGETS = "targets"
    NON_NEGATIVE_LOSSES = "losses of both players that are never negative"
    LOSS_PER_FAKE = "a generator loss for each fake"
    MOVE_CONTROL = "control over which player moves"
    # Trick lookahead undoes a part of the updates.
    LASTING_DISCRIMINATOR_UPDATES = "discriminator updates that are never undone"
    GENERATOR_ADVERSARIAL_TERM = "the generator's adversarial term"
    ZERO_SUM = "the generator loss log(1 - D)"
    LABELS = "labels"
    LABELLED_BATCH = "labelled samples in addition to the batch"
    ONE_PROCESS = "a single process"
    SECOND_DERIVATIVES = "second derivatives"
    # Claimed by tricks that set the scale of the weights, because only one trick can set it.
    DISCRIMINATOR_WEIGHT_SCALE = "the scale of the discriminator's weights"
    GENERATOR_WEIGHT_SCALE = "the scale of the generator's weights"
    GENERATOR_NORM = "the generator's batch norm"
    VERDICT_PER_SAMPLE = "verdicts on single samples"  # trick packing has verdicts on packs of samples


# The capabilities that a game has by default. `Game` adds those of its objective and of labels, and removes
# those that settings exclude, for example LABELLED_BATCH if the setting data.labelled is not given.
BASE_CAPABILITIES = frozenset(Capability) - {
    Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.BOUNDARY_AT_ZERO, Capability.TARGETS,
    Capability.NON_NEGATIVE_LOSSES, Capability.LOSS_PER_FAKE, Capability.ZERO_SUM, Capability.LABELS,
}  # fmt: skip


class Sample(NamedTuple):
    """A batch of B samples, and the condition of each. Statisticians call such a batch a sample."""

    x: Tensor  # [B, ...]
    condition: Tensor | None = None  # classes [B], images [B, C, H, W] or embeddings [B, E]

    def detach(self) -> Sample:
        return self._replace(x=self.x.detach())


class Batch(NamedTuple):
    """The data of one step."""

    real: Sample
    labelled: Sample | None = None  # a second batch, if only a part of the data has labels


class Verdict(NamedTuple):
    """The discriminator's output on samples."""

    logits: Tensor  # [B], or [B, h, w] over patches
    features: Tensor  # [B, F]
    class_logits: Tensor | None = None  # [B, K], if the discriminator has a classifier head


class Targets(NamedTuple):
    """Target probabilities of being real, in the shapes of the logits."""

    real: Tensor
    fake: Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Converts half precision to float32; float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Networks(NamedTuple):
    """The networks of the players, and the number of classes of the data."""

    generator: Generator
    discriminator: Discriminator | None  # None for a matching objective
    num_classes: int | None  # None: the data are unlabelled

    @property
    def required_discriminator(self) -> Discriminator:
        """The discriminator, for tricks that need `Capability.DISCRIMINATOR`."""
        assert self.discriminator is not None
        return self.discriminator


# The attributes from which each cached value of a turn is computed.
COMPUTED_FROM: dict[str, set[str]] = {
    "latent": {"real", "generator"},  # there are as many latents as real samples
    "generated": {"latent", "real", "generator"},  # the conditions are those of the real samples
    "fake": {"generated", "player"},  # tricks exchange fakes on the discriminator's turn only
    # Tricks may change the inputs of the discriminator for one player only. `real` and `fake` are missing
    # here, because each verdict in the list is stored with its `Sample`, and is used for no other.
    "verdicts": {"discriminator", "player"},
    "targets": {"verdicts", "real", "fake", "player"},  # tricks may change targets for one player only
}
# The names of the attributes that `Turn.replace` accepts.
REPLACEABLE = {"is_unrolled", *COMPUTED_FROM}.union(*COMPUTED_FROM.values())


@cache
def values_computed_from(attribute: str) -> frozenset[str]:
    """The names of the cached values that are computed from an attribute, directly or through others."""
    direct = {value for value, sources in COMPUTED_FROM.items() if attribute in sources}
    return frozenset(direct).union(*map(values_computed_from, direct))


@dataclass(eq=False)
class Turn:
    """One player's view of a step: real samples, fakes, and the discriminator's verdicts on both.

    Latents, samples, verdicts and targets are computed when they are first used, and then cached.

    There are two kinds of generated samples. `generated` are the generator's outputs, which tricks never
    change; `fake` are the samples that the discriminator judges as fake. They differ only on the
    discriminator's turn, and only if a trick exchanges samples, as a replay buffer does.

    Args:
        player: the player whose turn it is.
        step: the number of steps of this game before this turn.
        batch: the data of the step.
        generator: the network that makes the generated samples.
        discriminator: the function (samples, condition) -> verdict; None for a matching objective.
        tricks: the tricks whose hooks change latents, fakes, inputs and targets.
        random: the random streams of this step.
        differentiates_inputs: whether a trick takes gradients with respect to the real and fake samples.
        is_unrolled: whether the discriminator has weights of a trial update, which will be undone. A trick
            that counts turns leaves such turns out.
    """

    player: Player
    step: int
    batch: Batch
    generator: Generator
    discriminator: Callable[[Tensor, Tensor | None], Verdict] | None
    tricks: Tricks
    random: RandomStreams
    differentiates_inputs: bool = False
    real: Sample = field(init=False)
    is_unrolled: bool = False

    def __post_init__(self) -> None:
        self.real = as_leaf(self.batch.real) if self.differentiates_inputs else self.batch.real

    @cached_property
    def latent(self) -> Tensor:
        """The latents of as many fakes as there are real samples, [B, latent_dim]."""
        latent = self.generator.prior(self.random, len(self.real.x), self.generator.latent_dim)
        return self.tricks.apply_hook("latents", latent, self)

    @cached_property
    def generated(self) -> Sample:
        """The generator's outputs, unchanged by tricks; with gradients on the generator's turn only."""
        latent = self.latent  # before the block, so that hooks on latents can compute gradients
        with torch.set_grad_enabled(self.player == "generator"):
            return Sample(self.generator(latent, self.real.condition), self.real.condition)

    @cached_property
    def fake(self) -> Sample:
        """The samples that are judged as fake: `generated`, or what tricks have exchanged them for."""
        if self.player == "generator":
            return self.generated
        fake = self.tricks.apply_hook("fakes", self.generated, self)
        return as_leaf(fake) if self.differentiates_inputs and not fake.x.requires_grad else fake

    @cached_property
    def verdicts(self) -> list[tuple[Sample, Verdict]]:
        """The samples that were judged so far in this turn, each with its verdict; `judge` adds to this list.

        It is a cached property and not a field, so that copies can drop it like every other cached value.
        """
        return []

    @property
    def on_real(self) -> Verdict:
        """The verdict on the real samples."""
        return self.judge(self.real)

    @property
    def on_fake(self) -> Verdict:
        """The verdict on the fakes."""
        return self.judge(self.fake)

    @cached_property
    def targets(self) -> Targets:
        """Ones for the real samples and zeros for the fakes, changed by tricks."""
        real = at_least_float32(self.on_real.logits)  # bfloat16 cannot represent 0.999
        fake = at_least_float32(self.on_fake.logits)
        return self.tricks.apply_hook("targets", Targets(torch.ones_like(real), torch.zeros_like(fake)), self)

    def decode(self, latent: Tensor) -> Sample:
        """The samples that the generator makes from given latents, after the tricks' `latents` hooks."""
        return self.replace(latent=self.tricks.apply_hook("latents", latent, self)).generated

    def judge(self, sample: Sample) -> Verdict:
        """The verdict on samples after the tricks' `inputs` hooks, cached by the identity of the `Sample`."""
        for judged, verdict in self.verdicts:
            if judged is sample:
                return verdict
        assert self.discriminator is not None, "a matching objective needs no verdict"
        verdict = self.discriminator(*self.tricks.apply_hook("inputs", sample, self))
        self.verdicts.append((sample, verdict))
        return verdict

    def replace(self, **changes: Any) -> Self:
        """A copy with changed attributes, without the cached values that are computed from them.

        If the copy keeps `verdicts`, both turns share this list, and use each other's verdicts.
        """
        assert changes.keys() <= REPLACEABLE
        return self._copy(frozenset().union(*map(values_computed_from, changes)), changes)

    def with_new_latents(self) -> Self:
        """A copy with the same real samples, which draws new latents when they are first used."""
        return self._copy(without={"latent", *values_computed_from("latent")}, changes={})

    def _copy(self, without: Set[str], changes: dict[str, Any]) -> Self:
        """A copy without the cached values of some names, and then with changed attributes."""
        copy = object.__new__(type(self))  # does the same as copy.copy in a tenth of its time
        kept = {name: value for name, value in self.__dict__.items() if name not in without}
        copy.__dict__ = kept | changes
        return copy


def as_leaf(sample: Sample) -> Sample:
    """The same samples as a leaf of the autograd graph, so that gradients reach them and end there."""
    return sample._replace(x=sample.x.detach().requires_grad_())
