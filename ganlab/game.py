"""The game: networks, an objective and tricks make loss terms and samples. Needs no Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from ganlab.core.distributed import broadcast_, make_in_parallel
from ganlab.core.errors import ConfigError, require
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import (
    ALWAYS_AVAILABLE,
    Batch,
    Capability,
    Networks,
    Player,
    Sample,
    Turn,
    at_least_float32,
)
from ganlab.core.validation import check_whole_number
from ganlab.networks.base import Discriminator, Generator, evaluating
from ganlab.objectives.base import Objective
from ganlab.tricks.base import Trick, Tricks

Label = int | Tensor | None
BLOCK = 1000  # latents that are drawn at once


def like(network: nn.Module, x: Tensor) -> Tensor:
    """Data in the type of a network's weights."""
    return x.to(next(network.parameters()).dtype)


class SharedReference:
    """A game that is used without being owned: copies share it, and its weights are saved elsewhere."""

    def __init__(self, game: Game):
        self.game = game

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class Game(nn.Module):
    """Players, what they want, and the tricks between them.

    Args:
        networks: the bare players; tricks change them here.
        objective: makes the first terms.
        tricks: keyed by their names in the config.
        unavailable: what the way of playing, the machine and the data take, so that no trick may need it.
        autoencoder: a trained game in whose latents this one is played; None: in the data.

    Raises:
        ConfigError: a trick could not act here, or the objective could not train these networks.
    """

    def __init__(
        self,
        networks: Networks,
        objective: Objective,
        tricks: Mapping[str, Trick],
        unavailable: frozenset[str] = frozenset(),
        autoencoder: Game | None = None,
    ):
        super().__init__()
        self.objective = objective
        self.tricks = Tricks(tricks)
        labels = {Capability.LABELS} if (networks.num_classes or 0) > 1 else set()
        provided = (objective.provides | ALWAYS_AVAILABLE | labels) - unavailable
        self.tricks.check_capabilities(provided, type(objective).__name__)
        for thing in sorted(objective.needs & unavailable):
            raise ConfigError(f"objective {type(objective).__name__} needs {thing}: change one of them")
        objective.check_networks(networks)
        networks = self.tricks.networks(networks)
        self.generator: Generator = networks.generator
        self.discriminator: Discriminator | None = networks.discriminator
        self.num_classes = networks.num_classes
        if autoencoder is not None and (
            autoencoder.generator.encoder is None or autoencoder.generator.num_classes
        ):
            raise ConfigError(
                "code_of needs a game that trains an encoder and no classes: choose another stage"
            )
        self.autoencoder = None if autoencoder is None else SharedReference(autoencoder)
        self.step = 0  # rounds of the run that were played
        self.first_step = 0  # at this one, after the stages before it

    @property
    def players(self) -> tuple[Player, ...]:
        return self.objective.players

    @property
    def networks(self) -> Networks:
        return Networks(self.generator, self.discriminator, self.num_classes)

    @property
    def sampler(self) -> Generator:
        """The network whose samples are shown and judged: the generator, or a trick's copy of it."""
        return cast(Generator, self.tricks.sampler(self.generator))

    @property
    def steps_played(self) -> int:
        """Rounds of this game that were played: schedules and tricks know no others."""
        return self.step - self.first_step

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.generator.shape if self.autoencoder is None else self.autoencoder.game.shape

    def weights(self, player: Player) -> list[nn.Parameter]:
        """The trainable parameters of a player."""
        return [p for p in getattr(self, player).parameters() if p.requires_grad]

    def turn(self, player: Player, batch: Batch, random: RandomStreams) -> Turn:
        real, labelled = self._encode(batch.real), batch.labelled and self._encode(batch.labelled)
        return Turn(
            player,
            self.steps_played,
            Batch(real, labelled),
            self.generator,
            self.discriminator,
            self.tricks,
            random,
            differentiates_inputs=self.tricks.differentiates_inputs,
        )

    def losses(self, turn: Turn) -> dict[str, Tensor]:
        """The named terms that the player on turn minimises the sum of; scalars, at least float32."""
        terms = self.tricks.losses(turn, self.objective)
        return {name: at_least_float32(term).mean() for name, term in terms.items()}

    def plays(self, player: Player) -> bool:
        """Whether a player moves in this round."""
        return self.tricks.plays(player, self.steps_played)

    def on_weights_loaded(self) -> None:
        """Tells the tricks that weights were loaded."""
        self.tricks.on_weights_loaded(self.networks)

    def after(self, player: Player) -> None:
        self.tricks.after(player, self.networks, self.steps_played)

    def generate(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples [N, *shape] in the data's range from latents [N, latent_dim], with gradients."""
        return self._decode(self.sampler(latent, condition))

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The latents [N, latent_dim] that the encoder of such a game reads off samples; off their means."""
        sampler = self.sampler
        with evaluating(sampler):
            return sampler.encode(self._encode(Sample(like(sampler, x))).x)[:, : sampler.latent_dim]

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """As `generate`, by a network in evaluation mode."""
        with evaluating(self.sampler):
            return self.generate(latent, condition)

    @property
    def classifier(self) -> Discriminator:
        """The network that says the classes of samples: the discriminator, or a trick's copy of it.

        Raises:
            ConfigError: it tells none.
        """
        if self.discriminator is None or self.discriminator.classes is None:
            raise ConfigError(
                "this game has no discriminator that tells classes: add trick=semi_supervised or "
                "trick=auxiliary_classifier, or choose another metric"
            )
        return self.tricks.classifier(self.discriminator)

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    def classify(self, x: Tensor) -> Tensor:
        """The class logits [N, K] of samples [N, *shape], by a network in evaluation mode."""
        classifier = self.classifier
        with evaluating(classifier):
            return classifier(self._encode(Sample(like(classifier, x))).x).classes

    def _encode(self, sample: Sample) -> Sample:
        """Data as this game plays with them."""
        return (
            sample if self.autoencoder is None else sample._replace(x=self.autoencoder.game.encode(sample.x))
        )

    def _decode(self, made: Tensor) -> Tensor:
        return made if self.autoencoder is None else self.autoencoder.game.decode(made)

    def latents(self, n: int, seed: int = 0) -> Tensor:
        """The latents that `sample(n, seed)` uses, [n, latent_dim].

        Drawn in blocks of one size: torch's normal numbers depend on how many are drawn at once.
        """
        sampler = self.sampler
        weight = next(sampler.parameters())
        draw = RandomStreams(seed, "sample", device=weight.device)
        blocks = [sampler.prior(draw, BLOCK, sampler.latent_dim) for _ in range(0, max(n, 1), BLOCK)]
        return torch.cat(blocks)[:n].to(weight.dtype)

    # Not compiled, for evaluation and further shapes would each need a compilation.
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def sample(
        self, n: int, seed: int = 0, label: Label = None, batch_size: int = 250, rows: slice = slice(None)
    ) -> Tensor:
        """Samples [n, *shape] in the data's range; the same seed gives the same i-th latent, whatever n.

        The network is in evaluation mode meanwhile. A conditional generator is asked for the classes
        in turn, or for `label`: one for all, or one for each, [n]. Of the n samples only some `rows` may be
        made.

        Raises:
            ConfigError: a label for a generator without one, or outside of its classes; n is no whole number.
        """
        check_whole_number("n", n)
        z, classes = self.latents(n, seed), self.labels(n, label)
        parts = torch.arange(n)[rows].split(batch_size)
        with evaluating(self.sampler):
            return torch.cat([self.generate(z[i], None if classes is None else classes[i]) for i in parts])

    def sample_on_all(self, n: int, seed: int = 0, rows: slice | None = None, label: Label = None) -> Tensor:
        """As `sample`, each process making its part; all must call it, and all get the whole.

        Running statistics are each process's own: the first one's, which are saved, are used.
        """
        broadcast_(self.sampler.buffers())
        first, last, _ = (rows or slice(None)).indices(n)

        def make(part: slice) -> Tensor:
            return self.sample(n, seed, label, rows=slice(first + part.start, first + part.stop))

        return make_in_parallel(make, last - first)

    def labels(self, n: int, label: Label = None) -> Tensor | None:
        """The classes [n] that `sample` asks for; None for a generator that knows none."""
        num_classes = self.generator.num_classes
        if num_classes is None:
            if label is not None:
                raise ConfigError(
                    f"class={label}, but this generator knows no classes: "
                    "train it with trick=label_conditioning"
                )
            return None
        device = next(self.generator.parameters()).device
        if label is None:
            return torch.arange(n, device=device) % num_classes
        asked = torch.as_tensor(label, device=device)
        for wrong in asked[(asked < 0) | (asked >= num_classes)].flatten()[:1].tolist():
            raise ConfigError(f"class={wrong} must lie between 0 and {num_classes - 1}")
        return asked.expand(n)

    def compile(self, *_: Any, **settings: Any) -> None:
        """Compiles the players for the shapes of a round; what is sampled stays as it is.

        Tricks are not compiled: they may decide differently in every round.
        """
        # Simultaneous play runs backwards through one graph twice.
        torch._functorch.config.donated_buffer = False
        # All networks share a few lines of code, and torch counts the variants of a line.
        torch._dynamo.config.recompile_limit = 64
        for player in self.players:
            getattr(self, player).compile(dynamic=False, **settings)

    def get_extra_state(self) -> dict[str, Any]:
        return {"step": self.step, "class_counts": self.generator.class_counts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step = check_whole_number("step", state["step"])
        counts = state.get("class_counts")
        if counts is not None:
            known = isinstance(counts, list) and len(counts) == (self.generator.num_classes or len(counts))
            known = known and sum(check_whole_number("class_counts", n) for n in counts) > 0
            require(known, "class_counts", counts, "no numbers of samples", "restore the checkpoint")
        for network in self.modules():  # and what tricks have copied
            if isinstance(network, Generator):
                network.class_counts = counts or network.class_counts
