"""A run that is ready for its next step: its module, its callbacks and its Trainer."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import Checkpoint as LightningCheckpoint

from ganlab.config.build import as_config_errors
from ganlab.config.prepare import PreparedRun
from ganlab.core.errors import require
from ganlab.metrics.evaluation import monitored_value
from ganlab.training.callbacks.pictures import FinalViews, SamplePictures
from ganlab.training.callbacks.profile import CallbackProfiler, Profile
from ganlab.training.callbacks.progress import ProgressBar
from ganlab.training.callbacks.record import AtomicIO, Checkpoint, Evaluate, LogScalars
from ganlab.training.callbacks.stop import Stop
from ganlab.training.module import GameModule
from ganlab.training.processes import LocalProcesses, cluster_environment

# The places, in the order of the calls. A callback declares its own as the class attribute `place`:
#   clock    before all others, whose time does not count as training
#   measure  where the metrics of a step are computed
#   show     where pictures are drawn: the step has its metrics, and is neither recorded nor saved
#   record   where the scalars and metrics are written
#   stop     where the run decides to end
#   save     where checkpoints are written, with the state of all callbacks
#   after    after all of this
PLACES = ("clock", "measure", "show", "record", "stop", "save", "after")
# A run is one epoch without validation: a callback that acts at the ends of those would never act.
IDLE_HOOKS = ("on_validation_end", "on_validation_epoch_end", "on_train_epoch_end")
STEP_HOOKS = ("on_train_batch_start", "on_train_batch_end")


class Run:
    """A run that is built, before it is begun.

    Attributes:
        is_main: whether this is the process that writes.
        data_sha256: the fingerprint of the data; None in a process that does not write.
        hardware: what may change the last bits of a result.
        hardware_history: that of each earlier part of the run that was played on different hardware.
        checkpoint: the checkpoint from which the Trainer restores the optimisers and callbacks; None: none.
        start_step: the number of steps that earlier processes have played.

    Raises:
        ConfigError: a setting does not suit the run, or the device does not support the precision.
    """

    def __init__(self, prepared: PreparedRun, processes: LocalProcesses, command: str):
        self.prepared, self.processes, self.command = prepared, processes, command
        self.module = GameModule(prepared.phases)
        self.module.is_run = True
        with as_config_errors():
            for callback in prepared.callbacks.values():
                if note := getattr(callback, "on_prepared", None):
                    note(prepared)
            callbacks = self._build_callbacks()
            cluster = cluster_environment()
            self.trainer: pl.Trainer = prepared.make_trainer(
                callbacks=in_order(callbacks, prepared.callbacks),
                max_epochs=-1,
                logger=False,
                profiler=CallbackProfiler(),
                plugins=[AtomicIO(), cluster] if cluster else [AtomicIO()],
                default_root_dir=prepared.directory.path,  # elsewhere it may find and load an hpc_ckpt
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                sync_batchnorm=False,  # `build_game` replaces the batch norms itself, for CPUs too
            )
        # On a CPU, Lightning would take bf16-mixed in silence.
        precision, remedy = prepared.settings.precision, "set it to bf16-mixed or 32-true"
        require(self.trainer.precision == precision, "needs a GPU", remedy, "trainer.precision", precision)
        self.is_main = self.trainer.is_global_zero
        self.data_sha256 = prepared.data.fingerprint() if self.is_main else None
        device = self.trainer.strategy.root_device
        module = torch.get_device_module(device)
        self.hardware = {
            "device": "cpu" if device.type == "cpu" else str(module.get_device_name(device)),
            "threads": torch.get_num_threads(),
            "processes": self.trainer.world_size,
        }
        self.hardware_history: list[dict[str, Any]] = []
        self.checkpoint: Path | None = None
        self.start_step = 0

    def _build_callbacks(self) -> list[Callback]:
        run, settings, timetable = self.prepared, self.prepared.settings, self.prepared.timetable
        scalars = LogScalars(run.directory, settings.log_every, timetable)
        self.evaluate = Evaluate(run.evaluations, settings.evaluate_every, timetable)
        self.bar = ProgressBar(scalars, timetable)
        self.stop = Stop(timetable.total)
        every, monitored = settings.checkpoint_every, monitored_value(run.evaluations, settings.monitor)
        return [
            self.bar,
            self.evaluate,
            SamplePictures(run.directory.samples, run.data, settings.sample_every, timetable),
            FinalViews(run.views, run.scene, run.games.parts, settings.sample_every, timetable),
            scalars,
            self.stop,
            Checkpoint(run.directory.checkpoints, every, scalars, *monitored),
            *([Profile(run.directory.path, timetable)] if settings.profile else []),
        ]


def in_order(own: Iterable[Callback], given: Mapping[str, Callback]) -> list[Callback]:
    """Those of ganlab and those of the config, by name, in the order of their places; first ganlab's in each.

    Raises:
        ConfigError: there is no such place, or the callback would never act.
    """
    for name, callback in given.items():
        key, kind, place = f"callback.{name}", type(callback), place_of(callback)
        is_ours = not isinstance(callback, LightningCheckpoint)
        remedy = "remove it, and set checkpoint_every and monitor"
        require(is_ours, "is not needed: ganlab writes the checkpoints", remedy, key, kind.__name__)
        require(place in PLACES, "is no place", f"choose from {', '.join(PLACES)}", key, place)
        idle, active = (
            [hook for hook in hooks if getattr(kind, hook) is not getattr(Callback, hook)]
            for hooks in (IDLE_HOOKS, STEP_HOOKS)
        )
        reason = f"acts in {', '.join(idle)}, which a run of one epoch without validation never reaches"
        require(active or not idle, reason, "use on_train_batch_end", key, kind.__name__)
    return sorted([*own, *given.values()], key=lambda callback: PLACES.index(place_of(callback)))


def place_of(callback: Callback) -> str:
    """The place that a callback declares; those of Lightning declare none."""
    return getattr(callback, "place", "show")
