"""The start of a run: everything is built, then its directory is created, or restored to be continued."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.config.load import load_players, load_weights
from ganlab.config.prepare import PreparedRun
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ProcessLost, escape_unprintable, require
from ganlab.game import Game
from ganlab.training.callbacks.weights_and_biases import check_wandb_mode
from ganlab.training.module import Phase
from ganlab.training.play import Play
from ganlab.training.process_settings import keep_memory, silence_lightning
from ganlab.training.processes import LocalProcesses
from ganlab.training.provenance import command_line
from ganlab.training.report import write_failure, write_summary
from ganlab.training.run import Run
from ganlab.tricks.gradient_regulariser import GradientRegulariser


def start_run(config: DictConfig, overrides: Sequence[str] = (), run_dir: RunDirectory | None = None) -> Run:
    """Builds a run, begins it, and starts its other processes. If this fails, nothing is left behind.

    Args:
        config: the config from `config_to_play`. The directory of the run and the classes of the data are
            written into it.
        overrides: the overrides of the command line.
        run_dir: the directory of the run to resume, if its config was read already.
    """
    silence_lightning()
    keep_memory()  # makes malloc keep freed memory, which speeds up steps on the CPU
    check_wandb_mode(config)
    prepared = PreparedRun(config, overrides, run_dir, Phase, Play, pl.Trainer, pl.Callback)
    for phase in prepared.phases:
        for part in phase.game.parts.values():
            warn_of_batch_norm(part)
    settings, directory = prepared.settings, prepared.directory
    processes = LocalProcesses(settings.devices, settings.num_nodes)
    try:
        run = Run(prepared, processes, command_line(overrides))
        begin(run)
    except BaseException as error:
        processes.end()  # otherwise the next job of a sweep would wait for them
        directory.discard()
        directory.release()
        if isinstance(error, OSError):
            raise directory.io_error(error, has_trained=bool(settings.resume)) from error
        raise
    return run


def begin(run: Run) -> None:
    """Creates the run directory, or restores the run in it; then starts the other processes."""
    prepared, directory, settings = run.prepared, run.prepared.directory, run.prepared.settings
    if run.is_main:
        (directory.lock if settings.resume else directory.create)()
    if settings.resume:
        resume(run)
    else:
        # With the weights of somebody else's run, this run counts as somebody else's, too. Its config is
        # then not signed, so it may only name classes of ganlab and optimisers of torch.
        directory.made_by_user = all(lent.directory.made_by_user for lent in prepared.borrowed.values())
        if settings.init_from:
            directory.made_by_user &= RunDirectory(settings.init_from).read_config()[1]
    # A run that was started with `init_from` still has this setting when it is resumed. It then needs the
    # weights again only if it was killed before its first checkpoint.
    if settings.init_from and run.checkpoint is None:
        _, content = RunDirectory(settings.init_from).checkpoint()
        load_players(run.module, content)
    if run.is_main:
        directory.make_folders()
        prepared.write_record(copy_borrowed=not settings.resume)
    prepared.borrowed.clear()
    write_summary(run, "running", reason=None)
    run.processes.start(prepared.text_for_processes, lambda lost: write_failure(run, ProcessLost(lost)))


def resume(run: Run) -> None:
    """Restores the last checkpoint. A run that was killed early has none, and starts again."""
    directory, settings = run.prepared.directory, run.prepared.settings
    saved = directory.summary()
    history = saved.get("before")  # the key of the hardware history in summary.json
    run.hardware_history = history if isinstance(history, list) else []
    refuse_other_data(run, saved)
    if not directory.has_checkpoint:
        return
    run.checkpoint, content = directory.checkpoint()
    load_weights(run.module, content)
    # The setting `steps` counts the steps of the main game only.
    run.start_step, main_steps = run.module.game.run_step, run.module.phases[-1].step
    reason = f"{settings.resume} has already played {main_steps} steps"
    require(main_steps <= settings.steps, reason, "raise it", "steps", settings.steps)
    changed = {name: saved[name] for name, now in run.hardware.items() if saved.get(name, now) != now}
    if changed and run.is_main:
        run.hardware_history = [*run.hardware_history, {"steps": run.start_step, **changed}]
        changes = (f"{name} {run.hardware[name]} ({then} before)" for name, then in changed.items())
        text = escape_unprintable(", ".join(changes))
        print(f"resuming with {text}: the last bits may differ from an uninterrupted run's")


def refuse_other_data(run: Run, saved: Mapping[str, Any]) -> None:
    """Refuses data that differ from those of a saved summary; compares hashes in the process that writes."""
    data, settings, sha256 = run.prepared.data, run.prepared.settings, run.data_sha256
    samples, old_hash = saved.get("training_samples"), saved.get("data_sha256")
    classes, new_classes = settings.class_names, list(data.class_names or ())
    remedy = "restore the data, or start a new run with init_from"
    for old, new, reason in (
        (samples, len(data), f"was trained on {samples} samples, but there are {len(data)} now"),
        (classes, new_classes, f"was trained on the classes {classes}, but they are {new_classes} now"),
        (old_hash, sha256, f"was trained on data of SHA-256 {old_hash!s:.12}, but it is {sha256!s:.12} now"),
    ):
        require(old in (None, new) or new is None, reason, remedy, "resume", settings.resume)


@rank_zero_only
def warn_of_batch_norm(game: Game) -> None:
    """Warns if a trick penalises the gradient at each sample, but batch norm couples the samples."""
    names = [name for name, trick in game.tricks.items() if isinstance(trick, GradientRegulariser)]
    layers = () if game.discriminator is None else game.discriminator.modules()
    if names and any(isinstance(layer, _BatchNorm) for layer in layers):
        reason = "the discriminator has batch norm, so the gradient at a sample depends on its whole batch"
        print(f"{', '.join(names)}: {reason}; trick=normalisation removes it", file=sys.stderr)
