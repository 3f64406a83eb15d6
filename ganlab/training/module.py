"""The Lightning module of a run, the stages that it plays, and the optimisers of their players."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.precision.utils import _DtypeContextManager
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab.core.distributed import all_reduce_mean_, mean_over_ranks
from ganlab.core.errors import ConfigError, require
from ganlab.core.profiling import profile_range
from ganlab.core.randomness import RandomStreams, reseed
from ganlab.core.schedules import ScheduleLike, as_schedule, at_step, has_schedule, nonzero_schedule
from ganlab.core.turn import Batch, Player, Sample, Turn
from ganlab.data.sources import LabelledBatch, Samples
from ganlab.game import Game
from ganlab.training.play import Moves, Play, Weights


class Recorder:
    """The scalars of the latest step: the loop records them, and callbacks read them.

    Attributes:
        scalars: "player/term" of the losses, "player/gradient_norm", and "trick/name" of the tricks, each
            with the prefix "stage/" in a stage before the main game. They are tensors [] on the device;
            reading one waits for the device.
        metrics: the metrics by name; empty unless the step was evaluated.
    """

    def __init__(self) -> None:
        self.scalars: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}

    def read(self, **more: Tensor) -> dict[str, float]:
        """All scalars and those in `more`, averaged over the processes; waits for the device once."""
        scalars = self.scalars | more
        return dict(zip(scalars, mean_over_ranks(torch.stack([*scalars.values()])).tolist(), strict=True))


class PlayerOptimizer:
    """The optimiser of one player, with its schedules and the clipping of its gradient.

    Args:
        make: a partial: parameters -> optimiser. Its keywords may be schedules of the step.
        clip: the maximum norm of the gradient of all weights; the norm is then recorded. None: no clipping.

    Raises:
        ConfigError: the optimiser does not accept a value, or a schedule becomes negative.
    """

    def __init__(self, player: Player, weights: list[nn.Parameter], make: Any, clip: ScheduleLike | None):
        self.player, self.weights = player, weights
        self.clip = None if clip is None else nonzero_schedule(f"clip.{player}", clip)
        self.schedules = {name: value for name, value in make.keywords.items() if has_schedule(value)}
        for name, value in self.schedules.items():
            for part in value if isinstance(value, list) else [value]:
                as_schedule(f"optimizer.{player}.{name}", part, "[0, inf]")
        try:
            self.optimizer: Optimizer = make(weights, **self._hyper_parameters(0))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(str(error), key=f"optimizer.{player}") from error

    def _hyper_parameters(self, step: int) -> dict[str, Any]:
        return {name: at_step(value, step) for name, value in self.schedules.items()}

    def differentiate(self, loss: Tensor, retain_graph: bool) -> None:
        """Computes the gradient of this player's weights only, so the other player need not be frozen."""
        self.optimizer.zero_grad()
        loss.backward(inputs=self.weights, retain_graph=retain_graph)

    def step(self, step: int, record: Callable[[str, Tensor], None]) -> None:
        """Updates the weights with the hyper-parameters of step `step`."""
        for group in self.optimizer.param_groups:
            group.update(self._hyper_parameters(step))
        all_reduce_mean_([weight.grad for weight in self.weights if weight.grad is not None])
        if self.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.weights, self.clip(step))
            record(f"{self.player}/gradient_norm", norm)
        self.optimizer.step()
        torch.clear_autocast_cache()  # which holds casts of the old weights


