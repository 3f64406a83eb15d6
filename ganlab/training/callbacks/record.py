"""Callbacks that record the metrics, the scalars and the checkpoints of a run, and end one that diverges."""

import csv
import io
import os
from collections.abc import Collection, Mapping
from math import inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import Timetable
from ganlab.core.batch import as_scalar
from ganlab.core.distributed import mean_over_processes
from ganlab.core.errors import Diverged
from ganlab.filesystem import atomic_writer, csv_line, write_atomically
from ganlab.game import Game
from ganlab.metrics.evaluation import Evaluation, records_of_parts
from ganlab.metrics.protocols import MetricRecords
from ganlab.training.module import GameModule

EARLY_STEPS = 100  # the early value of a loss is its median over this many first steps
MAX_GROWTH = 1e6  # a scalar has exploded if it is more than this many times its early value
WEIGHT = "weight"  # the name of the scalar that `largest_weight` computes


class MetricsFile:
    """The file metrics.csv: rows of scalars, one for each logged step.

    A resumed run first drops the rows of the steps that it will play again. A column is added when its scalar
    first appears. If a row lacks a scalar, its cell is empty.
    """

    def __init__(self, path: Path):
        self.path = path
        self.columns: list[str] = []  # those that the file was last seen to have

    def drop_after(self, step: int) -> None:
        """Drops the rows after a step, and an incomplete last row, which a killed process may have left."""
        rows = [row for row in self._rows() if int(row["step"]) <= step]
        if self.columns:
            self._rewrite(rows)

    def last_step(self) -> int:
        """The step of the last complete row; 0 if there is none."""
        return max((int(row["step"]) for row in self._rows()), default=0)

    def append(self, row: Mapping[str, float]) -> None:
        """Adds a row, which begins with `step` and `images`."""
        if not (row.keys() <= {*self.columns} and self.path.is_file()):
            rows = self._rows()
            self.columns = [*dict.fromkeys([*self.columns, *row])]  # in the order of their first appearance
            self._rewrite(rows)
        with self.path.open("a", newline="") as file:
            file.write(csv_line([row.get(name) for name in self.columns]))

    def _rows(self) -> list[dict[str, str]]:
        """Reads the columns and the complete rows: an incomplete last one has no line end."""
        text = self.path.read_text() if self.path.is_file() else ""
        reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
        self.columns = [*(reader.fieldnames or ())]
        return [*reader]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        lines = [csv_line([row.get(name) for name in self.columns]) for row in rows]
        write_atomically(self.path, csv_line(self.columns) + "".join(lines))


