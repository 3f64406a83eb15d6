"""A game: the networks of the players, their objective and the tricks. A game needs no Trainer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from ganlab.core.batch import Batch, ConditionSource, Sample, at_least_float32
from ganlab.core.capability import BASE_CAPABILITIES
from ganlab.core.distributed import broadcast_, make_in_parallel
from ganlab.core.errors import ConfigError, completing_relative_keys, require
from ganlab.core.players import Networks, Player, network_names
from ganlab.core.randomness import RandomStreams
from ganlab.core.space import GameReference, Space
from ganlab.core.turn import Turn
from ganlab.core.validation import validated_whole_number
from ganlab.networks.base import Discriminator, Generator, evaluating, uncompiled
from ganlab.objectives.base import Objective
from ganlab.tricks.base import Trick
from ganlab.tricks.composition import Tricks

# Conditions [n, ...] for samples, one class for all of them, or a function from n to conditions.
Conditions = int | Tensor | Callable[[int], Tensor] | None
LATENT_BLOCK = 1000  # the number of latents in one draw


class Game(nn.Module):
    """The players' networks, their objective and the tricks that change both.

    Args:
        networks: the networks; the tricks change them in place.
        tricks: the tricks by their names in the config.
        unavailable: the capabilities that no objective or trick may need, because the play, the hardware or
            the data exclude them.
        space: the space in which the game is played; None: that of the data.
        lenders: the games whose networks this game may use; they follow it to other devices and precisions.

    Raises:
        ConfigError: a trick or the objective needs what is unavailable, or cannot handle these networks.
    """

    def __init__(
        self,
        networks: Networks,
        objective: Objective,
        tricks: Mapping[str, Trick],
        unavailable: frozenset[str] = frozenset(),
        space: Space | None = None,
        lenders: Iterable[Game] = (),
    ):
        super().__init__()
        self.objective = objective
        self.tricks = Tricks(tricks)
        provided = (objective.provides | BASE_CAPABILITIES | networks.capabilities()) - unavailable
        self.tricks.check_capabilities(provided, networks.needs() | objective.needs, type(objective).__name__)
        missing = " and ".join(sorted(objective.needs & unavailable))
        reason = f"needs {missing}, which the settings exclude"
        remedy = "choose another objective, or change what excludes it: compile=true, or flips and crops"
        require(not missing, reason, remedy, "objective", type(objective).__name__)
        with completing_relative_keys("objective"):
            objective.check_networks(networks)
        networks.check_codes()
        self.tricks.change_networks(networks)
        self.networks = networks  # as the tricks have changed them
        for name, network in networks.items():
            setattr(self, name, network)
        self.generator: Generator = networks.generator
        self.discriminator: Discriminator | None = networks.get("discriminator")
        self.players = objective.players  # the networks that each player updates
        self.space = space or Space(self.generator.shape)
        self._lenders = [*map(GameReference, lenders)]  # no submodules
        # The conditions of samples for which none are given; None: classes in turn, anything else is refused.
        self.conditions: ConditionSource | None = None
        self.scalars: dict[str, Tensor] = {}  # what objective and tricks have logged in this step
        # `GameModule` counts here: the number of steps of all games of the run so far.
        self.run_step = 0

    def presented(self, name: str) -> Any:
        """The network of this name for use outside of training: that of the game, or a trick's copy."""
        return self.tricks.presented(name, self.networks[name])

    @property
    def parts(self) -> dict[str, Game]:
        """The games that are played: this one, without a name. A composite of games has several."""
        return {"": self}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample of the data, without the batch dimension."""
        return self.space.data_shape

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What torch calls to move or convert all tensors; lenders follow."""
        for lender in self._lenders:
            lender.game._apply(fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def weights(self, player: Player) -> list[nn.Parameter]:
        """The trainable parameters that a player updates, without the parts that belong to another player."""
        owners: dict[nn.Parameter, Player] = {}
        modules = dict(self.named_modules(remove_duplicate=False))
        paths = [(path, owner) for owner, paths in self.players.items() for path in paths]
        for path, owner in sorted(paths, key=lambda pair: pair[0].count(".")):  # a part overrides its network
            known = "; ".join(f"{name}: {', '.join(updated)}" for name, updated in self.players.items())
            reason = f"has players that update {known}, but there is no {path}"
            require(path in modules, reason, key="objective", value=type(self.objective).__name__)
            owners |= dict.fromkeys(modules[path].parameters(), owner)
        return [weight for weight, owner in owners.items() if owner == player and weight.requires_grad]

    def turn(self, player: Player, batch: Batch, random: RandomStreams, step: int = 0) -> Turn:
        """A player's turn on a batch of data, with random numbers from `random`, after `step` steps."""
        labelled = batch.labelled and self._to_game_space(batch.labelled)
        batch = batch._replace(real=self._to_game_space(batch.real), labelled=labelled)
        return Turn(
            player=player,
            step=step,
            batch=batch,
            networks=self.networks,
            tricks=self.tricks,
            random=random,
            objective=self.objective,
            differentiates_inputs=any(trick.differentiates_inputs for trick in self.tricks.values()),
            is_joint=self.networks.code_dim > 0,
            scalars=self.scalars,
        )

    def losses(self, turn: Turn, moving: Collection[str] = ("",)) -> dict[str, Tensor]:
        """The named terms whose sum the player of this turn minimises; scalars of at least float32.

        It moves in the one part of this game, see `Games.losses`.
        """
        terms = self.tricks.losses(turn, self.objective)  # calls the objective, then the hooks of the tricks
        return {name: at_least_float32(term).mean() for name, term in terms.items()}

    def generate(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Generates samples in the data's range, [N, latent_dim] -> [N, *shape], differentiable."""
        made = self.presented("generator")(latent, condition)
        return self.space.leave(self.objective.presented(made, condition))

    @torch.no_grad()
    def encode(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """The codes of samples (and what they are told), [N, *shape] -> [N, latent_dim]."""
        with evaluating(self.presented("encoder")) as encoder:
            # A variational encoder returns the means of the codes first, and then their log-variances.
            return encoder(self._to_network_input(encoder, x), condition)[:, : self.generator.latent_dim]

    def generate_in_eval_mode(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """The same as `generate`, with the network in evaluation mode."""
        with evaluating(self.presented("generator")):
            return self.generate(latent, condition)

    @property
    def classifier(self) -> Discriminator:
        """The discriminator, or a trick's copy of it; raises `ConfigError` if it has no class head."""
        if self.discriminator is None or self.discriminator.class_head is None:
            remedy = "add trick=semi_supervised or trick=auxiliary_classifier, or choose another metric"
            raise ConfigError("the game has no discriminator that classifies", remedy)
        return self.presented("discriminator")

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """Class logits of samples, [N, *shape] -> [N, K], with the network in evaluation mode."""
        with uncompiled(), evaluating(self.classifier) as classifier:
            code = self.encode(x) if classifier.code_dim else None
            return classifier(self._to_network_input(classifier, x), code=code).class_logits

    def _to_game_space(self, sample: Sample) -> Sample:
        """Converts samples of the data, and their conditions, to the space in which this game is played."""
        condition = None if sample.condition is None else self.space.enter_condition(sample.condition)
        return Sample(self.space.enter(sample.x), condition)

    def _to_network_input(self, network: nn.Module, x: Tensor) -> Tensor:
        """Converts samples of the data to inputs of a network: in its space and precision."""
        return self._to_game_space(Sample(x.to(next(network.parameters()).dtype))).x

    def latents(self, n: int, seed: int = 0) -> Tensor:
        """The latents that `sample(n, seed)` uses, [n, latent_dim].

        They are drawn in blocks of a fixed size, since torch's normal numbers depend on the size of a draw.
        """
        sampler = self.presented("generator")
        weight = next(sampler.parameters())
        random = RandomStreams(seed, "sample", device=weight.device)
        starts = range(0, max(n, 1), LATENT_BLOCK)  # torch.cat needs at least one block, even for n = 0
        blocks = [sampler.prior(random, LATENT_BLOCK, sampler.latent_dim) for _ in starts]
        return torch.cat(blocks)[:n].to(weight.dtype)

    def sample(
        self,
        n: int,
        seed: int = 0,
        conditions: Conditions = None,
        batch_size: int = 250,
        rows: slice = slice(None),
    ) -> Tensor:
        """Samples [n, *shape] in the data's range, generated with the network in evaluation mode.

        Args:
            seed: the seed of the latents; the i-th latent does not depend on n.
            conditions: what the generator is told about the samples, see `asked`.
            rows: the slice of the n samples that is computed and returned.
        """
        n = validated_whole_number("n", n)
        latents, given = self.latents(n, seed), self._given(n, conditions)
        return self.generate_in_batches(latents[rows], given, batch_size, torch.arange(n)[rows])

    @torch.no_grad()
    def generate_in_batches(
        self, latents: Tensor, given: Tensor | None, batch_size: int = 250, rows: Tensor | None = None
    ) -> Tensor:
        """The samples of N latents and conditions, as `generate_in_eval_mode` returns them.

        Args:
            given: the conditions [M, ...], repeated if there are fewer than rows; None: there are none.
            rows: the rows of the conditions [N], which are taken batch by batch; None: the first N.
        """
        rows = torch.arange(len(latents)) if rows is None else rows
        chunks = zip(latents.split(batch_size), rows.split(batch_size), strict=True)
        with uncompiled():  # since evaluation mode and each new shape would need a compilation
            parts = [self.generate_in_eval_mode(made, self._taken(given, row)) for made, row in chunks]
        return torch.cat(parts)

    def sample_on_all_processes(
        self, n: int, seed: int = 0, rows: slice | None = None, conditions: Conditions = None
    ) -> Tensor:
        """The same as `sample`, computed in parts by all processes; each process must call it."""
        # Checkpoints contain the batch norm statistics of the first process, so all processes use these.
        broadcast_(self.presented("generator").buffers())
        first, last, _ = (rows or slice(None)).indices(n)
        return make_in_parallel(lambda part: self.sample(n, seed, conditions, rows=part), first, last)

    def asked(self, n: int, conditions: Conditions = None) -> Tensor | None:
        """The conditions [n, ...] of the samples that `sample` draws; None if the generator is told nothing.

        Args:
            conditions: a class, the condition of each sample, or a function from n to conditions. If there
                are fewer than n, they are repeated. None: those of `self.conditions`. Raises
                `ConfigError` if they are not what the generator is told.
        """
        return self._taken(self._given(n, conditions), torch.arange(n))

    def _taken(self, given: Tensor | None, rows: Tensor) -> Tensor | None:
        """Rows of given conditions, which are repeated, in the generator's precision and on its device."""
        if given is None:
            return None
        weight = next(self.generator.parameters())
        taken = given[rows % len(given)]
        return taken.to(weight) if taken.is_floating_point() else taken.to(weight.device)

    def _given(self, n: int, conditions: Conditions) -> Tensor | None:
        """The conditions [M, ...] from which those of n samples are taken, see `asked`."""
        if (spec := self.generator.condition) is None:
            remedy = "remove it, or train the game with trick=label_conditioning"
            require(conditions is None, "the generator is told nothing", remedy, "condition")
            return None
        if conditions is None:
            classes = self.generator.num_classes
            conditions = self.conditions or (None if classes is None else lambda n: torch.arange(n) % classes)
        remedy = "give condition=<a file, a folder or a split of the data>"
        require(conditions is not None, f"the generator needs a condition: {spec.kind}", remedy, "condition")
        given = spec.batch(conditions(n) if callable(conditions) else conditions)
        require(len(given) > 0 or n == 0, "has no rows", "give one at least", "condition", list(given.shape))
        return spec.validated(self.space.enter_condition(given))

    def compile(self, *_: Any, **settings: Any) -> None:
        """Compiles the players for the shapes of a step; sampling stays uncompiled.

        Tricks are not compiled, because their decisions may change from step to step.
        """
        # A graph with donated buffers allows one backward pass; simultaneous play needs two.
        torch._functorch.config.donated_buffer = False
        # All networks run through the same lines of code, and torch limits how often one line is compiled.
        torch._dynamo.config.cache_size_limit = 64
        for name in network_names(self.players):
            self.networks[name].compile(dynamic=False, **settings)

    def get_extra_state(self) -> dict[str, Any]:
        """The step of the run, and the number of training samples in each class.

        The generator has these class counts from `build_game`. The trick ema draws classes in proportion to
        them. A game that is loaded has no data to count, so its class counts come from the checkpoint.
        """
        return {"step": self.run_step, "class_counts": self.generator.class_counts}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.run_step = validated_whole_number("step", state["step"])
        if (counts := state.get("class_counts")) is None:
            return
        num_classes = self.generator.num_classes  # None: the data may have any number of classes
        fits = isinstance(counts, list) and (num_classes is None or num_classes == len(counts))
        is_valid = fits and sum(validated_whole_number("class_counts", n) for n in counts) > 0
        require(is_valid, "needs one count for each class", "restore the checkpoint", "class_counts", counts)
        for network in self.modules():  # including copies made by tricks
            if isinstance(network, Generator):
                network.class_counts = counts
