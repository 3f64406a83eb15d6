"""The vocabulary of the game: what a player sees on its turn, nothing computed before it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ganlab.networks.base import Discriminator, Generator
    from ganlab.randomness import Draw
    from ganlab.tricks.base import Tricks

Player = Literal["discriminator", "generator"]


class Offer(StrEnum):
    """What an objective or a data set may offer, and a trick may need or take."""

    DISCRIMINATOR = "a discriminator"
    SCORES = "scores"  # the discriminator's logits: some objectives judge by its features alone
    SIGNS = "logits that are positive where the discriminator takes a sample for real"
    TARGETS = "targets"
    COSTS = "costs of both players that are never negative"
    FAKE_COSTS = "a generator's cost of each fake by itself"
    MOVES = "the say in who moves"
    LASTING_MOVES = "moves of the discriminator that are not taken back later"
    GENERATOR_TERM = "the generator's adversarial term"
    ZERO_SUM = "a generator that minimises log(1 - D) (objective=minimax)"
    LABELS = "labels"
    EXTRA = "labelled samples beside the batch (such as data.labelled=100)"
    ONE_PROCESS = "a single process"
    SECOND_DERIVATIVES = "second derivatives (compile=false)"
    DISCRIMINATOR_SCALE = "the scale of the discriminator's weights"
    GENERATOR_SCALE = "the scale of the generator's weights"
    GENERATOR_NORM = "the generator's batch norm"
    SINGLE_SAMPLES = "samples that are judged one by one"


# What there is to be had whatever the objective and the data.
EVERYWHERE = frozenset(Offer) - {
    *(Offer.DISCRIMINATOR, Offer.SCORES, Offer.SIGNS, Offer.TARGETS, Offer.COSTS, Offer.FAKE_COSTS),
    *(Offer.ZERO_SUM, Offer.LABELS),
}


class Sample(NamedTuple):
    """Samples and what they are conditioned on."""

    x: Tensor  # [B, ...]
    condition: Tensor | None = None  # class [B], image [B, C, H, W], embedding [B, E]

    def detach(self) -> Sample:
        return self._replace(x=self.x.detach())


class Batch(NamedTuple):
    """What the data give in one round."""

    real: Sample
    extra: Sample | None = None  # a second stream: labelled or paired data


class Verdict(NamedTuple):
    """What the discriminator says of samples."""

    logits: Tensor  # [B], or [B, h, w] over patches
    features: Tensor  # [B, F]
    classes: Tensor | None = None  # [B, K] class logits, where the head has them


class Targets(NamedTuple):
    """What the discriminator should answer, as a probability of being real; shaped like the logits."""

    real: Tensor
    fake: Tensor


def accurate(x: Tensor) -> Tensor:
    """At least float32: half types are raised, float64 stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Networks(NamedTuple):
    """The players' networks; direct matching has no discriminator."""

    generator: Generator
    discriminator: Discriminator | None
    num_classes: int | None  # of the data; None: unlabelled

    @property
    def judge(self) -> Discriminator:
        """The discriminator, for who needs one."""
        assert self.discriminator is not None
        return self.discriminator


# Which computed values a change makes stale.
STALE = {
    "player": {"fake", "targets", "verdicts"},
    "real": {"latent", "made", "fake", "targets"},
    "latent": {"made", "fake", "targets"},
    "generator": {"latent", "made", "fake", "targets"},
    "made": {"fake", "targets"},
    "fake": {"targets"},
    "discriminator": {"verdicts", "targets"},
    "verdicts": {"targets"},
    "ahead": set(),
}
COMPUTED = {"latent", "made", "fake", "targets", "verdicts"}


class Turn:
    """One player's view of a round: real samples, fakes, and the discriminator's verdicts on both.

    `latent -> made -> fake`: `made` is what the generator made, `fake` what is judged; on the
    discriminator's turn a trick (a replay buffer) may stand between them.
    """

    def __init__(
        self,
        player: Player,
        step: int,
        batch: Batch,
        generator: Generator,
        discriminator: Callable[[Tensor, Tensor | None], Verdict] | None,
        hooks: Tricks,
        draw: Draw,
        differentiates_inputs: bool,
    ):
        self.player: Player = player
        self.step = step  # rounds played so far
        self.real = differentiable(batch.real) if differentiates_inputs else batch.real
        self.extra = batch.extra
        self.generator = generator
        self.discriminator = discriminator
        self.ahead = False  # whether the discriminator is at weights to come: tricks count no such move
        self.draw = draw
        self._hooks = hooks
        self._differentiates_inputs = differentiates_inputs
        self._computed: dict[str, Any] = {}

    @property
    def latent(self) -> Tensor:
        """Latents for as many fakes as there are real samples, [B, latent_dim]."""
        return self._once("latent", self._draw_latent)

    @property
    def made(self) -> Sample:
        """What the generator made; with a gradient on its own turn only."""
        return self._once("made", self._make)

    @property
    def fake(self) -> Sample:
        """What is judged as fake."""
        return self._once("fake", self._show)

    @property
    def verdicts(self) -> list[tuple[Sample, Verdict]]:
        """What the discriminator has said so far in this turn."""
        return self._once("verdicts", list)

    @property
    def on_real(self) -> Verdict:
        return self.critic(self.real)

    @property
    def on_fake(self) -> Verdict:
        return self.critic(self.fake)

    @property
    def targets(self) -> Targets:
        """Ones for the real samples and zeros for the fakes, changed by tricks."""
        return self._once("targets", self._aim)

    def decode(self, latent: Tensor) -> Sample:
        """What the generator makes of other latents than those of its prior; tricks change these likewise."""
        return self.replace(latent=self._hooks.latents(latent, self)).made

    def critic(self, sample: Sample) -> Verdict:
        """The verdict on a sample seen through the tricks' inputs; remembered by the sample's identity."""
        for known, verdict in self.verdicts:
            if known is sample:
                return verdict
        assert self.discriminator is not None, "a matching objective asked for a verdict"
        verdict = self.discriminator(*self._hooks.inputs(sample, self))
        self.verdicts.append((sample, verdict))
        return verdict

    def replace(self, **changes: Any) -> Self:
        """The same turn with other values; drops what that makes stale."""
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

    def _make(self) -> Sample:
        latent = self.latent
        with torch.set_grad_enabled(self.player == "generator"):
            return Sample(self.generator(latent, self.real.condition), self.real.condition)

    def _show(self) -> Sample:
        if self.player == "generator":
            return self.made
        fake = self._hooks.fakes(self.made, self)
        return differentiable(fake) if self._differentiates_inputs and not fake.x.requires_grad else fake

    def _aim(self) -> Targets:
        real, fake = accurate(self.on_real.logits), accurate(self.on_fake.logits)  # bf16 has no 0.999
        return self._hooks.targets(Targets(torch.ones_like(real), torch.zeros_like(fake)), self)


def differentiable(sample: Sample) -> Sample:
    """The same samples as a leaf with respect to which one can differentiate."""
    return sample._replace(x=sample.x.detach().requires_grad_())
