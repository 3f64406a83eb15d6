"""A run from its first step to its end."""

import os
import sys
import threading
from typing import Any

from omegaconf import OmegaConf

from ganlab.config.overrides import shell_override
from ganlab.config.prepare import hyperparameters
from ganlab.core.errors import ConfigError, Diverged, ProcessLost, error_message
from ganlab.training.processes import exit_after_parent, has_parent, is_lost_connection
from ganlab.training.provenance import git_commit
from ganlab.training.report import print_header, print_summary, write_failure, write_summary
from ganlab.training.run import Run
from ganlab.training.start import start_run
from ganlab.training.train import CALLBACK, Result


def play_run(run: Run) -> Result:
    """Trains and evaluates. Writes how the run ended to summary.json, even if it was an error."""
    # What the loggers get: "failed", "stopped" or "success". A signal that ends training cleanly is a success
    # for them, although the status of the run is then "stopped".
    logger_status = "failed"
    try:
        if run.is_main:
            run.trainer.loggers = run.prepared.loggers()
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
    trainer.fit(module, stream, ckpt_path=run.checkpoint, weights_only=True)
    stop.release()


def result_of(run: Run) -> Result:
    """The result after the last step, or after a signal or a callback has stopped the run."""
    signal_name, evaluate = run.stop.signal, run.evaluate
    metrics = {} if signal_name else run.module.metrics
    if not (signal_name or metrics):  # an earlier process may have played the last step
        metrics = evaluate.measure(run.module.to(run.trainer.strategy.root_device).parts)
    stopped_early = run.module.game.run_step < run.prepared.timetable.total
    reason = signal_name or (CALLBACK if stopped_early else None)
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
    return ConfigError(f"the first step failed: {error_message(error)} (HYDRA_FULL_ERROR=1 shows where)")


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
