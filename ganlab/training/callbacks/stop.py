"""A callback that ends training after the last step, or upon a signal."""

import signal
import threading
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.core.distributed import any_rank
from ganlab.training.module import GameModule

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SYNC_EVERY = 10  # on GPUs, steps between two collectives about a signal; each one waits for the device


class Stop(Callback):
    """Ends training after `steps` steps, or after the step during which SIGINT or SIGTERM came.

    All processes of a run end after the same step, on GPUs within ten steps. A second signal acts at once.
    """

    def __init__(self, steps: int):
        self.steps = steps
        self.signal: str | None = None
        self._old_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        # Only now, because Lightning has installed its handlers before.
        self._old_handlers = {number: set_handler(number, self._on_signal) for number in SIGNALS}
        # Disables a collective of Lightning about SIGTERM that would wait for the device in every step.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        trainer.should_stop = module.game.step >= self.steps

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        due = trainer.world_size == 1 or module.device.type == "cpu" or step % SYNC_EVERY == 0
        signalled = due and any_rank(self.signal is not None, module.device)
        trainer.should_stop = trainer.should_stop or step >= self.steps or signalled
        if signalled and self.signal is None:
            self.signal = "another process's signal"

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        # Not after an exception: torchrun's signal must not hide the reason. Lightning restores them later.
        for number, handler in self._old_handlers.items():
            set_handler(number, handler)

    def ignore_sigterm(self) -> None:
        """Ignores SIGTERM from now on, which torchrun sends: it would cut off the last messages."""
        set_handler(signal.SIGTERM, signal.SIG_IGN)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        # Not Lightning's handler, which would start a collective that no other process takes part in.
        set_handler(number, signal.default_int_handler)


def set_handler(number: int, handler: Any) -> Any:
    """Sets the handler of a signal, and returns the old one.

    Outside of the main thread, which alone may do so, it has no effect and returns None.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    return signal.signal(number, handler) if in_main_thread else None
