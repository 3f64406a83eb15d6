from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.metrics.evaluation import Evaluation
from ganlab.training.module import GameModule


class Evaluate(Callback):
    """Evaluates the game every `every` steps and after the last, and records the metrics.

    Up to round `begins` other stages are played, and its generator is not worth a number.
    """

    def __init__(self, evaluation: Evaluation, every: int, begins: int, steps: int):
        self.evaluation = evaluation
        self.every = every
        self.begins = begins
        self.steps = steps
        self.record: dict[str, dict[str, Any]] = {}  # what was measured last, and how

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        step = module.game.step
        module.recorder.metrics = {}
        if step > self.begins and (step % self.every == 0 or step == self.steps):
            found = self.evaluation(module.game)
            self.record = self.evaluation.record(found, module.game)
            # All must know it: the best checkpoint is saved by all or by none.
            module.recorder.metrics = trainer.strategy.broadcast(found)
