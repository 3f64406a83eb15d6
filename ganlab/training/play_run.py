"""A run from its start to its end: it is built, begun or restored, played, measured and closed."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from copy import deepcopy
from traceback import walk_tb
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.config import identity
from ganlab.config.load import load_players, load_weights
from ganlab.config.overrides import shell_override
from ganlab.config.prepare import PreparedRun, hyperparameters
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError, Diverged, ProcessLost, error_message, escape_unprintable, require
from ganlab.game import Game
from ganlab.training.callbacks.weights_and_biases import check_wandb_mode
from ganlab.training.module import Phase
from ganlab.training.play import Play
from ganlab.training.process_settings import keep_memory, silence_lightning
from ganlab.training.processes import LocalProcesses, exit_after_parent, has_parent, is_lost_connection
from ganlab.training.provenance import command_line, git_commit
from ganlab.training.report import print_header, print_summary, write_failure, write_summary
from ganlab.training.run import Run
from ganlab.training.train import CALLBACK, Result
from ganlab.tricks.base import GradientRegulariser


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
    composed = deepcopy(config)  # which `PreparedRun` completes
    prepared = PreparedRun(config, overrides, run_dir, Phase, Play, pl.Trainer, pl.Callback)
    for phase in prepared.phases:
        for part in phase.game.parts.values():
            warn_of_batch_norm(part)
    settings, directory = prepared.settings, prepared.directory
    processes = LocalProcesses(settings.devices, settings.num_nodes)
    try:
        run = Run(prepared, processes, command_line(overrides))
        begin(run)
        if run.is_main and not settings.resume:
            directory.write_summary(**identity.hashes(composed))
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


def play_run(run: Run) -> Result:
    """Trains and evaluates. Writes how the run ended to summary.json, even if it was an error."""
    # What the loggers get: "failed", "stopped" or "success". A signal that ends training cleanly is a success
    # for them, although the status of the run is then "stopped".
    logger_status = "failed"
    try:
        if run.is_main:
            run.trainer.loggers = run.prepared.loggers()
            if run.trainer.loggers:  # otherwise git need not be asked
                shown = {**hyperparameters(run.prepared.record), "commit": git_commit()}
                for logger in run.trainer.loggers:
                    logger.log_hyperparams(shown)
            print_header(run)
        fit(run)
        result = result_of(run)
        write_summary(run, result.status, result.reason)
        logger_status = "success"
    except BaseException as error:
        reported = error_for_user(run, error)
        # KeyboardInterrupt, by which Ctrl-C stops the run, is no `Exception`.
        logger_status = "failed" if isinstance(reported, Exception) else "stopped"
        # What causes an OSError, such as a full disk, may also prevent writing the summary.
        write_failure(run, reported, silent=isinstance(error, OSError))
        if reported is error:
            raise
        raise reported from error
    finally:
        close(run, logger_status)
    if run.is_main:
        print_summary(run, result)
    return result


def play_in_started_process() -> None:
    """Plays a run in a process that `LocalProcesses` has started."""
    threading.Thread(target=exit_after_parent, daemon=True).start()
    config: Any = OmegaConf.create(os.environ["GANLAB_CONFIG"])
    try:
        play_run(start_run(config))
    except BaseException as error:
        if has_parent():  # otherwise the first process has ended, and reported the error
            print(f"process {os.environ['LOCAL_RANK']}: {error_message(error)}", file=sys.stderr)
        os._exit(1)


def fit(run: Run) -> None:
    """Plays the remaining steps, after optimisers and callbacks were restored from the checkpoint, if any."""
    module, trainer, stop = run.module, run.trainer, run.stop
    device, rank, world_size = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
    seed, stages = run.prepared.settings.seed, run.prepared.timetable.steps_and_batch_sizes
    stream = run.prepared.data.stream(seed, lambda: module.game.run_step, device, rank, world_size, stages)
    if world_size > 1:
        stop.catch_sigterm()
    trainer.fit(module, stream, ckpt_path=run.checkpoint)
    stop.release()


def result_of(run: Run) -> Result:
    """The result after the last step, or after a signal or a callback has stopped the run."""
    signal_name, evaluate = run.stop.signal, run.evaluate
    metrics = {} if signal_name else run.module.metrics
    if not (signal_name or metrics):  # an earlier process may have played the last step
        metrics = evaluate.measure(run.module.to(run.trainer.strategy.root_device).parts)
    reason = signal_name or (CALLBACK if run.module.game.run_step < run.prepared.timetable.total else None)
    return Result(
        metrics=metrics,
        records=evaluate.latest_records,
        status="stopped" if reason else "finished",
        reason=reason,
        run_dir=run.prepared.directory.path,
        game=run.module.game.eval(),
    )


def error_for_user(run: Run, error: BaseException) -> BaseException:
    """The error to report to the user: the given error, or one that explains it."""
    if isinstance(error, SystemExit):
        return KeyboardInterrupt()  # Lightning raises SystemExit after a Ctrl-C before the first step
    if isinstance(error, ConfigError | Diverged | ProcessLost):
        # These errors arise in all processes, so a lost process is their consequence and not their cause.
        return error
    if lost := run.processes.wait_for_lost_process():
        return ProcessLost(lost)
    if run.trainer.world_size > 1 and is_lost_connection(error):
        # torchrun sends SIGTERM, and this process still has to print the error.
        run.stop.ignore_sigterm()
        resume = shell_override("resume", run.prepared.directory.path)
        return ProcessLost(f"another process is gone, so all end; {resume} continues")
    if isinstance(error, OSError) and (run.module.game.run_step or run.prepared.settings.resume):
        return run.prepared.directory.io_error(error, has_trained=True)
    if run.module.game.run_step > run.start_step or not isinstance(error, Exception):
        return error
    names = {id(module): name for name, module in run.module.named_modules()}
    names |= {id(callback): f"callback.{name}" for name, callback in run.prepared.callbacks.items()}
    frames = (names.get(id(frame.f_locals.get("self"))) for frame, _ in walk_tb(error.__traceback__))
    place = [name.removeprefix("game.").replace("tricks.", "trick.") for name in frames if name][-1:]
    reason = f"the first step failed: {error_message(error)} (HYDRA_FULL_ERROR=1 shows where)"
    return ConfigError(reason, key=".".join(place))


def close(run: Run, logger_status: str) -> None:
    """Ends loggers and other processes, and releases the run directory.

    If the run failed before its first step, the files in the directory are removed.
    """
    run.stop.release()
    run.processes.ended.set()  # from here on, the end of a process is no error
    for logger in run.trainer.loggers:
        try:
            logger.finalize(logger_status)
        except Exception as error:  # a logger must not prevent the end of the run
            # An OSError of a failed run is most likely the error that ended it, which is reported anyway.
            if logger_status != "failed" or not isinstance(error, OSError):
                print(f"{type(logger).__name__} could not end: {error_message(error)}", file=sys.stderr)
    run.processes.end()
    if logger_status == "failed" and not run.module.game.run_step and not run.prepared.settings.resume:
        run.prepared.directory.discard()
    run.prepared.directory.release()
