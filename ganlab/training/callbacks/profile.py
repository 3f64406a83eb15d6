"""profile=true: where the time of a round goes, as a table, and a trace of a few rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch.profiler import profile, record_function

from ganlab.filesystem import write_beside
from ganlab.training.base import GameModule
from ganlab.tricks.base import Trick

WARM_UP = 10  # rounds before the clock counts
TRACED = 5  # rounds in the trace
HOOKS = ("latents", "fakes", "inputs", "targets", "plays", "after")
REST = "Lightning's loop"


class Stopwatch:
    """Seconds by phase. A phase inside of another stops the outer one's clock, so that they add up."""

    def __init__(self, wait: Callable[[], None]):
        self.wait = wait  # for what a device still has to do
        self.seconds: dict[str, float] = {}
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._book()
        self._stack.append(name)
        try:
            with record_function(name):
                yield
        finally:
            self._book()
            self._stack.pop()

    def reset(self) -> None:
        self.seconds = {}
        self._book()
        self.seconds = {}

    def _book(self) -> None:
        """Gives the time since the last call to the phase that is on top."""
        self.wait()
        now = perf_counter()
        name = self._stack[-1] if self._stack else REST
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


class Profile(Callback):
    """Times the phases of every round but the first few: data, each player, each trick, each callback.

    It puts itself around the parts of a run when training starts; without it they know nothing of it. A
    trick's time is that of its hooks: what they add to a network or to the gradient counts as the
    player's. On a GPU the clock waits for the device at each change of phase, which costs time itself.

    Args:
        folder: gets profile.txt, the table, and profile.json, a trace for chrome://tracing or Perfetto.
        images: how many real images were seen in so many rounds.
    """

    def __init__(self, folder: Path, images: Callable[[int], int]):
        self.folder = folder
        self.images = images
        self.since = 0  # the round that the clock counts from
        self.watch = Stopwatch(lambda: None)
        self.rounds = 0
        self._trace: profile | None = None

    def fed(self, stream: Iterable[Any]) -> Iterator[Any]:
        """The same batches, and the time that they take to come."""
        batches = iter(stream)
        while True:
            with self.watch.phase("data"):
                batch = next(batches)
            yield batch

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if module.device.type != "cpu":
            self.watch.wait = getattr(torch, module.device.type).synchronize
        for game in filter(lambda part: isinstance(part, GameModule), module.modules()):
            self._put_around_game(game)  # type: ignore[arg-type]
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if callback is not self:
                name = f"callback {type(callback).__name__.lower()}"
                callback.on_train_batch_end = self._around(name, callback.on_train_batch_end)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        self.rounds += 1
        self.now = module.game.step
        if self.rounds == WARM_UP:
            self._trace = profile().__enter__() if trainer.is_global_zero else None
        elif self.rounds == WARM_UP + TRACED:
            self._end_trace()
            self.since = module.game.step
            self.watch.reset()

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self._end_trace()
        if trainer.is_global_zero:
            write_beside(self.folder / "profile.txt", self.table())

    def on_exception(self, trainer: Trainer, module: GameModule, exception: BaseException) -> None:  # type: ignore[override]
        self.on_train_end(trainer, module)

    @property
    def counted(self) -> int:
        """The rounds that the clock has counted."""
        return self.rounds - WARM_UP - TRACED

    def table(self) -> str:
        """Milliseconds a round and shares of the time, the largest first."""
        if self.counted < 1:
            return f"only {self.rounds} rounds: the clock counts from round {WARM_UP + TRACED + 1} on\n"
        seconds = dict(sorted(self.watch.seconds.items(), key=lambda entry: -entry[1]))
        total = sum(seconds.values())
        rows = [f"{'phase':<32}{'ms a round':>12}{'share':>9}"]
        for name, spent in [*seconds.items(), ("all", total)]:
            rows.append(f"{name:<32}{1000 * spent / self.counted:>12.3f}{spent / total:>9.1%}")
        speed = (self.images(self.now) - self.images(self.since)) / total
        rows.append(f"{speed:,.0f} images/s over {self.counted} rounds")
        return "\n".join(rows) + "\n"

    def _around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.watch.phase(name):
                return function(*arguments, **named)

        return timed

    def _put_around_game(self, module: GameModule) -> None:
        module.play = self._around("the play", module.play)  # type: ignore[assignment]
        losses = module.losses
        module.losses = lambda turn: self._around(turn.player, losses)(turn)  # type: ignore[method-assign]
        for player, mover in module.player_optimizers.items():
            mover.differentiate = self._around(player, mover.differentiate)  # type: ignore[method-assign]
            mover.step = self._around(player, mover.step)  # type: ignore[method-assign]
        for name, trick in module.game.tricks.items():
            self._put_around_trick(f"trick {name}", trick)

    def _put_around_trick(self, name: str, trick: Trick) -> None:
        for hook in HOOKS:
            setattr(trick, hook, self._around(name, getattr(trick, hook)))
        losses = trick.losses
        # What a trick calls in its turn, the objective and the networks, is the player's time again.
        trick.losses = lambda turn, compute: self._around(name, losses)(  # type: ignore[method-assign]
            turn, self._around(turn.player, compute)
        )

    def _end_trace(self) -> None:
        if self._trace is not None:
            self._trace.__exit__(None, None, None)
            self._trace.export_chrome_trace(str(self.folder / "profile.json"))
            self._trace = None
