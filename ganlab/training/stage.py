"""A stage of a run: a game, its play and its optimisers, and the steps that they take together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab.core.distributed import all_reduce_mean_
from ganlab.core.errors import ConfigError
from ganlab.core.profiling import profile_range
from ganlab.core.randomness import RandomStreams, reseed
from ganlab.core.schedules import Schedule, as_schedule, at_step, has_schedule, nonzero_schedule
from ganlab.core.turn import Batch, Player, Sample, Turn
from ganlab.data.sources import LabelledBatch, Samples
from ganlab.game import Game
from ganlab.training.play import Moves, Play, Weights
from ganlab.training.recorder import Recorder


class PlayerOptimizer:
    """The optimiser of one player, with its schedules and the clipping of its gradient.

    Args:
        make: parameters -> optimiser; a partial, whose keywords may be schedules of the step.
        clip: largest norm of the player's whole gradient, which is then recorded; None: no clipping.

    Raises:
        ConfigError: the optimiser does not accept a value, or a schedule becomes negative.
    """

    def __init__(self, player: Player, weights: list[nn.Parameter], make: Any, clip: float | Schedule | None):
        self.player = player
        self.weights = weights
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
        """Computes the gradient of this player's weights alone, so the other player's need no freezing."""
        self.optimizer.zero_grad()
        loss.backward(inputs=self.weights, retain_graph=retain_graph)

    def step(self, step: int, record: Callable[[str, Tensor], None]) -> None:
        """Updates the weights, with the hyper-parameters of a step."""
        for group in self.optimizer.param_groups:
            group.update(self._hyper_parameters(step))
        all_reduce_mean_([weight.grad for weight in self.weights if weight.grad is not None])
        if self.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.weights, self.clip(step))
            record(f"{self.player}/gradient_norm", norm)
        self.optimizer.step()
        torch.clear_autocast_cache()  # of casts of the weights as they were

    @torch.no_grad()
    def restore(self, weights: list[Tensor]) -> None:
        for weight, before in zip(self.weights, weights, strict=True):
            weight.copy_(before)


@dataclass(eq=False)
class Stage:
    """A game, its play and its optimisers, which take a step together.

    Args:
        optimizers: by player, a partial: parameters -> optimiser.
        clip: by player, the largest norm of its gradient; None: no clipping.
        seed: of the run.
        name: prefix of the recorded names; empty for the last stage.
        steps: length of the stage; the last one ends with the run.
        prepare: called before the first step.
        rank, world_size: among the processes that share each batch.
    """

    game: Game
    play: Play
    optimizers: InitVar[Mapping[Player, Callable[..., Optimizer]]]
    clip: InitVar[Mapping[Player, float | Schedule | None]]
    seed: int
    name: str = ""
    steps: int = 0
    prepare: Callable[[], None] = lambda: None
    rank: int = 0
    world_size: int = 1
    recorder: Recorder = field(default_factory=Recorder)

    def __post_init__(
        self,
        optimizers: Mapping[Player, Callable[..., Optimizer]],
        clip: Mapping[Player, float | Schedule | None],
    ) -> None:
        self.player_optimizers = {
            player: PlayerOptimizer(player, self.game.weights(player), optimizers[player], clip[player])
            for player in self.game.players
        }

    def play_step(self, batch: Samples | LabelledBatch) -> None:
        """Plays one step on real samples, followed by those of a second stream if there is one."""
        batch = (batch, None) if isinstance(batch, Tensor) else batch  # from a loader without labels
        reseed(self.seed, self.rank, self.game.step)
        torch.set_autocast_cache_enabled(True)  # Lightning would cast the weights in every pass
        real, extra = Sample(*batch[:2]), batch[2:]
        with profile_range("the play"):
            self.play(self, Batch(real, Sample(*extra) if extra else None))
        for name, value in self.game.tricks.scalars().items():
            self.record(name, value)
        self.game.step += 1

    def record(self, name: str, value: Tensor) -> None:
        self.recorder.record(f"{self.name}/{name}" if self.name else name, value)

    def active_players(self) -> tuple[Player, ...]:
        """The players that move in this step; a play calls this once."""
        return tuple(player for player in self.game.players if self.game.plays(player))

    def turn(self, player: Player, batch: Batch, *phase: str) -> Turn:
        """A player's view of the step. A named phase has random streams of its own."""
        key = (self.seed, self.game.step, player, *phase)
        device, ranks = batch.real.x.device, {"rank": self.rank, "world_size": self.world_size}
        return self.game.turn(player, batch, RandomStreams(*key, device=device, **ranks))

    def losses(self, turn: Turn) -> dict[str, Tensor]:
        with profile_range(turn.player):
            return self.game.losses(turn)

    def step_ahead(self, moves: Moves) -> Weights:
        """Computes all gradients, then takes all steps without hooks; returns the weights before them."""
        self._differentiate(moves)
        start = {p: [weight.detach().clone() for weight in self.player_optimizers[p].weights] for p in moves}
        self._step(moves)
        return start

    def move(self, moves: Moves, start: Weights | None = None) -> None:
        """Computes all gradients, then takes all steps, from `start` if given; then the tricks react."""
        self._differentiate(moves)
        for player, terms in moves.items():
            for name, term in terms.items():
                self.record(f"{player}/{name}", term)
        for player, weights in (start or {}).items():
            self.player_optimizers[player].restore(weights)
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
