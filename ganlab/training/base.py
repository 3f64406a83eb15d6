"""The training loop: a Lightning module whose training step plays one round of a game."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganlab.core.distributed import all_reduce_mean_
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams, reseed
from ganlab.core.schedules import Schedule, at, nonzero_schedule, schedule, varies
from ganlab.core.turn import Batch, Player, Sample, Turn
from ganlab.data.labelled import Pair
from ganlab.data.sources import Samples
from ganlab.game import Game
from ganlab.training.play import Moves, Play, Weights


class PlayerOptimizer:
    """One player's optimiser, with its schedules and the clipping of its gradient.

    Args:
        make: parameters -> optimiser; keywords of a partial that are schedules follow the round.
        clip: largest norm of the player's whole gradient; if given, the norm is logged. None: no clipping.
    """

    def __init__(self, player: Player, weights: list[nn.Parameter], make: Any, clip: float | Schedule | None):
        self.weights = weights
        self.clip = None if clip is None else nonzero_schedule(f"clip.{player}", clip)
        self.schedules = {name: value for name, value in make.keywords.items() if varies(value)}
        for name, value in self.schedules.items():
            for part in value if isinstance(value, list) else [value]:
                schedule(f"optimizer.{player}.{name}", part, "[0, inf)")
        try:
            self.optimizer: Optimizer = make(weights, **at_all(self.schedules, 0))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"optimizer.{player}: {error}") from error

    def differentiate(self, loss: Tensor, retain_graph: bool) -> None:
        """Computes the gradient of this player's weights alone, so the other player's need no freezing."""
        self.optimizer.zero_grad()
        loss.backward(inputs=self.weights, retain_graph=retain_graph)

    def step(self, step: int) -> dict[str, Tensor]:
        """Updates the weights, and returns what is logged of the update."""
        logged = {}
        for group in self.optimizer.param_groups:
            group.update(at_all(self.schedules, step))
        all_reduce_mean_([weight.grad for weight in self.weights if weight.grad is not None])
        if self.clip is not None:
            logged["gradient_norm"] = nn.utils.clip_grad_norm_(self.weights, self.clip(step))
        self.optimizer.step()
        torch.clear_autocast_cache()  # of casts of the weights as they were
        return logged

    @torch.no_grad()
    def restore(self, weights: list[Tensor]) -> None:
        for weight, before in zip(self.weights, weights, strict=True):
            weight.copy_(before)


@contextmanager
def plain(device: torch.device) -> Iterator[None]:
    """Suspends the run's precision while data are read: they must not depend on it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


def at_all(values: Mapping[str, Any], step: int) -> dict[str, Any]:
    return {name: at(value, step) for name, value in values.items()}


class GameModule(pl.LightningModule):
    """Plays one round in each training step. `game.step` counts the rounds; no counter of Lightning's does.

    Round k is a function of (seed, k) and of the state before it: every random generator is seeded at its
    start. So a run that was killed and resumed equals the uninterrupted run bit for bit.
    """

    def __init__(
        self,
        game: Game,
        play: Play,
        optimizers: Mapping[Player, Callable[..., Optimizer]],
        clip: Mapping[Player, float | Schedule | None],
        seed: int,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.game = game
        self.play = play
        self.seed = seed
        self.rank, self.world_size = 0, 1  # among the processes that play this game
        self.player_optimizers = {
            p: PlayerOptimizer(p, game.weights(p), optimizers[p], clip[p]) for p in game.players
        }
        # This round's terms, "player/term", and the tricks' scalars, "trick/name"; reading one waits.
        self.logged: dict[str, Tensor] = {}
        self.measured: dict[str, float] = {}  # the metrics of this round, if callbacks measured any

    def setup(self, stage: str) -> None:
        if self.trainer.max_steps >= 0:
            raise ConfigError(
                f"max_steps={self.trainer.max_steps} counts steps of Lightning, and a game takes none: "
                "give max_epochs=1, limit_train_batches=<rounds>"
            )
        self.rank, self.world_size = self.trainer.global_rank, self.trainer.world_size

    def configure_optimizers(self) -> list[Optimizer]:
        return [one.optimizer for one in self.player_optimizers.values()]

    def training_step(self, dataloader_iter: Iterator[Any]) -> None:
        # The argument's name makes Lightning pass the iterator. If it fetched batches itself, it would search
        # each of them for tensors and inspect this signature in every round.
        try:
            with plain(self.device):
                batch, _, _ = next(dataloader_iter)
            self.round(self.trainer.precision_plugin.convert_input(batch))
        except StopIteration as end:  # Lightning would count the round as played
            raise RuntimeError("the data ended, or a trick let a StopIteration through") from end

    def round(self, batch: Samples | Pair) -> None:
        """Plays one round on real samples, followed by those of a second stream if there is one."""
        batch = (batch, None) if isinstance(batch, Tensor) else batch  # from a loader without labels
        reseed(self.seed, self.rank, self.game.step)
        torch.set_autocast_cache_enabled(True)  # Lightning would cast the weights in every pass
        self.logged = {}
        real, extra = Sample(*batch[:2]), batch[2:]
        self.play(self, Batch(real, Sample(*extra) if extra else None))
        self.logged.update(self.game.tricks.scalars())
        self.game.step += 1

    def active_players(self) -> tuple[Player, ...]:
        """The players that move in this round; a play calls this once."""
        return tuple(player for player in self.game.players if self.game.plays(player))

    def turn(self, player: Player, batch: Batch, *phase: str) -> Turn:
        """A player's view of the round. A named phase has random streams of its own."""
        draw = RandomStreams(
            self.seed,
            self.game.step,
            player,
            *phase,
            device=self.device,
            rank=self.rank,
            world_size=self.world_size,
        )
        return self.game.turn(player, batch, draw)

    def losses(self, turn: Turn) -> dict[str, Tensor]:
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
            self.logged.update({f"{player}/{name}": term.detach() for name, term in terms.items()})
        for player, weights in (start or {}).items():
            self.player_optimizers[player].restore(weights)
        self._step(moves)
        for player in moves:
            self.game.after(player)

    def _differentiate(self, moves: Moves) -> None:
        last = next(reversed(moves), None)
        for player, terms in moves.items():
            loss = reduce(add, terms.values())
            self.player_optimizers[player].differentiate(loss, retain_graph=player != last)

    def _step(self, players: Iterable[Player]) -> None:
        for player in players:
            for name, value in self.player_optimizers[player].step(self.game.played).items():
                self.logged[f"{player}/{name}"] = value
