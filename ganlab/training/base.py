"""The one loop: a Lightning module that plays rounds of a game."""

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
from ganlab.core.schedules import Schedule, active, at, schedule, varies
from ganlab.core.turn import Batch, Player, Sample, Turn
from ganlab.data.labelled import Pair
from ganlab.data.sources import Samples
from ganlab.game import Game
from ganlab.training.play import Moves, Play, Weights


class PlayerOptimizer:
    """One player's optimiser, with its schedules and the clipping of its gradient.

    Args:
        make: parameters -> optimiser; keywords of a partial that are schedules follow the round.
        clip: largest norm of the player's whole gradient, which is told then; None: unbounded.
    """

    def __init__(self, player: Player, weights: list[nn.Parameter], make: Any, clip: float | Schedule | None):
        self.weights = weights
        self.clip = None if clip is None else active(f"clip.{player}", clip)
        self.schedules = {name: value for name, value in make.keywords.items() if varies(value)}
        for name, value in self.schedules.items():
            for part in value if isinstance(value, list) else [value]:
                schedule(f"optimizer.{player}.{name}", part, low=0)
        try:
            self.optimizer: Optimizer = make(weights, **at_all(self.schedules, 0))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"optimizer.{player}: {error}") from error

    def differentiate(self, loss: Tensor, retain_graph: bool) -> None:
        """The gradient at this player's weights alone: the other player's need no freezing."""
        self.optimizer.zero_grad()
        loss.backward(inputs=self.weights, retain_graph=retain_graph)

    def step(self, step: int) -> dict[str, Tensor]:
        """Moves; what there is to tell of it."""
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
    def go_back(self, weights: list[Tensor]) -> None:
        for weight, before in zip(self.weights, weights, strict=True):
            weight.copy_(before)


@contextmanager
def plain(device: torch.device) -> Iterator[None]:
    """Without the run's precision, on which data must not hang: Lightning sets it for the whole step."""
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
    """Plays one round per training step; `game.step`, and no counter of Lightning's, says how far it is.

    What happens in round k depends on (seed, k) and the state before it: every generator is seeded
    anew, so a run that was killed and resumed is bit for bit the run that was not.
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
        self.mover = {p: PlayerOptimizer(p, game.weights(p), optimizers[p], clip[p]) for p in game.players}
        # This round's terms, "player/term", and what tricks tell, "trick/number"; reading them waits.
        self.logged: dict[str, Tensor] = {}
        self.measured: dict[str, float] = {}  # this round's metrics, where callbacks took any

    def setup(self, stage: str) -> None:
        if self.trainer.max_steps >= 0:
            raise ConfigError(
                f"max_steps={self.trainer.max_steps} counts steps that Lightning takes, and a game has none: "
                "give max_epochs=1, limit_train_batches=<rounds>"
            )
        self.rank, self.world_size = self.trainer.global_rank, self.trainer.world_size

    def configure_optimizers(self) -> list[Optimizer]:
        return [mover.optimizer for mover in self.mover.values()]

    def training_step(self, dataloader_iter: Iterator[Any]) -> None:
        # Lightning hands over the iterator for this name of the argument: where it fetches batches itself, it
        # looks into each and asks `inspect` for this signature in every round.
        try:
            with plain(self.device):
                batch, _, _ = next(dataloader_iter)
            self.round(self.trainer.precision_plugin.convert_input(batch))
        except StopIteration as end:  # Lightning would take the round for played
            raise RuntimeError("the data ended, or a trick let a StopIteration through") from end

    def round(self, batch: Samples | Pair) -> None:
        """Plays one round on real samples, with a second stream's behind them where there is one."""
        batch = (batch, None) if isinstance(batch, Tensor) else batch  # of a loader that knows no labels
        reseed(self.seed, self.rank, self.game.step)
        torch.set_autocast_cache_enabled(True)  # Lightning casts the weights anew in every pass
        self.logged = {}
        real, extra = Sample(*batch[:2]), batch[2:]
        self.play(self, Batch(real, Sample(*extra) if extra else None))
        self.logged.update(self.game.tricks.tells())
        self.game.step += 1

    def movers(self) -> tuple[Player, ...]:
        """Who moves in this round, to be decided once."""
        return tuple(player for player in self.game.players if self.game.plays(player))

    def turn(self, player: Player, batch: Batch, *look: str) -> Turn:
        """A player's view of the round; each further look at it, named by a word, has draws of its own."""
        draw = RandomStreams(
            self.seed,
            self.game.step,
            player,
            *look,
            device=self.device,
            rank=self.rank,
            world_size=self.world_size,
        )
        return self.game.turn(player, batch, draw)

    def losses(self, turn: Turn) -> dict[str, Tensor]:
        return self.game.losses(turn)

    def extrapolate(self, moves: Moves) -> Weights:
        """All gradients, then all steps, which are to be taken back; the weights in front of them."""
        self._differentiate(moves)
        start = {p: [weight.detach().clone() for weight in self.mover[p].weights] for p in moves}
        self._step(moves)
        return start

    def move(self, moves: Moves, start: Weights | None = None) -> None:
        """All gradients, then all steps, then all reactions to them."""
        self._differentiate(moves)
        for player, terms in moves.items():
            self.logged.update({f"{player}/{name}": term.detach() for name, term in terms.items()})
        for player, weights in (start or {}).items():
            self.mover[player].go_back(weights)
        self._step(moves)
        for player in moves:
            self.game.after(player)

    def _differentiate(self, moves: Moves) -> None:
        left = len(moves)
        for player, terms in moves.items():
            left -= 1
            self.mover[player].differentiate(reduce(add, terms.values()), retain_graph=left > 0)

    def _step(self, players: Iterable[Player]) -> None:
        for player in players:
            for name, value in self.mover[player].step(self.game.played).items():
                self.logged[f"{player}/{name}"] = value
