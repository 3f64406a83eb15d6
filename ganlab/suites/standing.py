"""How a run of a suite stands: what is recorded of it, and what lies in its directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.suites.plan import Job
from ganlab.suites.results import Row


@dataclass(frozen=True)
class Standing:
    """What is recorded of a run: `row` is the one that counts, None where there is none."""

    row: Row | None
    stale: bool  # the numbers have changed since
    last: bool  # no other row of its arm and seed follows
    others: int  # rows of its arm and seed that are of another config, or of other data

    def done(self, rerun: str | None) -> bool:
        """Whether there is nothing to play; `rerun` names what is repeated."""
        if self.row is None or (rerun == "stale" and self.stale):
            return False
        return not (rerun == "failed" and self.row.status != "finished")

    def describe(self, job: Job) -> str:
        """In words, for a table."""
        if self.row is not None:
            reason = f": {self.row.reason}" if self.row.reason else ""
            return f"{self.row.status}{', stale' if self.stale else ''}{reason}"
        begun = rounds(job.directory)
        if begun is None:
            return "recorded of another config or of other data; to run" if self.others else "to run"
        if ended(job.directory):
            return "finished, not yet recorded"
        return f"interrupted at round {begun}"


def standing(job: Job, rows: Sequence[Row]) -> Standing:
    """What the rows of a suite say of one of its runs; of several that are of it, the last counts."""
    mine = [row for row in rows if (row.arm, row.seed) == (job.arm, job.seed)]
    same = [row for row in mine if (row.config, row.data) == (job.config, job.data)]
    row = same[-1] if same else None
    stale, last = row is not None and row.numerics != NUMERICS, row is not None and row is mine[-1]
    return Standing(row, stale, last, others=len(mine) - len(same))


def ended(directory: Path) -> bool:
    """Whether the run of a directory was played to its end."""
    return RunDirectory(directory).summary().get("status") == "finished"


def rounds(directory: Path) -> int | None:
    """How many rounds a run would go on from, 0 before its first checkpoint; None where none was begun."""
    run = RunDirectory(directory)
    if not (directory / "config.yaml").is_file():
        return None
    return clock(run, "last")[0] if run.has_checkpoint else 0


def clock(run: RunDirectory, checkpoint: str) -> tuple[int, float]:
    """How many rounds a checkpoint has, and in how many seconds they were played."""
    try:
        bar = run.checkpoint(checkpoint)[1]["callbacks"]["Bar"]
    except ConfigError:
        return 0, 0.0
    return int(bar["timed_steps"]), float(bar["seconds"])
