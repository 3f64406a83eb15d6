"""Turn: a player's view of a round, each part of which is computed when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ganlab.core.randomness import RandomStreams
    from ganlab.networks.base import Discriminator, Generator
    from ganlab.tricks.base import Tricks

Player = Literal["discriminator", "generator"]


class Capability(StrEnum):
    """Properties of an objective, of data or of a setting that a trick may need, or claim for itself.

    The values are noun phrases for messages.
    """

    DISCRIMINATOR = "a discriminator"
    SCORES = "a loss on logits"  # of the discriminator: some objectives use its features alone
    SIGNS = "logits that are positive for real samples and negative for fakes"
    TARGETS = "targets"
    COSTS = "losses of both players that are never negative"
    FAKE_COSTS = "a generator loss for each fake"
    MOVES = "control over which player moves"
    LASTING_MOVES = "discriminator updates that are never undone"
    GENERATOR_TERM = "the generator's adversarial term"
    ZERO_SUM = "the generator loss log(1 - D)"
    LABELS = "labels"
    EXTRA = "labelled samples in addition to the batch"
    ONE_PROCESS = "a single process"
    SECOND_DERIVATIVES = "second derivatives"
    DISCRIMINATOR_SCALE = "the scale of the discriminator's weights"
    GENERATOR_SCALE = "the scale of the generator's weights"
    GENERATOR_NORM = "the generator's batch norm"
    SINGLE_SAMPLES = "verdicts on single samples"


# Capabilities that every game has, whatever its objective and data.
ALWAYS_AVAILABLE = frozenset(Capability) - {
    Capability.DISCRIMINATOR,
    Capability.SCORES,
    Capability.SIGNS,
    Capability.TARGETS,
    Capability.COSTS,
    Capability.FAKE_COSTS,
    Capability.ZERO_SUM,
    Capability.LABELS,
}


class Sample(NamedTuple):
    """Samples and the condition of each."""

    x: Tensor  # [B, ...]
    condition: Tensor | None = None  # class [B], image [B, C, H, W], embedding [B, E]

    def detach(self) -> Sample:
        return self._replace(x=self.x.detach())


class Batch(NamedTuple):
    """The data of one round."""

    real: Sample
    extra: Sample | None = None  # a second stream: labelled or paired data


class Verdict(NamedTuple):
    """The discriminator's output on samples."""

    logits: Tensor  # [B], or [B, h, w] over patches
    features: Tensor  # [B, F]
    classes: Tensor | None = None  # [B, K] class logits, where the head has them


class Targets(NamedTuple):
    """Target probabilities of being real, shaped like the logits."""

    real: Tensor
    fake: Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Converts half precision to float32; float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Networks(NamedTuple):
    """The players' networks; direct matching has no discriminator."""

    generator: Generator
    discriminator: Discriminator | None
    num_classes: int | None  # of the data; None: unlabelled

    @property
    def required_discriminator(self) -> Discriminator:
        """The discriminator, for tricks that need one."""
        assert self.discriminator is not None
        return self.discriminator


# By what is replaced: the computed values that are stale then.
STALE = {
    "player": {"fake", "targets", "verdicts"},
    "real": {"latent", "generated", "fake", "targets"},
    "latent": {"generated", "fake", "targets"},
    "generator": {"latent", "generated", "fake", "targets"},
    "generated": {"fake", "targets"},
    "fake": {"targets"},
    "discriminator": {"verdicts", "targets"},
    "verdicts": {"targets"},
    "is_ahead": set(),
}
COMPUTED = {"latent", "generated", "fake", "targets", "verdicts"}


