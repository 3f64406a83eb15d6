"""Functions that play a session from its first step to its end, and print its header and its results."""

import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.build import instantiate
from ganlab.config.overrides import shell_override
from ganlab.config.parts import part_configs
from ganlab.config.setting_types import is_borrowed
from ganlab.core.errors import ConfigError, Diverged, ProcessLost, error_message, escape_unprintable
from ganlab.core.players import path
from ganlab.core.validation import format_number
from ganlab.metrics.protocols import floor_note
from ganlab.training.processes import exit_after_parent, has_parent, is_lost_connection
from ganlab.training.provenance import hyperparameters
from ganlab.training.session import Session


def play(session: Session) -> dict[str, float]:
    """Trains and evaluates. Writes how the run ended to summary.json, even if it was an error.

    Returns:
        The metrics after the last step, by name; empty if a signal stopped the run.
    """
    # What the loggers get: "failed", "stopped" or "success". A signal that ends training cleanly is a success
    # for them, although the status of the run is then "stopped".
    logger_status = "failed"
    try:
        if session.is_main:
            cfg, directory = session.cfg, session.directory
            partials = map(instantiate, cfg.logger.values())
            session.trainer.loggers = [make(directory=directory) for make in partials]
            for logger in session.trainer.loggers:
                logger.log_hyperparams(hyperparameters(cfg))
            print_header(session)
        fit(session)
        signal_name = session.stop.signal
        status = "stopped" if signal_name else "finished"
        metrics = {} if signal_name else session.module.metrics
        if not (signal_name or metrics):  # an earlier process may have played the last step
            module = session.module.to(session.trainer.strategy.root_device)
            metrics = session.evaluate_callback.measure(module.parts)
        session.write_summary(status, reason=signal_name)
        logger_status = "success"
    except BaseException as error:
        reported = error_for_user(session, error)
        # KeyboardInterrupt, by which Ctrl-C stops the run, is no `Exception`.
        logger_status = "failed" if isinstance(reported, Exception) else "stopped"
        # What causes an OSError, such as a full disk, may also prevent writing the summary.
        session.write_failure(reported, silent=isinstance(error, OSError))
        if reported is error:
            raise
        raise reported from error
    finally:
        close(session, logger_status)
    if session.is_main:
        print_summary(session, status, metrics)
    if signal_name and session.cfg.job is not None:  # the run is a job of a sweep
        raise SystemExit(f"{signal_name} ended the sweep")
    return metrics


def play_in_started_process() -> None:
    """Plays a run in a process that `LocalProcesses` has started."""
    threading.Thread(target=exit_after_parent, daemon=True).start()
    cfg: Any = OmegaConf.create(os.environ["GANLAB_CONFIG"])
    try:
        play(Session(cfg))
    except BaseException as error:
        if has_parent():  # otherwise the first process has ended, and reported the error
            print(f"process {os.environ['LOCAL_RANK']}: {error_message(error)}", file=sys.stderr)
        os._exit(1)


def fit(session: Session) -> None:
    """Plays the remaining steps, after optimisers and callbacks were restored from the checkpoint, if any."""
    module, trainer = session.module, session.trainer
    device, rank, world_size = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
    seed, stages = session.cfg.seed, session.timetable.steps_and_batch_sizes
    stream = session.data.stream(seed, lambda: module.game.run_step, device, rank, world_size, stages)
    if world_size > 1:
        session.stop.catch_sigterm()
    trainer.fit(module, stream, ckpt_path=session.checkpoint, weights_only=True)
    session.stop.release_sigterm()


def error_for_user(session: Session, error: BaseException) -> BaseException:
    """The error to report to the user: the given error, or one that explains it."""
    if isinstance(error, SystemExit):
        return KeyboardInterrupt()  # Lightning raises SystemExit after a Ctrl-C before the first step
    if isinstance(error, ConfigError | Diverged | ProcessLost):
        # These errors arise in all processes, so a lost process is their consequence and not their cause.
        return error
    if lost := session.local_processes.wait_for_lost_process():
        return ProcessLost(lost)
    if session.trainer.world_size > 1 and is_lost_connection(error):
        session.stop.ignore_sigterm()  # torchrun sends it, and this process still has to print the error
        resume = shell_override("resume", session.directory.path)
        return ProcessLost(f"another process is gone, so all end; {resume} continues")
    if isinstance(error, OSError) and (session.module.game.run_step or session.cfg.resume):
        return session.directory.io_error(error, has_trained=True)
    if session.module.game.run_step > session.start_step or not isinstance(error, Exception):
        return error
    return ConfigError(f"the first step failed: {error_message(error)} (HYDRA_FULL_ERROR=1 shows where)")


