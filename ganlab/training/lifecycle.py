"""What happens to a session between its first step and its end."""

from __future__ import annotations

import sys

from ganlab.config.overrides import shell_override
from ganlab.core.errors import ConfigError, Diverged, ProcessLost, one_line
from ganlab.training.console import print_header, print_summary
from ganlab.training.processes import is_lost_connection
from ganlab.training.session import Session
from ganlab.training.summary import write_failure, write_summary


def play(session: Session) -> dict[str, float]:
    """Trains and evaluates. However the run ends, summary.json records it."""
    outcome = "failed"
    try:
        session.trainer.loggers = session.build_loggers()
        if session.is_main:
            print_header(session)
        fit(session)
        stopped = session.stop.signal
        status = "stopped" if stopped else "finished"
        metrics = {} if stopped else final_metrics(session)
        write_summary(session, status, stopped)
        outcome = "success"
    except BaseException as error:
        shown = user_facing(session, error)
        outcome = "failed" if isinstance(shown, Exception) else "stopped"
        write_failure(session, shown, silent=isinstance(error, OSError))
        if shown is error:
            raise
        raise shown from error
    finally:
        close(session, outcome)
    if session.is_main:
        print_summary(session, status, metrics)
    if stopped and session.cfg.job is not None:
        raise SystemExit(f"{stopped} ended the sweep")
    return metrics


def fit(session: Session) -> None:
    """Plays the steps that are left, after restoring optimisers and callbacks from a checkpoint, if any."""
    module, trainer = session.module, session.trainer
    where = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
    stream = session.data.stream(session.cfg.seed, lambda: module.game.step, *where, session.times.budgets)
    trainer.fit(module, stream, ckpt_path=session.checkpoint, weights_only=True)


def final_metrics(session: Session) -> dict[str, float]:
    """The metrics after the last step; measured now if an earlier process played that step."""
    if session.module.recorder.metrics:
        return session.module.recorder.metrics
    metrics = session.evaluation(session.module.to(session.trainer.strategy.root_device).game)
    session.evaluate_callback.record = session.evaluation.records(metrics, session.module.game)
    return metrics


def user_facing(session: Session, error: BaseException) -> BaseException:
    """The error that the user sees."""
    if isinstance(error, SystemExit):
        return KeyboardInterrupt()  # Lightning exits upon a Ctrl-C before the first step
    if isinstance(error, ConfigError | Diverged | ProcessLost):
        return error  # every process raises the same, and the others may have ended already
    if lost := session.local_ranks.lost_rank_message():
        return ProcessLost(lost)
    if session.trainer.world_size > 1 and is_lost_connection(error):
        session.stop.ignore_sigterm()
        resume = shell_override("resume", session.directory.path)
        return ProcessLost(f"another process is gone, so all end; {resume} continues")
    if isinstance(error, OSError) and (session.module.game.step or session.cfg.resume):
        return session.directory.io_error(error, begun=True)
    if session.module.game.step > session.start_step or not isinstance(error, Exception):
        return error
    return ConfigError(f"the first step failed: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)")


def close(session: Session, outcome: str) -> None:
    """Ends loggers and other processes, and releases the run directory; removes it if no step was played."""
    session.local_ranks.ended.set()  # from here on no process is missed, however long a logger takes
    for logger in session.trainer.loggers:
        try:
            logger.finalize(outcome)
        except Exception as error:  # which must not keep the run from its end
            if outcome == "failed" and isinstance(error, OSError):
                continue  # most likely the error that ended the run, which is shown
            print(f"{type(logger).__name__} could not end: {one_line(error)}", file=sys.stderr)
    session.local_ranks.end()
    if outcome == "failed" and not session.module.game.step and not session.cfg.resume:
        session.directory.discard()
    session.directory.release()
