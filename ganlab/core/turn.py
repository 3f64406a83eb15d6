"""The turn of a player in one step of a game."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ganlab.core.batch import Batch, Sample, Targets, Verdict, as_scalar, at_least_float32
from ganlab.core.players import Player

if TYPE_CHECKING:
    from ganlab.core.randomness import RandomStreams
    from ganlab.networks.base import Generator
    from ganlab.objectives.base import Objective
    from ganlab.tricks.composition import Tricks

# The attributes from which each cached value of a turn is computed.
COMPUTED_FROM: dict[str, set[str]] = {
    "latent": {"generator"},
    "generated": {"latent", "asked", "generator"},
    "shown": {"generated"},
    "fake": {"shown", "player"},  # tricks exchange fakes on the discriminator's turn only
    "posterior": {"asked", "encoder"},
    "code": {"posterior"},
    "decoded": {"code", "asked", "generator"},
    "labelled": {"encoder", "player"},  # on the discriminator's turn, codes are constants
    # Tricks may change the inputs of the discriminator for one player only. A change of `real` or `fake`
    # makes no verdict stale, because each verdict belongs to one `Sample` object, and is used for no other.
    "verdicts": {"discriminator", "player"},
    "targets": {"verdicts", "real", "fake", "player"},  # tricks may change targets for one player only
}
# The names of the attributes that `Turn.replace` accepts, in addition to those of networks.
REPLACEABLE = {"is_unrolled", *COMPUTED_FROM}.union(*COMPUTED_FROM.values())


@cache
def values_computed_from(attribute: str) -> frozenset[str]:
    """The names of the cached values that are computed from an attribute, directly or through others."""
    direct = {value for value, sources in COMPUTED_FROM.items() if attribute in sources}
    return frozenset(direct).union(*map(values_computed_from, direct))


@dataclass(eq=False)
class Turn:
    """One player's view of a step: real samples, fakes, and the discriminator's verdicts on both.

    Latents, samples, codes, verdicts and targets are computed when they are first used, and then cached. Only
    the discriminator's turn makes samples and codes without gradients.

    There are three kinds of generated samples. `generated` are the generator's outputs, which tricks never
    change; `shown` are these outputs as the objective shows them, by default unchanged; `fake` are the
    samples that the discriminator judges as fake. The last two differ only on the discriminator's turn, and
    only if a trick exchanges samples, as a replay buffer does.

    Args:
        step: the number of steps of this game before this turn.
        networks: the networks by name. The generator maps (latent, condition) to samples, the discriminator
            (samples, condition) to a verdict, and the encoder samples to codes.
        tricks: the tricks whose hooks change latents, fakes, inputs and targets.
        objective: it may replace the samples that are seen as real or as fake; None: there is no objective.
        differentiates_inputs: whether a trick takes gradients with respect to the real and fake samples.
        is_joint: whether the discriminator judges a sample together with its code.
        is_unrolled: whether the discriminator has weights of a trial update, which will be undone. A trick
            that counts turns leaves such turns out.
        scalars: what `log` adds to.
    """

    player: Player
    step: int
    batch: Batch
    networks: Mapping[str, Any]
    tricks: Tricks
    random: RandomStreams
    objective: Objective | None = None
    differentiates_inputs: bool = False
    is_joint: bool = False
    is_unrolled: bool = False
    scalars: dict[str, Tensor] = field(default_factory=dict)
    asked: Tensor | None = field(init=False)  # the conditions that the generator gets
    # The turn of which this one is a view, made by `seen_by` or `detached`. Its codes are used here.
    origin: Turn | None = field(init=False, default=None)
    is_detached: bool = field(init=False, default=False)  # whether `detached` made this turn

    def __post_init__(self) -> None:
        self.asked = self.batch.real.condition

    @property
    def of_discriminator(self) -> bool:
        """Whether this is the turn of the discriminator, which minimises its own loss on its verdicts."""
        return self.player == "discriminator"

    @property
    def generator(self) -> Generator:
        return self.networks["generator"]

    @property
    def discriminator(self) -> Any:
        return self.networks["discriminator"]

    @cached_property
    def real(self) -> Sample:
        """The samples that are judged as real; if the discriminator judges codes, with those of the encoder.

        On the discriminator's turn, codes are constants. Else a gradient with respect to the samples would
        flow through the encoder.
        """
        sample = self.batch.real
        if self.is_joint:
            sample = sample._replace(code=self.code.detach() if self.of_discriminator else self.code)
        if self.objective is not None:
            sample = self.objective.shown_as_real(sample, self)
        return as_leaf(sample) if self.differentiates_inputs else sample

    @cached_property
    def labelled(self) -> Sample:
        """The second batch, of labelled samples; if the discriminator judges codes, with expected ones."""
        sample = self.batch.labelled
        assert sample is not None
        code = self._infer(sample)[:, : self.generator.latent_dim] if self.is_joint else None
        return sample._replace(code=code)

    @cached_property
    def latent(self) -> Tensor:
        """The latents of as many fakes as the batch has samples, [B, latent_dim]."""
        latent = self.generator.prior(self.random, len(self.batch.real.x), self.generator.latent_dim)
        return self.tricks.apply_hook("latents", latent, self)

    @cached_property
    def generated(self) -> Sample:
        """The generator's outputs for the latents, unchanged by tricks."""
        return self._generate(self.latent)

    @cached_property
    def shown(self) -> Sample:
        """What the objective shows of `generated`."""
        if self.objective is None:
            return self.generated
        return self.objective.shown_as_fake(self.generated, self)

    @cached_property
    def fake(self) -> Sample:
        """The samples that are judged as fake: `shown`, or what tricks have exchanged them for."""
        if not self.of_discriminator:
            return self.shown
        fake = self.tricks.apply_hook("fakes", self.shown, self)
        return as_leaf(fake) if self.differentiates_inputs and not fake.x.requires_grad else fake

    @cached_property
    def posterior(self) -> Tensor:
        """What the encoder infers about the latents of the real samples, [B, num_outputs]."""
        if self.origin is not None:
            return self.origin.posterior
        return self._infer(self.batch.real._replace(condition=self.asked))

    @cached_property
    def code(self) -> Tensor:
        """The latents of the real samples, inferred or drawn from what was inferred, [B, latent_dim]."""
        if self.origin is not None:
            return self.origin.code
        if self.posterior.shape[1] == self.generator.latent_dim:
            return self.posterior
        mean, log_variance = self.posterior.chunk(2, 1)  # [B, latent_dim]
        noise = self.random.normal("posterior", *mean.shape).to(mean.dtype)
        return mean + (log_variance / 2).exp() * noise

    @cached_property
    def decoded(self) -> Sample:
        """The reconstructions of the real samples: what the generator makes of their codes."""
        if self.origin is None:
            return self.decode(self.code)
        decoded = self.origin.decoded
        return decoded.detach() if self.is_detached else decoded

    @cached_property
    def verdicts(self) -> list[tuple[Sample, Verdict]]:
        """The samples that were judged so far in this turn, each with its verdict; `judge` adds to this list.

        It is a cached property and not a field, so that copies can drop it like every other cached value.
        """
        return []

    @property
    def on_real(self) -> Verdict:
        return self.judge(self.real)

    @property
    def on_fake(self) -> Verdict:
        return self.judge(self.fake)

    @cached_property
    def targets(self) -> Targets:
        """Ones for the real samples and zeros for the fakes, changed by tricks."""
        real = at_least_float32(self.on_real.logits)  # bfloat16 cannot represent 0.999
        fake = at_least_float32(self.on_fake.logits)
        return self.tricks.apply_hook("targets", Targets(torch.ones_like(real), torch.zeros_like(fake)), self)

    def decode(self, latent: Tensor) -> Sample:
        """The samples that the generator makes from given latents, after the tricks' `latents` hooks."""
        return self._generate(self.tricks.apply_hook("latents", latent, self))

    def _infer(self, sample: Sample) -> Tensor:
        """What the encoder infers about the latents of samples, [B, num_outputs]."""
        with torch.set_grad_enabled(not self.of_discriminator):
            return at_least_float32(self.networks["encoder"](sample.x, sample.condition))

    def _generate(self, latent: Tensor) -> Sample:
        # `latent` was computed before this block, so that hooks on latents can compute gradients.
        with torch.set_grad_enabled(not self.of_discriminator):
            return Sample(self.generator(latent, self.asked), self.asked, latent)

    def judge(self, sample: Sample) -> Verdict:
        """The verdict on samples after the tricks' `inputs` hooks, cached by the identity of the `Sample`."""
        for judged, verdict in self.verdicts:
            if judged is sample:
                return verdict
        x, condition, code = self.tricks.apply_hook("inputs", sample, self)
        verdict = self.discriminator(x, condition, **({"code": code} if self.is_joint else {}))
        self.verdicts.append((sample, verdict))
        return verdict

    def log(self, name: str, value: Tensor | float) -> None:
        """Adds a number of this step, such as `turn.log("mine/spread", x.std())`, to those that are logged.

        The last value of a step counts. Raises `ConfigError` unless it is a number or a tensor []. At the
        end of the step, the names of columns that a run has itself are refused, and those of loss terms.
        """
        self.scalars[name] = as_scalar(name, value)

    def seen_by(self, player: Player) -> Turn:
        """The turn of another player with the same generated samples, codes and verdicts."""
        if player == self.player:
            return self
        return self._view(player, generated=self.generated, shown=self.shown, verdicts=self.verdicts)

    def detached(self) -> Turn:
        """The discriminator's turn on the same generated samples and codes, held constant."""
        generated = self.generated.detach()
        shown = generated if self.shown is self.generated else self.shown.detach()
        view = self._view("discriminator", generated=generated, shown=shown)
        view.is_detached = True
        view.__dict__.pop("decoded", None)  # it is detached when it is first used
        return view

    def _view(self, player: Player, **shared: Any) -> Turn:
        """The turn of another player on the same step.

        It has the same real samples, latents and codes, and what `shared` gives. Fakes and targets are
        computed again, because tricks may change them for one player only.
        """
        view = self.replace(player=player, real=self.real, **shared)
        view.origin = self
        # Computed again: only the discriminator sees constant codes, and what is shown may be a new object.
        if self.is_joint or self.real is self.shown:
            del view.__dict__["real"]
        return view

    def replace(self, **changes: Any) -> Self:
        """A copy with changed attributes or networks, without the cached values computed from them.

        If the copy keeps `verdicts`, both turns share this list, and use each other's verdicts.
        """
        assert changes.keys() <= REPLACEABLE | self.networks.keys()
        stale = frozenset().union(*map(values_computed_from, changes))
        networks = {name: changes.pop(name, network) for name, network in self.networks.items()}
        return self._copy(stale, {**changes, "networks": networks})

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
