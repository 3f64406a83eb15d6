import signal
import threading
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.core.distributed import any_rank
from ganlab.training.module import GameModule

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ASK_EVERY = 10  # rounds, where the others must be asked and the answer waits for a device


class Stop(Callback):
    """Ends training after `steps` rounds, or at the end of the round in which SIGINT or SIGTERM came.

    Several processes agree on it, on GPUs within ten rounds. A second signal acts at once.
    """

    def __init__(self, steps: int):
        self.steps = steps
        self.signal: str | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        # Here and not earlier: Lightning has put its own handlers in place by now.
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            handle(number, self._note)
        # Lightning would have the processes agree once more, with a wait for the device in every round.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]
        trainer.should_stop = module.game.step >= self.steps

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        due = trainer.world_size == 1 or module.device.type == "cpu" or step % ASK_EVERY == 0
        asked = due and any_rank(self.signal is not None, module.device)
        trainer.should_stop = trainer.should_stop or step >= self.steps or asked
        if asked and self.signal is None:
            self.signal = "another process's signal"

    def on_train_end(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        # Lightning does it after an exception, later: torchrun's signal must not cut off the reason.
        for number, handler in self._before.items():
            handle(number, handler)

    def hold(self) -> None:
        """Lets no SIGTERM, such as torchrun's to all, cut off what there is to say."""
        handle(signal.SIGTERM, signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        # Not Lightning's own, which would send a message that no other process waits for.
        handle(number, signal.default_int_handler)


def handle(number: int, handler: Any) -> None:
    """Sets a signal's handler, where that is possible: signals reach the main thread only."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)


def _nothing() -> None: ...
