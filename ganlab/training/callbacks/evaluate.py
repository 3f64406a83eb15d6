"""The callback that computes the metrics of a run."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, Trainer

from ganlab.config.stages import Timetable
from ganlab.game import Game
from ganlab.metrics.evaluation import Evaluation, records_of_parts
from ganlab.metrics.protocols import MetricRecords
from ganlab.training.module import GameModule


class Evaluate(Callback):
    """Computes the metrics every `every` steps and after the last one, and puts them into the module.

    Steps of a stage before the main game are not evaluated, because they do not train the generator of the
    main game: `Timetable.is_due` is false at these steps.
    """

    def __init__(self, evaluations: Mapping[str, Evaluation], every: int, timetable: Timetable):
        self.evaluations, self.every, self.timetable = evaluations, every, timetable
        self.latest_records: MetricRecords = {}  # the latest metrics, each with its protocol

    def measure(self, games: Mapping[str, Game]) -> dict[str, float]:
        """Measures all games, keeps the records in `latest_records`, and returns the metrics by name."""
        self.latest_records = records_of_parts(self.evaluations, games)
        return {name: record["value"] for name, record in self.latest_records.items()}

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        module.metrics = {}
        if self.timetable.is_due(module.game.run_step, self.every):
            metrics = self.measure(module.parts)
            # The main process sends its metrics to the others, which only generate a part of the samples and
            # have no metrics. All processes need them, because either all or none save the best checkpoint.
            module.metrics = trainer.strategy.broadcast(metrics)