class Turn:
    """One player's view of a round: real samples, fakes, and the discriminator's verdicts on both.

    `latent -> generated -> fake`: `generated` is the generator's output, `fake` is what the discriminator
    judges as fake. They differ on the discriminator's turn if a trick replaces samples, as a replay buffer.
    """

    def __init__(
        self,
        player: Player,
        step: int,
        batch: Batch,
        generator: Generator,
        discriminator: Callable[[Tensor, Tensor | None], Verdict] | None,
        hooks: Tricks,
        draw: RandomStreams,
        differentiates_inputs: bool,
    ):
        self.player: Player = player
        self.step = step  # rounds played so far
        self.real = differentiable(batch.real) if differentiates_inputs else batch.real
        self.extra = batch.extra
        self.generator = generator
        self.discriminator = discriminator
        self.is_ahead = False  # whether the discriminator has weights of later steps: tricks count no move
        self.draw = draw
        self._hooks = hooks
        self._differentiates_inputs = differentiates_inputs
        self._computed: dict[str, Any] = {}

    @property
    def latent(self) -> Tensor:
        """Latents for as many fakes as there are real samples, [B, latent_dim]."""
        return self._once("latent", self._draw_latent)

    @property
    def generated(self) -> Sample:
        """The generator's samples; they carry a gradient on the generator's turn only."""
        return self._once("generated", self._generate)

    @property
    def fake(self) -> Sample:
        """The samples that are judged as fake."""
        return self._once("fake", self._show)

    @property
    def verdicts(self) -> list[tuple[Sample, Verdict]]:
        """The samples that were judged in this turn so far, each with its verdict."""
        return self._once("verdicts", list)

    @property
    def on_real(self) -> Verdict:
        return self.judge(self.real)

    @property
    def on_fake(self) -> Verdict:
        return self.judge(self.fake)

    @property
    def targets(self) -> Targets:
        """Ones for the real samples and zeros for the fakes, changed by tricks."""
        return self._once("targets", self._aim)

    def decode(self, latent: Tensor) -> Sample:
        """Generates from the given latents instead of the prior's; the tricks' `latents` hooks apply."""
        return self.replace(latent=self._hooks.latents(latent, self)).generated

    def judge(self, sample: Sample) -> Verdict:
        """The verdict on a sample after the tricks' `inputs` hooks, cached by the identity of the sample."""
        for known, verdict in self.verdicts:
            if known is sample:
                return verdict
        assert self.discriminator is not None, "a matching objective needs no verdict"
        verdict = self.discriminator(*self._hooks.inputs(sample, self))
        self.verdicts.append((sample, verdict))
        return verdict

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, without the computed values that they make stale."""
        stale = set().union(*(STALE[name] for name in changes)) - set(changes)
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)  # as copy.copy would, in a tenth of its time
        other._computed = {name: value for name, value in self._computed.items() if name not in stale}
        for name, value in changes.items():
            if name in COMPUTED:
                other._computed[name] = value
            else:
                setattr(other, name, value)
        return other

    def _once(self, name: str, compute: Callable[[], Any]) -> Any:
        if name not in self._computed:
            self._computed[name] = compute()
        return self._computed[name]

    def _draw_latent(self) -> Tensor:
        n = len(self.real.x)
        return self._hooks.latents(self.generator.prior(self.draw, n, self.generator.latent_dim), self)

    def _generate(self) -> Sample:
        latent = self.latent
        with torch.set_grad_enabled(self.player == "generator"):
            return Sample(self.generator(latent, self.real.condition), self.real.condition)

    def _show(self) -> Sample:
        if self.player == "generator":
            return self.generated
        fake = self._hooks.fakes(self.generated, self)
        return differentiable(fake) if self._differentiates_inputs and not fake.x.requires_grad else fake

    def _aim(self) -> Targets:
        real = at_least_float32(self.on_real.logits)  # bf16 has no 0.999
        fake = at_least_float32(self.on_fake.logits)
        return self._hooks.targets(Targets(torch.ones_like(real), torch.zeros_like(fake)), self)


def differentiable(sample: Sample) -> Sample:
    """The same samples as a leaf of the graph, which gradients can be taken at."""
    return sample._replace(x=sample.x.detach().requires_grad_())
