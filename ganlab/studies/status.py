"""How a run of a study stands, from its directory, which is the record."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ganlab.config import identity
from ganlab.config.run_directory import RunDirectory
from ganlab.core.numerics import NUMERICS
from ganlab.studies.composition import Job
from ganlab.studies.table import STATUSES, Row


def collected(job: Job, metrics: Sequence[str]) -> Row | None:
    """The row of a run, of which some metrics are wanted; None if it has not ended, or was not begun."""
    found: dict[str, Any] = RunDirectory(job.directory).summary()
    status, device = found.get("status"), str(found.get("device", ""))
    if status not in STATUSES:
        return None
    records = found.get("metrics", {}) if status == "finished" else {}
    ended = (job.directory / "summary.json").stat().st_mtime
    commit, threads = found.get("commit") or "", found.get("threads")
    if device == "cpu" and threads:  # on a CPU, the last bits depend on their number
        device += f", {threads} thread{'s' * (threads > 1)}"
    return Row(
        **{name: getattr(job, name) for name in ("arm", "seed", "config", "data", "parameters", "space")},
        **{name: found.get(name, 0) for name in ("steps", "images", "seconds")},
        status=status,
        reason=" ".join(str(found.get("reason") or "").split()),
        code=found.get("code_sha256") or identity.code(),
        commit=commit[:12] + "+" * commit.endswith("+"),
        device=device,
        finished=f"{datetime.fromtimestamp(ended, UTC):%Y-%m-%dT%H:%M:%SZ}",
        value=records[metrics[0]]["value"] if metrics[0] in records else None,
        metrics={name: records[name] for name in metrics if name in records},
        numerics=found.get("numerics", NUMERICS),
        course=course(job, metrics[0]),
    )


def course(job: Job, metric: str) -> dict[str, float]:
    """A metric of a run by the step of each evaluation so far; a half-written row is left out."""
    try:
        text = RunDirectory(job.directory).metrics.read_text()
    except (OSError, ValueError):
        return {}
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return {row["step"]: float(row[metric]) for row in rows if row.get(metric)}
