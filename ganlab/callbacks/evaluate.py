from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.metrics.evaluation import Evaluation
from ganlab.training.base import GameModule


class Evaluate(Callback):
    """Measures the game every `every` rounds and after the last; `module.measured` holds what it found."""

    def __init__(self, evaluation: Evaluation, every: int, steps: int):
        self.evaluation = evaluation
        self.every = every
        self.steps = steps

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        due = step % self.every == 0 or step == self.steps
        module.measured = self.evaluation(module.game) if due and trainer.is_global_zero else {}
