"""Evaluates the game during training."""

from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.config.stages import Timetable
from ganlab.metrics.evaluation import Evaluation
from ganlab.training.module import GameModule


class Evaluate(Callback):
    """Computes the metrics every `every` steps and after the last, and leaves them in the recorder.

    Not in stages before the last, in which its generator is not trained.
    """

    def __init__(self, evaluation: Evaluation, every: int, times: Timetable):
        self.evaluation = evaluation
        self.every = every
        self.times = times
        self.record: dict[str, dict[str, Any]] = {}  # the latest metrics, each with its protocol

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        module.recorder.metrics = {}
        if step > self.times.begins and (step % self.every == 0 or step == self.times.total):
            metrics = self.evaluation(module.game)
            self.record = self.evaluation.records(metrics, module.game)
            # On every rank, because the best checkpoint is saved by all of them or by none.
            module.recorder.metrics = trainer.strategy.broadcast(metrics)
