"""A table of the time that each part of a step takes, and a trace of a few steps (`profile=true`)."""

from contextlib import AbstractContextManager
from operator import itemgetter
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
TRACED = 5  # steps in the trace; the table covers the steps after them


class CallbackProfiler(PassThroughProfiler):
    """A Lightning profiler that times what each callback does after a step, in `on_train_batch_end`.

    Lightning calls it some twenty times a step, so all other actions share one context, which takes no time.
    """

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        _, is_callback, name = action_name.partition("[Callback]")
        callback, _, hook = name.partition(".")
        if not is_callback or hook != "on_train_batch_end" or callback == Profile.__name__:
            return NO_RANGE
        return profile_range(f"callback {callback.lower()}")  # no range either if no stopwatch runs


class Profile(Callback):
    """Times the data, each player, each trick and each callback, in every step after the first few.

    The time of a trick is the time of its hooks. What the trick adds to a network or to a gradient counts as
    time of the player. On a GPU the stopwatch waits for the device whenever another part begins, so a step
    takes longer than without it.

    Args:
        folder: the folder of the table, profile.txt, and of the trace, profile.json, which chrome://tracing
            and Perfetto show.
        timetable: the timetable of the run, which counts the images of its steps.
    """

    place = "after"

    def __init__(self, folder: Path, timetable: Timetable):
        self.folder, self.timetable = folder, timetable
        self.tracer = profile(
            # In the last step of the warm-up, torch's profiler runs, but its records are dropped.
            schedule=schedule(wait=WARM_UP - 1, warmup=1, active=TRACED, repeat=1),
            on_trace_ready=lambda tracer: tracer.export_chrome_trace(str(folder / "profile.json")),
        )

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self.stopwatch = Stopwatch(torch.get_device_module(module.device).synchronize)
        self.stopwatch.start()  # sets `Stopwatch.running`: from here on, `profile_range` uses this stopwatch
        if trainer.is_global_zero:
            self.tracer.start()

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            self.tracer.step()
            if self.tracer.step_num == WARM_UP + TRACED:
                self.stopwatch.start()  # again from zero, because the table leaves out the steps so far

    def on_train_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        Stopwatch.running = None  # from here on, `profile_range` uses no stopwatch
        if trainer.is_global_zero:
            self.tracer.stop()
            write_atomically(self.folder / "profile.txt", self.table(module.game.run_step))

    on_exception = on_train_end  # type: ignore[assignment]

    def table(self, step: int) -> str:
        """The milliseconds and the share of each part of the steps up to `step`, the longest first."""
        num_steps = self.tracer.step_num  # the steps of this process, without those before a resume
        num_timed = num_steps - WARM_UP - TRACED
        if num_timed < 1:
            return f"only {num_steps} steps: the table covers the steps from {WARM_UP + TRACED + 1} on\n"
        parts = sorted(self.stopwatch.seconds.items(), key=itemgetter(1), reverse=True)
        total = sum(seconds for _, seconds in parts)
        rows = [f"{'part':<32}{'ms a step':>12}{'share':>9}"]
        for name, seconds in [*parts, ("all", total)]:
            rows.append(f"{name:<32}{1000 * seconds / num_timed:>12.3f}{seconds / total:>9.1%}")
        num_images = self.timetable.images_seen(step) - self.timetable.images_seen(step - num_timed)
        return "\n".join([*rows, f"{num_images / total:,.0f} images/s over {num_timed} steps\n"])
