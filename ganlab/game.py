"""The game: two players, their objective and the tricks. It samples and computes losses without a Trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from ganlab.core.distributed import broadcast_, make_in_parallel
from ganlab.core.errors import UNSET, ConfigError, completing, require
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


class SharedReference:
    """A reference to a game that belongs to another one: it is not copied, moved or saved with its user."""

    def __init__(self, game: Game):
        self.game = game

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class Game(nn.Module):
    """The players' networks, their objective and the tricks that change both.

    Args:
        networks: without tricks, which change them here.
        objective: computes the first loss terms.
        tricks: by their names in the config.
        unavailable: capabilities that no objective or trick may need, because of the play, the hardware or
            the data.
        autoencoder: the trained game of an earlier stage in whose latent space this game is played (the
            setting `code_of`). Real samples are encoded, and generated ones decoded. None: the data space.

    Raises:
        ConfigError: a trick or the objective needs what is unavailable, or cannot handle these networks.
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
        missing = " and ".join(sorted(objective.needs & unavailable))
        reason = f"needs {missing}, which the settings exclude"
        remedy = "choose another objective, or change what excludes it, such as compile=true"
        require(not missing, "objective", type(objective).__name__, reason, remedy)
        with completing("objective"):
            objective.check_networks(networks)
        self.tricks.networks(networks)
        self.generator: Generator = networks.generator
        self.discriminator: Discriminator | None = networks.discriminator
        self.num_classes = networks.num_classes
        self.autoencoder = None if autoencoder is None else SharedReference(autoencoder)
        if autoencoder is not None:
            usable = autoencoder.generator.encoder is not None and not autoencoder.generator.num_classes
            reason = "needs a stage with an encoder and without classes"
            require(usable, "code_of", UNSET, reason, "choose another stage")
        self.step = 0  # number of steps of the run so far
        self.first_step = 0  # steps of the run before this game, in earlier stages

    @property
    def players(self) -> tuple[Player, ...]:
        return self.objective.players

    @property
    def networks(self) -> Networks:
        return Networks(self.generator, self.discriminator, self.num_classes)

    @property
    def sampler(self) -> Generator:
        """The network that samples are drawn from: the generator, or a trick's copy of it."""
        return cast(Generator, self.tricks.apply_hook("sampler", self.generator))

    @property
    def steps_played(self) -> int:
        """The number of steps of this game so far, which schedules and tricks depend on."""
        return self.step - self.first_step

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch dimension."""
        return self.generator.shape if self.autoencoder is None else self.autoencoder.game.shape

    def weights(self, player: Player) -> list[nn.Parameter]:
        """The trainable parameters of a player."""
        return [p for p in getattr(self, player).parameters() if p.requires_grad]

    def turn(self, player: Player, batch: Batch, random: RandomStreams) -> Turn:
        """A player's turn in this step on a batch of data, with random numbers from `random`."""
        return Turn(
            player,
            self.steps_played,
            Batch(self._encode(batch.real), batch.labelled and self._encode(batch.labelled)),
            self.generator,
            self.discriminator,
            self.tricks,
            random,
            differentiates_inputs=any(trick.differentiates_inputs for trick in self.tricks.values()),
        )

    def losses(self, turn: Turn) -> dict[str, Tensor]:
        """The named terms whose sum the player on turn minimises; scalars of at least float32."""
        terms = self.tricks.losses(turn, self.objective)
        return {name: at_least_float32(term).mean() for name, term in terms.items()}

    def plays(self, player: Player) -> bool:
        """Whether a player moves in this step."""
        return self.tricks.plays(player, self.steps_played)

    def on_weights_loaded(self) -> None:
        """Is called after weights were loaded; calls the hook of the tricks."""
        self.tricks.on_weights_loaded(self.networks)

    def after_update(self, player: Player) -> None:
        """Calls the tricks' `after` hooks; the training loop calls it after each update of a player."""
        self.tricks.after(player, self.networks, self.steps_played)

    def generate(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Samples [N, *shape] in the data's range from latents [N, latent_dim], with gradients."""
        samples = self.sampler(latent, condition)
        return samples if self.autoencoder is None else self.autoencoder.game.decode(samples)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The latents [N, latent_dim] that the encoder infers from samples [N, *shape]: codes, or means."""
        sampler = self.sampler
        with evaluating(sampler):
            return sampler.encode(self._input(sampler, x))[:, : sampler.latent_dim]

    def decode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """The same as `generate`, by a network in evaluation mode."""
        with evaluating(self.sampler):
            return self.generate(latent, condition)

    @property
    def classifier(self) -> Discriminator:
        """The network that classifies samples: the discriminator, or a trick's copy of it.

        Raises:
            ConfigError: it does not classify.
        """
        if self.discriminator is None or self.discriminator.classes is None:
            raise ConfigError(
                "the game has no discriminator that classifies",
                "add trick=semi_supervised or trick=auxiliary_classifier, or choose another metric",
            )
        return self.tricks.apply_hook("classifier", self.discriminator)

    @torch.no_grad()
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    def classify(self, x: Tensor) -> Tensor:
        """The class logits [N, K] of samples [N, *shape], by a network in evaluation mode."""
        classifier = self.classifier
        with evaluating(classifier):
            return classifier(self._input(classifier, x)).classes

    def _encode(self, sample: Sample) -> Sample:
        """Samples of the data as samples of the space in which this game is played."""
        if self.autoencoder is None:
            return sample
        return sample._replace(x=self.autoencoder.game.encode(sample.x))

    def _input(self, network: nn.Module, x: Tensor) -> Tensor:
        """Samples of the data as inputs of a network, in the precision of its weights."""
        return self._encode(Sample(x.to(next(network.parameters()).dtype))).x

    def latents(self, n: int, seed: int = 0) -> Tensor:
        """The latents that `sample(n, seed)` uses, [n, latent_dim].

        They are drawn in blocks of a fixed size, since torch's normal numbers depend on the size of a draw.
        """
        sampler = self.sampler
        weight = next(sampler.parameters())
        random = RandomStreams(seed, "sample", device=weight.device)
        blocks = [sampler.prior(random, BLOCK, sampler.latent_dim) for _ in range(0, max(n, 1), BLOCK)]
        return torch.cat(blocks)[:n].to(weight.dtype)

    # Not compiled, since evaluation mode and each new shape would need a compilation.
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def sample(
        self, n: int, seed: int = 0, label: Label = None, batch_size: int = 250, rows: slice = slice(None)
    ) -> Tensor:
        """Samples [n, *shape] in the data's range, by a network in evaluation mode.

        Args:
            seed: determines the i-th latent, independently of n.
            label: for a conditional generator, the class of all samples or of each, [n]; None: all in turn.
            rows: the part of the n samples that is computed and returned.

        Raises:
            ConfigError: n is not a whole number, or the generator cannot generate the class.
        """
        check_whole_number("n", n)
        latents, classes = self.latents(n, seed), self.labels(n, label)
        parts = torch.arange(n)[rows].split(batch_size)
        with evaluating(self.sampler):
            return torch.cat(
                [self.generate(latents[i], None if classes is None else classes[i]) for i in parts]
            )

    def sample_on_all_ranks(
        self, n: int, seed: int = 0, rows: slice | None = None, label: Label = None
    ) -> Tensor:
        """The same as `sample`, computed in parts by all processes, each of which must call it.

        Every process uses the running statistics of the first one, because those are saved.
        """
        broadcast_(self.sampler.buffers())
        first, last, _ = (rows or slice(None)).indices(n)

        def make(part: slice) -> Tensor:
            return self.sample(n, seed, label, rows=slice(first + part.start, first + part.stop))

        return make_in_parallel(make, last - first)

    def labels(self, n: int, label: Label = None) -> Tensor | None:
        """The classes [n] of the samples of `sample`; None for a generator without classes.

        Raises:
            ConfigError: a label for a generator without classes, or one that is not among its classes.
        """
        num_classes, remedy = self.generator.num_classes, "train it with trick=label_conditioning"
        if num_classes is None:
            require(label is None, "class", label, "the generator has no classes", remedy)
            return None
        device = next(self.generator.parameters()).device
        if label is None:
            return torch.arange(n, device=device) % num_classes
        classes = torch.as_tensor(label, device=device)
        for wrong in classes[(classes < 0) | (classes >= num_classes)].flatten()[:1].tolist():
            raise ConfigError(f"must lie between 0 and {num_classes - 1}", key="class", value=wrong)
        return classes.expand(n)

    def compile(self, *_: Any, **settings: Any) -> None:
        """Compiles the players for the shapes of a step; sampling stays uncompiled.

        Tricks are not compiled, because their decisions may differ in every step.
        """
        # Simultaneous play runs backward through one graph twice.
        torch._functorch.config.donated_buffer = False
        # All networks share a few lines of code, and torch limits the compiled variants of a line.
        torch._dynamo.config.recompile_limit = 64
        for player in self.players:
            getattr(self, player).compile(dynamic=False, **settings)

    def get_extra_state(self) -> dict[str, Any]:
        return {"step": self.step, "class_counts": self.generator.class_counts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.step = check_whole_number("step", state["step"])
        counts = state.get("class_counts")
        if counts is not None:
            valid = isinstance(counts, list) and len(counts) == (self.generator.num_classes or len(counts))
            valid = valid and sum(check_whole_number("class_counts", n) for n in counts) > 0
            require(valid, "class_counts", counts, "needs one count for each class", "restore the checkpoint")
        for network in self.modules():  # including copies made by tricks
            if isinstance(network, Generator):
                network.class_counts = counts or network.class_counts
