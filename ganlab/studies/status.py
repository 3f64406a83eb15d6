"""How a run of a study stands, from its directory, which is the record, and from results.csv."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ganlab.config.run_directory import RunDirectory
from ganlab.core.numerics import NUMERICS
from ganlab.studies.composition import Job
from ganlab.studies.table import STATUSES, Row


@dataclass(frozen=True)
class Status:
    """What results.csv says of a run: `row` is the one that counts, None if there is none."""

    row: Row | None
    is_stale: bool  # its numbers are of other numerics
    others: int  # rows of its arm and seed of another config or other data

    def is_done(self, rerun: str | None) -> bool:
        """Whether there is nothing to play; `rerun` names what is repeated."""
        if self.row is None or self.row.status == "interrupted" or (rerun == "stale" and self.is_stale):
            return False
        return rerun != "failed" or self.row.status == "finished"

    def describe(self) -> str:
        if self.row is None:
            return "recorded of another config or of other data; to run" if self.others else "to run"
        reason = f": {self.row.reason}" if self.row.reason else ""
        return f"{self.row.status}{', stale' if self.is_stale else ''}{reason}"


def status(rows: Sequence[Row], arm: str, seed: int, config: str, data: str | None) -> Status:
    """How a run stands; data=None: of whatever data."""
    mine = [row for row in rows if (row.arm, row.seed) == (arm, seed)]
    same = [row for row in mine if row.config == config and data in (None, row.data)]
    newest = max(same, key=lambda row: (row.numerics, row.finished), default=None)
    return Status(newest, newest is not None and newest.numerics != NUMERICS, len(mine) - len(same))


def collected(job: Job) -> Row | None:
    """The row of a run from its summary.json; None if it has not ended, or was not begun."""
    directory = RunDirectory(job.directory)
    found: dict[str, Any] = directory.summary()
    status = found.get("status")
    if status not in STATUSES:
        return None
    records = found.get("metrics", {}) if status == "finished" else {}
    ended = (job.directory / "summary.json").stat().st_mtime
    commit, name, threads = found.get("commit") or "", str(found.get("device", "")), found.get("threads")
    # On a CPU, the last bits depend on the number of threads.
    on_threads = f", {threads} thread{'s' * (threads > 1)}" if name == "cpu" and threads else ""
    return Row(
        **{name: getattr(job, name) for name in ("arm", "seed", "config", "data", "parameters", "space")},
        status=status,
        reason=" ".join(str(found.get("reason") or "").split()),
        code=found.get("code_sha256") or job.code,
        commit=commit[:12] + "+" * commit.endswith("+"),
        steps=found.get("steps", 0),
        images=found.get("images", 0),
        seconds=found.get("seconds", 0.0),
        device=name + on_threads,
        finished=f"{datetime.fromtimestamp(ended, UTC):%Y-%m-%dT%H:%M:%SZ}",
        value=records[job.metrics[0]]["value"] if job.metrics[0] in records else None,
        metrics={name: records[name] for name in job.metrics if name in records},
        numerics=found.get("numerics", NUMERICS),
        course=course(job),
    )


def course(job: Job) -> dict[str, float]:
    """The first metric of a run by the step of each evaluation so far; a half-written row is left out."""
    try:
        text = RunDirectory(job.directory).metrics.read_text()
    except (OSError, ValueError):
        return {}
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return {row["step"]: float(row[job.metrics[0]]) for row in rows if row.get(job.metrics[0])}