def close(session: Session, logger_status: str) -> None:
    """Ends loggers and other processes, and releases the run directory.

    If the run failed before its first step, the files in the directory are removed.
    """
    session.stop.release_sigterm()
    session.local_processes.ended.set()  # from here on, the end of a process is no error
    for logger in session.trainer.loggers:
        try:
            logger.finalize(logger_status)
        except Exception as error:  # a logger must not prevent the end of the run
            # An OSError of a failed run is most likely the error that ended it, which is reported anyway.
            if logger_status != "failed" or not isinstance(error, OSError):
                print(f"{type(logger).__name__} could not end: {error_message(error)}", file=sys.stderr)
    session.local_processes.end()
    if logger_status == "failed" and not session.module.game.run_step and not session.cfg.resume:
        session.directory.discard()
    session.directory.release()


def print_header(session: Session) -> None:
    cfg, data, game, last_step = session.cfg, session.data, session.module.game, session.timetable.total
    # A network is named after the module of the function that builds it, such as "mlp". Most of these
    # functions have the name of the network, such as `generator`, which says nothing new.
    networks = [
        f"{path(part, name)} {target_name(part_cfg.model[name], name)} of "
        f"{sum(weight.numel() for weight in network.parameters()):,} weights"
        for part, part_cfg in part_configs(cfg).items()
        for name, network in session.module.parts[part].networks.items()
    ]
    size = "x".join(map(str, data.shape))
    samples = "samples" if data.value_range is None else "images"
    tricks = f"with {', '.join(cfg.trick)}" if cfg.trick else "without tricks"
    lines = {
        "networks": ", ".join(networks),
        "data": f"{len(data):,} {samples} of {size} ({target_name(cfg.data)}), {data.batch_size} a step",
        "game": f"{target_name(cfg.objective)} {tricks}, steps {game.run_step + 1:,} to {last_step:,}",
        "device": "{device}, threads: {threads}, processes: {processes}".format(**session.hardware)
        + f", precision: {cfg.trainer.precision}",
    }
    print_table(escape_unprintable(str(session.directory.path)), lines | view_command(session))


def print_summary(session: Session, status: str, metrics: Mapping[str, float]) -> None:
    path, data, bar = session.directory.path, session.data, session.bar
    records = session.evaluate_callback.latest_records
    speed = f"{bar.seconds:.1f} s, {bar.images_per_second:,.0f} images/s"
    lines = {"steps": f"{session.module.game.run_step:,}", "training": speed}
    run = shell_override("run_dir", path)
    for name, value in metrics.items():
        lines[name] = format_number(value) + floor_note(records.get(name, {}))
    if status == "finished" and not metrics and data.value_range is not None:
        # KID draws subsets of 1000 images by default.
        subset_size = f" metric.kid.subset_size={len(data)}" if len(data) < 1000 else ""
        lines["measured"] = f"nothing: python -m ganlab.evaluate {run} 'metric=[kid]'{subset_size}"
    if data.skipped:
        lines["skipped"] = f"{len(data.skipped)} files that are not images, {data.skipped[0]} first"
    if session.cfg.profile:
        lines["profile"] = f"{path / 'profile.txt'}, and profile.json for chrome://tracing or Perfetto"
    lines |= {"samples": str(path / "samples"), "everything": str(path)} | view_command(session)
    if status == "stopped":
        lines["resume"] = f"python -m ganlab.run {shell_override('resume', path)}"
    else:
        lines["more"] = f"python -m ganlab.sample {run}"
    print_table(f"\n{status}", lines)


def target_name(node: DictConfig, function: str = "") -> str:
    """The name to print for what a node builds, such as "Digits" for `ganlab.data.vision.Digits`.

    If it is the function of this name, its module is named, such as "dcgan" for
    `ganlab.networks.dcgan.generator`. What a network borrows from is named as in "borrowed from game".
    """
    if is_borrowed(node):
        return f"borrowed from {node.borrowed}"
    return str(node._target_).removesuffix(f".{function}").rpartition(".")[2]


def view_command(session: Session) -> dict[str, str]:
    """The address of what each logger wrote, or the command that shows it; by the name of the logger."""
    loggers = zip(session.cfg.logger, session.trainer.loggers, strict=True)
    return {str(name): text for name, logger in loggers if (text := getattr(logger, "view_command", None))}


def print_table(title: str, lines: Mapping[str, str]) -> None:
    """Prints a title, and below it the labels and texts in two columns."""
    width = max(map(len, lines)) + 2
    rows = (f"  {label:<{width}}{escape_unprintable(text)}" for label, text in lines.items())
    print(title, *rows, sep="\n", flush=True)
