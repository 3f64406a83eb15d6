"""The Lightning Trainer of a run, and its callbacks."""

import pytorch_lightning as pl

from ganlab.config.build import as_config_errors
from ganlab.config.prepare import PreparedRun
from ganlab.core.errors import require
from ganlab.metrics.evaluation import monitored_value
from ganlab.training.callbacks.pictures import FinalViews, SamplePictures
from ganlab.training.callbacks.places import in_order
from ganlab.training.callbacks.profile import CallbackProfiler, Profile
from ganlab.training.callbacks.progress import ProgressBar
from ganlab.training.callbacks.record import AtomicIO, Checkpoint, Evaluate, LogScalars
from ganlab.training.callbacks.stop import Stop
from ganlab.training.processes import cluster_environment


class RunCallbacks:
    """The callbacks of a run: those that others ask for results, and `all` in the order of their calls."""

    def __init__(self, run: PreparedRun):
        settings, data, directory, timetable = run.settings, run.data, run.directory, run.timetable
        with as_config_errors():
            scalars = LogScalars(directory, settings.log_every, timetable)
            self.evaluate = Evaluate(run.evaluations, settings.evaluate_every, timetable)
            self.bar = ProgressBar(scalars, timetable)
            self.stop = Stop(timetable.total)
            monitor, higher_is_better = monitored_value(run.evaluations, settings.monitor)
            every = settings.checkpoint_every
            own = [
                self.bar,
                self.evaluate,
                SamplePictures(directory.samples, data, settings.sample_every, timetable),
                FinalViews(run.views, run.scene, run.games.parts, settings.sample_every, timetable),
                scalars,
                self.stop,
                Checkpoint(directory.checkpoints, every, scalars, monitor, higher_is_better),
                *([Profile(directory.path, timetable)] if settings.profile else []),
            ]
            self.all = in_order(own, run.callbacks)


def build_trainer(run: PreparedRun, callbacks: RunCallbacks) -> pl.Trainer:
    """The Trainer, with the settings that ganlab itself determines.

    Raises:
        ConfigError: the device does not support the precision.
    """
    cluster = cluster_environment()
    with as_config_errors():
        trainer = run.make_trainer(
            callbacks=callbacks.all,
            max_epochs=-1,
            logger=False,
            profiler=CallbackProfiler(),
            plugins=[AtomicIO(), cluster] if cluster else [AtomicIO()],
            default_root_dir=run.directory.path,  # elsewhere Lightning may find an hpc_ckpt and load it
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            sync_batchnorm=False,  # `build_game` replaces the batch norms itself, for CPUs too
        )
    # On a CPU, Lightning would take bf16-mixed in silence.
    supported, remedy = trainer.precision == run.settings.precision, "set it to bf16-mixed or 32-true"
    require(supported, "needs a GPU", remedy, "trainer.precision", run.settings.precision)
    return trainer
