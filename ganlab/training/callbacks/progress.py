from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, get_args

import torch
from pytorch_lightning import Callback, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ganlab.core.turn import Player
from ganlab.training.callbacks.log import Log
from ganlab.training.module import GameModule

LONG = 60.0  # seconds that are still to be waited for, from which on that is said beforehand
LOOK = 3.0  # seconds of work that the estimate is made of
LINES = 10  # how many are printed where there is no terminal for a bar


class Bar(Callback):
    """Round, images per second, losses and time left; a few plain lines where there is no terminal.

    It also keeps the time that rounds took, the wait for their data included, without what the callbacks
    between it and `ResumeClock` do: evaluation, pictures, checkpoints; over all resumes.
    """

    def __init__(self, log: Log, images: Callable[[int], int], steps: int):
        self.terms = log
        self.images = images
        self.steps = steps
        self.seconds = 0.0
        self.rounds = 0  # that these seconds were spent on
        self._since = 0.0
        self._console = Console()
        self._progress: Progress | None = None

    @property
    def images_per_second(self) -> float:
        return self.images(self.rounds) / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero and self._console.is_terminal:
            self._progress = self._bar()
            self._task = self._progress.add_task("", total=self.steps, completed=module.game.step, text="")
            self._progress.start()
        self._since = perf_counter()

    def run_on(self) -> None:
        """The clock runs on from here."""
        self._since = perf_counter()

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if self.terms.due(module):
            # What rounds have left to do is theirs, not that of whoever waits for it first.
            getattr(torch, module.device.type).synchronize()
        self.seconds += perf_counter() - self._since
        self.rounds += 1
        step = module.game.step
        if self._progress is not None:
            self._progress.update(self._task, completed=step, text=self._text())
        elif trainer.is_global_zero and (step % max(self.steps // LINES, 1) == 0 or step == self.steps):
            self._console.print(f"round {step}/{self.steps}  {self._text()}", highlight=False, soft_wrap=True)

    def on_train_end(self, *_: Any) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    on_exception = on_train_end  # type: ignore[assignment]

    def _text(self) -> str:
        losses: dict[str, float] = {}
        for name, value in self.terms.last.items():
            player = name.split("/")[-2]  # behind the stage, where there is one
            if player in get_args(Player):  # else it is a number that a trick tells
                losses[player] = losses.get(player, 0.0) + value
        shown = "  ".join(f"{player[0].upper()} {value:.3f}" for player, value in losses.items())
        return f"{self.images_per_second:,.0f} images/s  {shown}"

    def _bar(self) -> Progress:
        return Progress(
            BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn(),
            console=self._console, refresh_per_second=4,
        )  # fmt: skip

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds, "rounds": self.rounds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.seconds, self.rounds = state["seconds"], int(state["rounds"])


class ResumeClock(Callback):
    """Stands behind all callbacks: the bar's clock, which stopped in front of them, runs on."""

    def __init__(self, bar: Bar):
        self.bar = bar

    def on_train_batch_end(self, *_: Any) -> None:
        self.bar.run_on()


@contextmanager
def watch(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar for something long, on a terminal; anywhere a line beforehand that says how long it will take."""
    console = Console()
    began, done, shown = perf_counter(), 0, False
    with Progress(
        TextColumn(what), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=total)

        def advance(more: int) -> None:
            nonlocal done, shown
            done += more
            bar.advance(task, more)
            if not shown and (spent := perf_counter() - began) >= LOOK:
                shown = True
                left = spent * (total - done) / done
                if left >= LONG:
                    bar.console.print(f"{total:,} {what}: {left / 60:.0f} min", highlight=False)

        yield advance
