"""The Lightning module of a run, and the phases that it plays."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial, reduce
from itertools import product
from typing import Any, Self

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer

from ganlab.core.batch import Batch, Sample, as_scalar, refuse_taken_name
from ganlab.core.distributed import broadcast_
from ganlab.core.errors import prefixing_all_keys, require
from ganlab.core.players import Player, path
from ganlab.core.profiling import profile_range
from ganlab.core.randomness import RandomStreams, reseed
from ganlab.game import Game
from ganlab.games import Playable, RunGames, main_part
from ganlab.training.play import LossTerms, Play, Weights
from ganlab.training.player_optimizer import PlayerOptimizer


class Phase:
    """A game with its play and its optimisers; together they can play a step.

    A run plays its phases one after the other: first one for each stage, then that of the main game.

    Args:
        game: a game, or several that are played as one.
        make_optimizer: the argument `make` of `PlayerOptimizer` for each player; in a composite of games, for
            each player of each part, such as "ab/generator".
        clip: the argument `clip` of `PlayerOptimizer`, with the same keys.
        seed: the seed of the run.
        name: the name of the stage, which precedes the names of its scalars; empty for the main game.
        steps: the number of steps; not used for the main game, which ends with the run.
        initialise: copies weights of earlier stages into the game before its first step; None: nothing does.
    """

    # The number of this process, counted from 0, and the number of processes that share each batch.
    # `GameModule.setup` sets both.
    rank, world_size = 0, 1

    def __init__(
        self, game: Playable, play: Play, make_optimizer: Mapping[Player, Any], clip: Mapping[Player, Any],
        seed: int, name: str = "", steps: int = 0, initialise: Callable[[], None] | None = None,
    ):  # fmt: skip
        self.game, self.play, self.seed = game, play, seed
        self.name, self.steps, self.initialise = name, steps, initialise
        # `GameModule` sets the next two attributes.
        self.main_game = main_part(game)  # the main game of the run, which counts the steps of all phases
        self.first_step = 0  # the number of steps of all phases before this one
        self.scalars: dict[str, Tensor] = {}
        self.player_optimizers: dict[str, PlayerOptimizer] = {}
        # The scalers of the losses; `GameModule.setup` replaces them in a run with precision=16-mixed.
        self.scalers = {player: GradScaler(enabled=False) for player in game.players}
        # For each player, the optimisers of the parts of the game in which it moves in this step, by the name
        # of the part. `active_players` decides in which parts it moves.
        self.moving: dict[Player, dict[str, PlayerOptimizer]] = {player: {} for player in game.players}
        for player, (name, part) in product(game.players, game.parts.items()):
            key = path(name, player)
            with prefixing_all_keys(f"games.{name}" if name else None, separator="."):
                optimizer = PlayerOptimizer(player, part.weights(player), make_optimizer[key], clip[key])
            self.player_optimizers[key] = self.moving[player][name] = optimizer

    @property
    def step(self) -> int:
        """The number of steps of this phase so far, for schedules and tricks; negative in earlier phases."""
        return self.main_game.run_step - self.first_step

    def play_step(self, batch: Batch) -> None:
        reseed(self.seed, self.rank, self.main_game.run_step)
        torch.set_autocast_cache_enabled(True)  # Lightning disables it and casts the weights in every pass
        with profile_range("the play"):
            self.play(self, batch)
        for part, game in self.game.parts.items():
            for name, value in (game.scalars | game.tricks.scalars()).items():
                refuse_taken_name(name, self.game.players)
                self.record(name, as_scalar(name, value), part)
            game.scalars.clear()

    def record(self, name: str, value: Tensor, part: str = "") -> None:
        self.scalars[path(self.name, part, name)] = value.detach()

    def active_players(self) -> tuple[Player, ...]:
        """The players that all tricks let move in this step, at least in one part of the game.

        To be called before the first of them moves, because a move may change the decisions of tricks.
        """
        self.moving = {player: {} for player in self.game.players}
        for player, (name, part) in product(self.game.players, self.game.parts.items()):
            if part.tricks.may_move(player, self.step):
                self.moving[player][name] = self.player_optimizers[path(name, player)]
        return tuple(player for player, parts in self.moving.items() if parts)

    def turn(self, player: Player, batch: Batch, *extra_key: str) -> Any:
        """A player's turn in this step. An extra key gives a second turn different random numbers."""
        key: tuple[int | str, ...] = (self.seed, self.main_game.run_step, player, *extra_key)
        random = RandomStreams(*key, device=batch.real.x.device, rank=self.rank, world_size=self.world_size)
        return self.game.turn(player, batch, random, self.step)

    def leading_turn(self, batch: Batch, *extra_key: str) -> Any:
        """The turn of the last player but the discriminator. The turns of all players are views of it.

        On the discriminator's turn, fakes have no gradient to the generator.
        """
        *_, lead = (player for player in self.game.players if player != "discriminator")
        return self.turn(lead, batch, *extra_key)

    def losses(self, turn: Any) -> dict[str, Tensor]:
        with profile_range(turn.player):
            return self.game.losses(turn, self.moving[turn.player])

    def step_ahead(self, terms_by_player: LossTerms) -> Weights:
        """Updates all players, and returns the old weights, from which `move` then starts.

        No hooks are called, and no loss terms are recorded.
        """
        self._differentiate(terms_by_player)
        old = {player: [w.detach().clone() for w in self._weights(player)] for player in terms_by_player}
        self._update(terms_by_player.keys())
        return old

    def move(self, terms_by_player: LossTerms, start: Weights | None = None) -> None:
        """Computes all gradients, then updates all players, or the weights `start` if they are given.

        The loss terms are recorded, and the hooks are called.
        """
        self._differentiate(terms_by_player)
        for player, terms in terms_by_player.items():
            for name, term in terms.items():  # the names in a composite begin with its part, as in "ab/cycle"
                part, _, term_name = name.rpartition("/")
                self.record(f"{player}/{term_name}", term, part)
        with torch.no_grad():
            for player, weights in (start or {}).items():
                torch._foreach_copy_(self._weights(player), weights)
        self._update(terms_by_player.keys())
        for player in terms_by_player:
            for part in self.moving[player]:
                game = self.game.parts[part]
                game.tricks.after_update(player, game.networks, self.step)

    def _weights(self, player: Player) -> list[Tensor]:
        return [weight for optimizer in self.moving[player].values() for weight in optimizer.weights]

    def _differentiate(self, terms_by_player: LossTerms) -> None:
        for i, (player, terms) in enumerate(terms_by_player.items(), start=1):
            loss, weights = reduce(torch.add, terms.values()), self._weights(player)
            with profile_range(player):
                for optimizer in self.moving[player].values():
                    optimizer.optimizer.zero_grad()
                # With `inputs`, the other player need not be frozen. The losses may share a graph, which the
                # last backward pass frees.
                scaler = self.scalers[player]
                if scaler.is_enabled():  # -inf, which ends the run, if every gradient has overflowed
                    self.record(f"loss_scale/{player}", scaler.scale(torch.ones_like(loss)).log2())
                scaler.scale(loss).backward(inputs=weights, retain_graph=i < len(terms_by_player))

    def _update(self, players: Iterable[Player]) -> None:
        for player in players:
            with profile_range(player):
                for part, optimizer in self.moving[player].items():
                    optimizer.update(self.step, self.scalers[player], partial(self.record, part=part))
                self.scalers[player].update()


