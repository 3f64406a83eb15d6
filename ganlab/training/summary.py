"""summary.json: the status of a run, its speed, its metrics and its provenance."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ganlab.core.errors import final_status
from ganlab.training.provenance import git_commit, versions

if TYPE_CHECKING:
    from ganlab.training.session import Session


def write_summary(session: Session, status: str, reason: str | None) -> None:
    if not session.is_main:
        return
    step = session.module.game.step
    entries: dict[str, Any] = {
        "status": status,
        "reason": reason,
        "steps": step,
        "images": session.times.images_seen(step),
        "seconds": round(session.bar.seconds, 3),
        "images_per_second": round(session.bar.images_per_second, 1),
        "skipped": len(session.data.skipped),
        "training_samples": len(session.data),
        "seed": session.cfg.seed,
        "data_sha256": session.data_sha256,
        **session.hardware,
        "commit": git_commit(),
        "versions": versions(),
        "command": session.command,
        "before": session.hardware_history,
    }
    if session.evaluate_callback.record:
        entries["metrics"] = session.evaluate_callback.record
    session.directory.write_summary(**entries)


def write_failure(session: Session, error: BaseException, silent: bool = False) -> None:
    """Writes the summary of a run that an error ended; `silent`: without a word if that fails, too."""
    try:
        write_summary(session, *final_status(error))
    except OSError as other:  # a full disk must not hide why the run ended
        if not silent:
            print(f"summary.json could not be written: {other.strerror}", file=sys.stderr)