class Stage:
    """A game with its play and its optimisers: all that takes part in a step.

    Args:
        optimizers: by player, a partial: parameters -> optimiser.
        clip: by player, the maximum norm of its gradient; None: no clipping.
        seed: the seed of the run.
        name: the prefix of recorded names; empty for the main game.
        steps: the number of steps of the stage; not used for the main game, which ends with the run.
        prepare: called before the first step.
    """

    rank, world_size = 0, 1  # of the processes that share each batch

    def __init__(
        self, game: Game, play: Play, optimizers: Mapping[Player, Any], clip: Mapping[Player, Any], seed: int,
        name: str = "", steps: int = 0, prepare: Callable[[], None] = lambda: None,
    ):  # fmt: skip
        self.game, self.play, self.seed = game, play, seed
        self.name, self.steps, self.prepare = name, steps, prepare
        self.recorder = Recorder()
        self.player_optimizers = {
            player: PlayerOptimizer(player, game.weights(player), optimizers[player], clip[player])
            for player in game.players
        }

    def play_step(self, batch: Samples | LabelledBatch) -> None:
        """Plays one step on real samples, which samples of a second stream may follow."""
        batch = (batch, None) if isinstance(batch, Tensor) else batch  # from a loader without labels
        reseed(self.seed, self.rank, self.game.step)
        torch.set_autocast_cache_enabled(True)  # Lightning disables it and casts the weights in every pass
        real, extra = Sample(*batch[:2]), batch[2:]  # each: samples, classes
        with profile_range("the play"):
            self.play(self, Batch(real, Sample(*extra) if extra else None))
        for name, value in self.game.tricks.scalars().items():
            self.record(name, value)
        self.game.step += 1

    def record(self, name: str, value: Tensor) -> None:
        self.recorder.scalars[f"{self.name}/{name}" if self.name else name] = value.detach()

    def active_players(self) -> tuple[Player, ...]:
        """The players that move in this step. A play calls this once a step."""
        return tuple(player for player in self.game.players if self.game.may_move(player))

    def turn(self, player: Player, batch: Batch, *phase: str) -> Turn:
        """A player's view of the step. The random streams depend on the names of the phase, if any."""
        key = (self.seed, self.game.step, player, *phase)
        device, ranks = batch.real.x.device, {"rank": self.rank, "world_size": self.world_size}
        return self.game.turn(player, batch, RandomStreams(*key, device=device, **ranks))

    def losses(self, turn: Turn) -> dict[str, Tensor]:
        with profile_range(turn.player):
            return self.game.losses(turn)

    def step_ahead(self, moves: Moves) -> Weights:
        """Computes all gradients, then takes all steps without hooks. Returns the old weights."""
        self._differentiate(moves)
        start = {p: [weight.detach().clone() for weight in self.player_optimizers[p].weights] for p in moves}
        self._step(moves)
        return start

    def move(self, moves: Moves, start: Weights | None = None) -> None:
        """Computes all gradients, then takes all steps, from `start` if given; records terms, calls hooks."""
        self._differentiate(moves)
        for player, terms in moves.items():
            for name, term in terms.items():
                self.record(f"{player}/{name}", term)
        for player, weights in (start or {}).items():
            with torch.no_grad():
                torch._foreach_copy_([*self.player_optimizers[player].weights], weights)
        self._step(moves)
        for player in moves:
            self.game.after_update(player)

    def _differentiate(self, moves: Moves) -> None:
        last = next(reversed(moves), None)
        for player, terms in moves.items():
            loss = reduce(add, terms.values())
            with profile_range(player):
                self.player_optimizers[player].differentiate(loss, retain_graph=player != last)

    def _step(self, players: Iterable[Player]) -> None:
        for player in players:
            with profile_range(player):
                self.player_optimizers[player].step(self.game.steps_played, self.record)


class GameModule(pl.LightningModule):
    """Plays the stages of a run one after the other.

    `game` is the main game, which is evaluated and sampled. Its `step` counts the steps of the whole run
    (Lightning's `global_step` counts the steps of optimisers). Step k is a function of (seed, k) and of the
    state before it, because each step starts by seeding every random generator. A run that was killed and
    resumed therefore equals the uninterrupted run bit for bit.

    Args:
        stages: the stages in their order; the last one is the main game.
    """

    def __init__(self, stages: Sequence[Stage]):
        super().__init__()
        self.automatic_optimization = False
        self.stages = stages
        *earlier, last = stages
        self.game = last.game
        # In a checkpoint, the names of an earlier game's weights begin with before.<stage>.game.
        self.before = nn.ModuleDict({stage.name: nn.ModuleDict({"game": stage.game}) for stage in earlier})
        self.recorder = Recorder()
        first_step = 0
        for stage in stages:
            stage.game.first_step, stage.recorder = first_step, self.recorder
            first_step += stage.steps

    @property
    def stage(self) -> Stage:
        """The stage of the next step."""
        step, (*earlier, last) = self.game.step, self.stages
        return next((stage for stage in earlier if step < stage.game.first_step + stage.steps), last)

    def setup(self, stage: str) -> None:
        reason = "counts steps of Lightning's automatic optimisation, and a game takes none"
        remedy = "set max_epochs=1 and limit_train_batches=<steps>"
        require(self.trainer.max_steps < 0, "max_steps", self.trainer.max_steps, reason, remedy)
        for each in self.stages:
            each.rank, each.world_size = self.trainer.global_rank, self.trainer.world_size

    def configure_optimizers(self) -> list[Optimizer]:
        return [player.optimizer for stage in self.stages for player in stage.player_optimizers.values()]

    def training_step(self, dataloader_iter: Iterator[Any]) -> None:
        # The argument's name makes Lightning pass the iterator. If Lightning fetched the batches, it would
        # search each of them for tensors and inspect this signature in every step.
        try:
            # The data must not depend on the precision of the run.
            no_autocast = torch.autocast(self.device.type, enabled=False)
            with profile_range("data"), _DtypeContextManager(torch.float32), no_autocast:
                batch, _, _ = next(dataloader_iter)
            self.play_step(self.trainer.precision_plugin.convert_input(batch))
        except StopIteration as end:  # Lightning would take it for the end of an epoch
            raise RuntimeError("the data ended, or a trick let a StopIteration through") from end

    def play_step(self, batch: Samples | LabelledBatch) -> None:
        """Plays one step on a batch: samples [B, ...], alone or with classes [B], or two such pairs."""
        stage = self.stage
        stage.game.step = self.game.step
        if stage.game.steps_played == 0:
            stage.prepare()
        self.recorder.scalars = {}
        stage.play_step(batch)
        self.game.step = stage.game.step