class GameModule(pl.LightningModule):
    """Plays the phases of a run one after the other.

    `game` is the main game, which is evaluated and sampled. Its `run_step` is the number of steps of the run
    so far, in all phases (Lightning's `global_step` counts the steps of optimisers). Each step starts by
    seeding every random generator from the seed of the run and this number. So a step depends only on the
    seed, on its number and on the state before it. A run that was killed and resumed therefore equals the
    uninterrupted run bit for bit.

    Args:
        phases: the phases in the order in which they are played; the last one is that of the main game.

    Attributes:
        scalars: the scalars of the latest step by name, tensors [] on the device. The phase records them, and
            callbacks read them; reading a value waits for the device. The names are "player/term" for a loss
            term, "player/gradient_norm", and "trick/name" for a scalar of a trick. In a stage, they begin
            with the name of the stage and a slash. `log` adds others.
        metrics: the metrics by name; empty unless the step was evaluated.
        is_run: whether this is a run of ganlab, whose callbacks write the scalars. Any other Trainer gets
            them by Lightning's `log`, for its loggers and callbacks.
    """

    is_run = False

    def __init__(self, phases: Sequence[Phase]):
        super().__init__()
        self.automatic_optimization = False
        self.phases = phases
        games = RunGames({phase.name: phase.game for phase in phases})
        self.game, self.beside, self.before = games.game, games.beside, games.before
        self.scalars: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}
        first_step = 0
        for phase in phases:
            phase.main_game, phase.first_step = self.game, first_step
            first_step += phase.steps

    @property
    def parts(self) -> Mapping[str, Game]:
        """The main game, or its parts by name if it is a composite of games; the first is `game`."""
        return self.phases[-1].game.parts

    @property
    def phase(self) -> Phase:
        """The phase that plays the next step."""
        *stages, main = self.phases
        return next((stage for stage in stages if stage.step < stage.steps), main)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of all games, but those of finished stages stay in evaluation mode."""
        super().train(mode)
        for phase in self.phases[: self.phases.index(self.phase)]:
            for part in phase.game.parts.values():
                part.eval()
        return self

    def setup(self, stage: str) -> None:  # for Lightning, a stage is "fit" or "test"
        reason = "counts steps of Lightning's automatic optimisation, which a game does not use"
        remedy = "set max_epochs=1 and limit_train_batches=<steps>"
        require(self.trainer.max_steps < 0, reason, remedy, "max_steps", self.trainer.max_steps)
        for phase in self.phases:
            phase.rank, phase.world_size = self.trainer.global_rank, self.trainer.world_size
            if self.trainer.precision == "16-mixed":
                device = self.trainer.strategy.root_device.type
                phase.scalers = {player: GradScaler(device) for player in phase.scalers}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = ({player: s.state_dict() for player, s in phase.scalers.items()} for phase in self.phases)
        checkpoint["scalers"] = [*states]  # empty unless the precision is 16-mixed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for phase, states in zip(self.phases, checkpoint.get("scalers", ()), strict=False):
            for player, state in states.items():
                phase.scalers[player].load_state_dict(state)

    def configure_optimizers(self) -> list[Optimizer]:
        return [player.optimizer for phase in self.phases for player in phase.player_optimizers.values()]

    def training_step(self, dataloader_iter: Iterator[Any]) -> None:
        # The argument's name makes Lightning pass the iterator. If Lightning fetched the batches, it would
        # search each of them for tensors and inspect this signature in every step.
        try:
            # Autocast and float64 are off, so a batch does not depend on the precision of the run.
            with profile_range("data"), torch.autocast(self.device.type, enabled=False), ExitStack() as undo:
                undo.callback(torch.set_default_dtype, torch.get_default_dtype())
                torch.set_default_dtype(torch.float32)
                batch, _, _ = next(dataloader_iter)  # Lightning adds the indices of batch and loader
            self.play_step(self.trainer.precision_plugin.convert_input(batch))
        except StopIteration as end:  # Lightning would take it for the end of an epoch
            raise RuntimeError("the data ended, or a trick let a StopIteration through") from end

    def log(self, name: str, value: Tensor | float) -> None:  # type: ignore[override]
        """Adds a number of the latest step to `scalars`, for callbacks in their `on_train_batch_end`.

        In a run, `LogScalars` writes it, so it must be added before: in the place clock, measure or show.

        Args:
            value: a number or a tensor []; in a run of several processes, each of them logs its own, and the
                mean is written.

        Raises:
            ConfigError: the value is not one number, or the name is that of another column.
        """
        refuse_taken_name(name, self.phase.game.players)
        self.scalars[name] = as_scalar(name, value)

    def on_train_batch_end(self, *_: Any) -> None:
        if not self.is_run:
            for name, value in self.scalars.items():
                super().log(name, value, batch_size=1)

    def play_step(self, batch: Any) -> None:
        """Plays one step on a `Batch`, or on samples [B, ...], alone or with their conditions."""
        if not isinstance(batch, Batch):
            batch = Batch(Sample(batch) if isinstance(batch, Tensor) else Sample(*batch))
        phase = self.phase
        if phase.step == 0 and phase.initialise is not None:
            phase.initialise()
            for part in phase.game.parts.values():
                part.tricks.on_weights_loaded(part.networks)
        self.scalars = phase.scalars = {}
        phase.play_step(batch)
        self.game.run_step += 1
        # The saved state of a stage's game contains the step of the run at which the stage ended.
        for part in phase.game.parts.values():
            part.run_step = self.game.run_step
            if self.phase is not phase:
                broadcast_(part.buffers())  # checkpoints contain those of the first process
                part.eval()
