"""A table of the time that each part of a step takes, and a trace of a few steps (`profile=true`)."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.profilers import PassThroughProfiler
from torch.profiler import profile, schedule

from ganlab.config.stages import Timetable
from ganlab.core.profiling import NO_RANGE, Stopwatch, profile_range
from ganlab.filesystem import write_atomically
from ganlab.training.module import GameModule

WARM_UP = 10  # steps before the trace
TRACED = 5  # steps in the trace; the steps after them are in the table


class CallbackRanges(PassThroughProfiler):
    """A profiler of Lightning with one range for what each callback does after a step.

    Lightning enters `profile` some twenty times a step. All other actions return a constant, because the base
    class would create a generator each time.
    """

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        callback, _, hook = action_name.removeprefix("[Callback]").partition(".")
        if Stopwatch.running is None or hook != "on_train_batch_end" or callback == Profile.__name__:
            return NO_RANGE
        return profile_range(f"callback {callback.lower()}")


class Profile(Callback):
    """Times the data, each player, each trick and each callback, in every step after the first few.

    The time of a trick is that of its hooks; what it adds to a network or to the gradient counts as the
    player's. On a GPU each change of range waits for the device, which itself takes time.

    Args:
        folder: where profile.txt, the table, and profile.json, a trace for chrome://tracing or Perfetto,
            are written.
    """

    def __init__(self, folder: Path, times: Timetable):
        self.folder, self.times = folder, times
        self.steps = 0  # played by this process
        self.table_start = 0  # the step of the run after which the table begins
        self.trace = profile(
            schedule=schedule(wait=WARM_UP - 1, warmup=1, active=TRACED, repeat=1),
            on_trace_ready=lambda trace: trace.export_chrome_trace(str(self.folder / "profile.json")),
        )

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self.stopwatch = Stopwatch(getattr(torch, module.device.type).synchronize)
        self.stopwatch.start()
        if trainer.is_global_zero:
            self.trace.start()

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        self.steps += 1
        if trainer.is_global_zero:
            self.trace.step()
        if self.steps == WARM_UP + TRACED:
            self.table_start = module.game.step
            self.stopwatch.start()

    def on_train_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        Stopwatch.stop()
        if trainer.is_global_zero:
            self.trace.stop()
            write_atomically(self.folder / "profile.txt", self.table(module.game.step))

    on_exception = on_train_end  # type: ignore[assignment]

    def table(self, step: int) -> str:
        """The milliseconds per step and the share of each range, the largest first, up to step `step`."""
        timed = self.steps - WARM_UP - TRACED
        if timed < 1:
            return f"only {self.steps} steps: the table is of those from step {WARM_UP + TRACED + 1} on\n"
        seconds = dict(sorted(self.stopwatch.seconds.items(), key=lambda entry: -entry[1]))
        total = sum(seconds.values())
        rows = [f"{'phase':<32}{'ms a step':>12}{'share':>9}"]
        for name, spent in [*seconds.items(), ("all", total)]:
            rows.append(f"{name:<32}{1000 * spent / timed:>12.3f}{spent / total:>9.1%}")
        speed = (self.times.images_seen(step) - self.times.images_seen(self.table_start)) / total
        return "\n".join([*rows, f"{speed:,.0f} images/s over {timed} steps\n"])