class Evaluate(Callback):
    """Computes the metrics every `every` steps and after the last one, and puts them into the module.

    Steps of a stage before the main game are not evaluated, because they do not train the generator of the
    main game: `Timetable.is_due` is false at these steps. If a metric fails in a run of one process, the step
    is saved, so that the run can be continued; several processes continue from their last checkpoint.
    """

    place = "measure"

    def __init__(self, evaluations: Mapping[str, Evaluation], every: int, timetable: Timetable):
        self.evaluations, self.every, self.timetable = evaluations, every, timetable
        self.latest_records: MetricRecords = {}  # the latest metrics, each with its protocol

    def measure(self, games: Mapping[str, Game]) -> dict[str, float]:
        """Measures all games, keeps the records in `latest_records`, and returns the metrics by name."""
        self.latest_records = records_of_parts(self.evaluations, games)
        return {name: record["value"] for name, record in self.latest_records.items()}

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        for evaluation in self.evaluations.values() if trainer.is_global_zero else ():
            evaluation.measure_real_samples(module.device)  # a metric that fails, fails before the first step

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        module.metrics = {}
        if not self.timetable.is_due(module.game.run_step, self.every):
            return
        try:
            # The main process sends its metrics to the others, which only generate a part of the samples and
            # have no metrics. All processes need them, because either all or none save the best checkpoint.
            module.metrics = trainer.strategy.broadcast(self.measure(module.parts))
        except Exception as error:  # a user's own metric may raise anything, and no step is to be lost
            if trainer.world_size == 1 and not isinstance(error, Diverged):
                trainer.save_checkpoint(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt")
            raise


class LogScalars(Callback):
    """Writes the scalars of every `every`-th step and of the last one to metrics.csv and to the loggers.

    Steps that were evaluated are written, too, with their metrics.

    Raises:
        Diverged: a scalar or a weight is not finite, or has exploded. The row of the step is written first.
    """

    place = "record"

    state_key = "Log"  # the name of the callback in checkpoints

    def __init__(self, directory: RunDirectory, every: int, timetable: Timetable):
        self.directory, self.every, self.timetable = directory, every, timetable
        self.file = MetricsFile(directory.metrics)
        # Absolute values: of each loss in the first steps, and of the largest weight before the first step.
        self.early: dict[str, list[float]] = {}
        self.latest: dict[str, float] = {}  # the scalars that were read last
        self.players: Collection[str] = ()  # the players of the game to which they belong
        self.logged = 0  # the last step that the loggers have; a resume may play earlier steps again

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        self.early.setdefault(WEIGHT, [float(largest_weight(module))])
        if trainer.is_global_zero:
            # `logged` is saved in the summary, because `drop_after` removes the rows that contain it.
            self.logged = max(self.file.last_step(), self.directory.summary().get("logged", 0))
            self.directory.write_summary(logged=self.logged)
            self.file.drop_after(module.game.run_step)

    def is_due(self, module: GameModule) -> bool:
        """Whether to read the scalars of the latest step, which waits for the device."""
        step = module.game.run_step
        return step % self.every == 0 or step == self.timetable.total or bool(module.metrics)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        if self.is_due(module):
            self.refuse_divergence(module.game.run_step, self.write(trainer, module))

    def on_exception(self, trainer: Trainer, module: GameModule, error: BaseException) -> None:  # type: ignore[override]
        # A metric fails before the row of its step is written, and no resumed run plays this step again.
        is_alone = trainer.world_size == 1 and not isinstance(error, OSError)
        if is_alone and self.is_due(module) and self.file.last_step() < module.game.run_step:
            self.write(trainer, module)

    def write(self, trainer: Trainer, module: GameModule) -> dict[str, float]:
        """Writes the row of the latest step, and returns its scalars."""
        step, scalars = module.game.run_step, module.scalars | {WEIGHT: largest_weight(module)}
        numbers = torch.stack([as_scalar(*item).to(module.device) for item in scalars.items()])
        means = mean_over_processes(numbers).tolist()  # one transfer from the device
        values = dict(zip(scalars, means, strict=True))
        self.latest = {name: values[name] for name in module.scalars}
        self.players = module.phase.game.players  # of the game that was played, which may be that of a stage
        row = {"step": step, "images": self.timetable.images_seen(step), **self.latest, **module.metrics}
        if trainer.is_global_zero:
            self.file.append(row)
        if step > self.logged:
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
        return values

    def refuse_divergence(self, step: int, scalars: Mapping[str, float]) -> None:
        """Raises `Diverged` if a scalar is not finite, or if a loss or the largest weight has exploded.

        A loss or weight is compared with its early value. An early value below 1 counts as 1. The
        method collects the early values in `self.early`.
        """
        for name, value in scalars.items():
            if not isfinite(value):
                raise Diverged(step, "a weight is not finite" if name == WEIGHT else f"{name} is {value}")
            if name != WEIGHT and player_of_loss(name, self.players) is None:
                continue  # a scalar of a trick, or a gradient norm
            # The early value of the largest weight is its value before the first step. The early value of a
            # loss that first appears after the early steps, as in a later stage, is its first value.
            early = self.early.setdefault(name, [])
            if not early or (step <= EARLY_STEPS and name != WEIGHT):
                early.append(abs(value))
            first = median(early)
            if abs(value) > MAX_GROWTH * max(first, 1):
                raise Diverged(step, f"a {name} of {value:.3g} has exploded: it was {first:.3g} at first")

    def state_dict(self) -> dict[str, Any]:
        return {"early": self.early}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.early = state["early"]


class AtomicIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file in its folder, and renames the file when it is complete.

    Lightning would use the temporary folder of the system. A process that is killed while the file is copied
    from another file system leaves an incomplete checkpoint.

    If a new last.ckpt replaces an older one, the older one stays as previous.ckpt.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        content = io.BytesIO()  # with a file, torch would hide the error of a full disk
        torch.save(checkpoint, content)
        with atomic_writer(path) as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
            # The new file is complete, and gets the name `path` when this block ends.
            if path.name == "last.ckpt" and path.exists():
                path.replace(path.with_name("previous.ckpt"))

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        # In torch's safe mode, for which Lightning before 2.6 cannot be asked.
        return torch.load(path, map_location="cpu", weights_only=True)


class Checkpoint(Callback):
    """Writes last.ckpt every `every` steps and at the end; `AtomicIO` keeps the one before as previous.ckpt.

    best.ckpt is written whenever the monitored metric improves.

    Raises:
        Diverged: a weight is not finite, or has exploded; the checkpoints on disk stay as they are.
    """

    place = "save"

    def __init__(
        self, folder: Path, every: int, log_scalars: LogScalars, monitor: str | None, higher_is_better: bool
    ):
        self.folder, self.every, self.log_scalars, self.monitor = folder, every, log_scalars, monitor
        self.sign = -1 if higher_is_better else 1  # the best checkpoint has the lowest sign * metric
        self.best = inf  # the lowest sign * metric so far

    def on_train_start(self, trainer: Trainer, module: GameModule) -> None:  # type: ignore[override]
        if trainer.is_global_zero:
            for incomplete in self.folder.glob("*.part"):
                incomplete.unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: Trainer, module: GameModule, *_: Any) -> None:  # type: ignore[override]
        metric = module.metrics.get(self.monitor or "")
        value = inf if metric is None else self.sign * metric
        is_better = value < self.best
        # The callback `Stop`, which is called before this one, sets `should_stop` in the last step.
        is_due = trainer.should_stop or module.game.run_step % self.every == 0
        if is_better or is_due:
            self.log_scalars.refuse_divergence(module.game.run_step, {WEIGHT: float(largest_weight(module))})
        if is_better:
            self.best = value
            trainer.save_checkpoint(self.folder / "best.ckpt")
        if is_due:
            trainer.save_checkpoint(self.folder / "last.ckpt")

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.best = state["best"]


def player_of_loss(name: str, players: Collection[str]) -> str | None:
    """The player whose loss contains a scalar as a term; None for scalars of tricks and gradient norms."""
    path, _, term = name.rpartition("/")
    owner = path.rpartition("/")[2]  # a player or a trick, without the name of a stage before it
    return owner if owner in players and term != "gradient_norm" else None


@torch.no_grad()
def largest_weight(module: nn.Module) -> Tensor:
    """The largest absolute value of all weights, a scalar on their device; NaN if a weight is NaN."""
    return nn.utils.get_total_norm(module.parameters(), torch.inf)
