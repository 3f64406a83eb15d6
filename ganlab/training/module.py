"""The Lightning module of a run, the stages that it plays, and the optimisers of their players."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab.core.distributed import all_reduce_mean_
from ganlab.core.errors import ConfigError, require
from ganlab.core.profiling import profile_range
from ganlab.core.randomness import RandomStreams, reseed
from ganlab.core.schedules import ScheduleLike, as_schedule, at_step, has_schedule, nonzero_schedule
from ganlab.core.turn import Batch, Player, Sample, Turn
from ganlab.data.sources import LabelledBatch, Samples
from ganlab.game import Game
from ganlab.training.play import LossTerms, Play, Weights


class PlayerOptimizer:
    """The optimiser of one player, the schedules of its hyper-parameters, and the clipping of its gradient.

    Args:
        make: a `functools.partial` that makes the optimiser from the weights. Its keywords are the
            hyper-parameters, and their values may be schedules.
        clip: the maximum norm of the gradient of all weights; None: the gradient is not clipped. With
            clipping, the norm is recorded.

    Raises:
        ConfigError: the optimiser does not accept a value, or a schedule becomes negative.
    """

    def __init__(self, player: Player, weights: list[nn.Parameter], make: Any, clip: ScheduleLike | None):
        self.player, self.weights = player, weights
        self.clip = None if clip is None else nonzero_schedule(f"clip.{player}", clip)
        self.schedules = {name: value for name, value in make.keywords.items() if has_schedule(value)}
        for name, value in self.schedules.items():
            for schedule in value if isinstance(value, list) else [value]:  # `betas` is a list
                # Called for its errors alone. Its result is not needed, because `at_step` also accepts the
                # numbers and schedules as they are.
                as_schedule(f"optimizer.{player}.{name}", schedule, "[0, inf]")
        try:
            self.optimizer: Optimizer = make(weights, **self._scheduled_values(step=0))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(str(error), key=f"optimizer.{player}") from error

    def _scheduled_values(self, step: int) -> dict[str, Any]:
        return {name: at_step(value, step) for name, value in self.schedules.items()}

    def update(self, step: int, record: Callable[[str, Tensor], None]) -> None:
        """Updates the weights by their gradients, with the scheduled values at a step of the game."""
        for group in self.optimizer.param_groups:
            group.update(self._scheduled_values(step))
        all_reduce_mean_([weight.grad for weight in self.weights if weight.grad is not None])
        if self.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.weights, self.clip(step))
            record(f"{self.player}/gradient_norm", norm)
        self.optimizer.step()
        torch.clear_autocast_cache()  # it holds casts of the old weights


class Stage:
    """A game with its play and its optimisers; together they can play a step.

    In this module and in `ganlab.training.build`, the main game counts as the last stage. `game.run_step`
    counts the steps of the whole run. Schedules receive `game.game_step`, the steps since this game began.

    Args:
        make_optimizer: the argument `make` of `PlayerOptimizer` for each player.
        clip: the argument `clip` of `PlayerOptimizer` for each player.
        seed: the seed of the run.
        name: the name of the stage, which precedes recorded names; empty for the main game.
        steps: the number of steps of the stage; not used for the main game, which ends with the run.
        initialise: a function that copies weights of earlier stages into the game, before the first step of
            this one; None: there is nothing to copy.
    """

    # The index of this process, and the number of processes that share each batch; set by `GameModule.setup`.
    rank, world_size = 0, 1

    def __init__(
        self, game: Game, play: Play, make_optimizer: Mapping[Player, Any], clip: Mapping[Player, Any],
        seed: int, name: str = "", steps: int = 0, initialise: Callable[[], None] | None = None,
    ):  # fmt: skip
        self.game, self.play, self.seed = game, play, seed
        self.name, self.steps, self.initialise = name, steps, initialise
        self.scalars: dict[str, Tensor] = {}
        self.player_optimizers = {
            player: PlayerOptimizer(player, game.weights(player), make_optimizer[player], clip[player])
            for player in game.players
        }

    def play_step(self, batch: Samples | LabelledBatch) -> None:
        """Plays one step on a batch from a loader; see `GameModule.play_step`."""
        # A batch is x, or (x, labels), or (x, labels, x of the labelled batch, labels of the labelled batch).
        parts: Any = (batch, None) if isinstance(batch, Tensor) else batch
        x, labels, *labelled = parts
        reseed(self.seed, self.rank, self.game.run_step)
        torch.set_autocast_cache_enabled(True)  # Lightning disables it and casts the weights in every pass
        with profile_range("the play"):
            self.play(self, Batch(Sample(x, labels), Sample(*labelled) if labelled else None))
        for name, value in self.game.tricks.scalars().items():
            self.record(name, value)
        self.game.run_step += 1

    def record(self, name: str, value: Tensor) -> None:
        self.scalars[f"{self.name}/{name}" if self.name else name] = value.detach()

    def active_players(self) -> tuple[Player, ...]:
        """The players that move in this step.

        To be called before the first of them moves, because a move may change which players may move.
        """
        return tuple(player for player in self.game.players if self.game.may_move(player))

    def turn(self, player: Player, batch: Batch, *extra_key: str) -> Turn:
        """A player's turn in this step. An extra key gives a second turn different random numbers."""
        key = (self.seed, self.game.run_step, player, *extra_key)
        ranks = {"rank": self.rank, "world_size": self.world_size}
        return self.game.turn(player, batch, RandomStreams(*key, device=batch.real.x.device, **ranks))

    def losses(self, turn: Turn) -> dict[str, Tensor]:
        with profile_range(turn.player):
            return self.game.losses(turn)

    def step_ahead(self, terms_by_player: LossTerms) -> Weights:
        """Updates all players for a look at the gradients one step ahead, as in extragradient.

        No hooks are called, and no loss terms are recorded.

        Returns:
            The old weights, from which `move` then starts.
        """
        self._differentiate(terms_by_player)
        old = {player: [w.detach().clone() for w in self.game.weights(player)] for player in terms_by_player}
        self._update(terms_by_player.keys())
        return old

    def move(self, terms_by_player: LossTerms, start: Weights | None = None) -> None:
        """Computes all gradients, then updates all players; records the loss terms, and calls the hooks.

        Args:
            terms_by_player: the loss terms of each player.
            start: the weights to which the update is applied; None: the current ones.
        """
        self._differentiate(terms_by_player)
        for player, terms in terms_by_player.items():
            for name, term in terms.items():
                self.record(f"{player}/{name}", term)
        with torch.no_grad():
            for player, weights in (start or {}).items():
                torch._foreach_copy_([*self.game.weights(player)], weights)
        self._update(terms_by_player.keys())
        for player in terms_by_player:
            self.game.after_update(player)

    def _differentiate(self, terms_by_player: LossTerms) -> None:
        for i, (player, terms) in enumerate(terms_by_player.items(), start=1):
            loss, weights = reduce(torch.add, terms.values()), self.player_optimizers[player].weights
            with profile_range(player):
                self.player_optimizers[player].optimizer.zero_grad()
                # With `inputs`, the other player need not be frozen. The losses may share a graph, which the
                # last backward pass frees.
                loss.backward(inputs=weights, retain_graph=i < len(terms_by_player))

    def _update(self, players: Iterable[Player]) -> None:
        for player in players:
            with profile_range(player):
                self.player_optimizers[player].update(self.game.game_step, self.record)


