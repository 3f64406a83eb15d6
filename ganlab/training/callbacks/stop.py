"""A callback that ends training after the last step, or after a signal such as Ctrl-C."""

import signal
import threading
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.core.distributed import any_process
from ganlab.training.module import GameModule

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# On GPUs, the processes ask each other about signals only once in this number of steps, because each of these
# collectives waits for the device.
SYNC_EVERY = 10


class Stop(Callback):
    """Ends training after step `steps` of the run, or after the step in which SIGINT or SIGTERM arrives.

    All processes of a run end after the same step; on GPUs, up to ten steps after the signal. A second signal
    ends its process at once.

    If a run has several processes, SIGTERM gets a new handler three times: this class's, by `catch_sigterm`
    before `fit`; Lightning's, at the beginning of `fit`; this class's again, in `on_train_start`. The first
    two are restored by `on_train_end` and Lightning, unless there is an exception; `release` restores what
    was there before the run.
    """

    place = "stop"

    def __init__(self, steps: int):
        self.steps = steps
        self.signal: str | None = None
        self._handlers_before_run: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}

    def catch_sigterm(self) -> None:
        """Records SIGTERM instead of dying of it, until `release`; to be called before `fit`.

        If a process of a run dies, torchrun sends SIGTERM to the others. The default handler would end them,
        perhaps before the error is reported.
        """
        set_handler(signal.SIGTERM, self._on_signal)

    def release(self) -> None:
        """Restores the handlers of the program that plays the run, which may be a notebook."""
        for number, handler in self._handlers_before_run.items():
            if handler is not None:  # None: the handler is none of Python's
                set_handler(number, handler)

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        # Lightning installs its handlers before this hook, so these replace them.
        self._handlers_before_training = {number: set_handler(number, self._on_signal) for number in SIGNALS}
        # Lightning would ask all processes about SIGTERM, and so wait for the device, in every step.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        trainer.should_stop = module.game.run_step >= self.steps

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.run_step
        due = trainer.world_size == 1 or module.device.type == "cpu" or step % SYNC_EVERY == 0
        signalled = due and any_process(self.signal is not None, module.device)
        trainer.should_stop = trainer.should_stop or step >= self.steps or signalled
        if signalled and self.signal is None:
            self.signal = "another process's signal"

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        # Not called after an exception, so `_on_signal` keeps torchrun's SIGTERM from hiding the exception.
        for number, handler in self._handlers_before_training.items():
            set_handler(number, handler)

    def ignore_sigterm(self) -> None:
        """Ignores SIGTERM from now on, so that torchrun's SIGTERM does not cut off the last messages."""
        set_handler(signal.SIGTERM, signal.SIG_IGN)
        self._handlers_before_run[signal.SIGTERM] = signal.SIG_IGN  # a later `release` restores this

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        # Python's own handler raises KeyboardInterrupt; Lightning's would wait for all other processes.
        set_handler(number, signal.default_int_handler)


def set_handler(number: int, handler: Any) -> Any:
    """Sets the handler of a signal, and returns the old one; outside of the main thread, it does nothing."""
    return signal.signal(number, handler) if threading.current_thread() is threading.main_thread() else None