class GameModule(pl.LightningModule):
    """Plays the stages of a run one after the other.

    `game` is the main game, which is evaluated and sampled. Its `step` counts the steps of the whole run
    (Lightning's `global_step` counts the steps of optimisers). Each step starts by seeding every random
    generator from the seed of the run and the number of the step. So a step depends only on the seed, on its
    number and on the state before it. A run that was killed and resumed therefore equals the uninterrupted
    run bit for bit.

    Args:
        stages: the stages in the order in which they are played; the last one is the main game. The
            constructor sets `first_step` of each game.

    Attributes:
        scalars: the scalars of the latest step by name, tensors [] on the device. The stage records them, and
            callbacks read them; reading a value waits for the device. The names are "player/term" for a loss
            term, "player/gradient_norm", and "trick/name" for a scalar of a trick. In a stage before the main
            game, they begin with the name of the stage and a slash.
        metrics: the metrics by name; empty unless the step was evaluated.
    """

    def __init__(self, stages: Sequence[Stage]):
        super().__init__()
        self.automatic_optimization = False
        self.stages = stages
        *earlier, last = stages
        self.game = last.game
        # Checkpoints contain the weights of earlier games under the names before.<stage>.game.<weight>.
        self.before = nn.ModuleDict({stage.name: nn.ModuleDict({"game": stage.game}) for stage in earlier})
        self.scalars: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}
        for previous, stage in pairwise(stages):
            # The games count the steps of the run, so each game needs to know at which of them it begins.
            stage.game.first_step = previous.game.first_step + previous.steps

    @property
    def stage(self) -> Stage:
        """The stage that plays the next step."""
        step, earlier, main = self.game.run_step, self.stages[:-1], self.stages[-1]
        return next((stage for stage in earlier if step < stage.game.first_step + stage.steps), main)

    def setup(self, stage: str) -> None:
        reason = "counts steps of Lightning's automatic optimisation, and a game takes none"
        remedy = "set max_epochs=1 and limit_train_batches=<steps>"
        require(self.trainer.max_steps < 0, reason, remedy, "max_steps", self.trainer.max_steps)
        for game_stage in self.stages:
            game_stage.rank, game_stage.world_size = self.trainer.global_rank, self.trainer.world_size

    def configure_optimizers(self) -> list[Optimizer]:
        return [player.optimizer for stage in self.stages for player in stage.player_optimizers.values()]

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

    def play_step(self, batch: Samples | LabelledBatch) -> None:
        """Plays one step on a batch.

        Args:
            batch: real samples [B, ...]; or these and their classes [B]; or these two, and then the samples
                and the classes of a labelled batch.
        """
        stage = self.stage
        # `self.game` is the main game. Its `step` counts the steps of the run, also during earlier stages. In
        # an earlier stage, this line copies the count to the game of the stage, `stage.play_step` adds 1, and
        # the last line copies it back. In the main stage, `stage.game` is `self.game`: nothing is copied.
        stage.game.run_step = self.game.run_step
        if stage.game.game_step == 0 and stage.initialise is not None:
            stage.initialise()
            stage.game.on_weights_loaded()
        self.scalars = stage.scalars = {}
        stage.play_step(batch)
        self.game.run_step = stage.game.run_step
