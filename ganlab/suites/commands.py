"""The commands that play the runs of a suite again."""

import re
import shlex
from pathlib import Path

from ganlab.suites.findings import Findings, Found


def commands(findings: Findings) -> str:
    """The command of each arm, with what its rows say of threads and commit, and that of the whole suite."""
    suite = findings.suite
    seeds = ",".join(map(str, suite.seeds))
    sweep = ["-m"] if len(suite.seeds) > 1 else []
    lines = []
    for found in findings.arms.values():
        arm = found.arm
        line = ["python", "-m", "ganlab.run", *sweep, *suite.base, *arm.overrides, f"seed={seeds}"]
        lines.append(f"# {arm.name}{commit(found)}\n{threads(found)}{shlex.join(line)}")
    which = f"suite={shown(suite.folder)}"
    block = "\n".join(["```", *lines, "```"])
    return (
        f"{block}\n\n`python -m ganlab.ablate {which}` runs what is missing, `python -m ganlab.report "
        f"{which}` writes this page. Data that lie elsewhere: `data.root=...` of a run, `root=...` of all."
    )


def commit(found: Found) -> str:
    """Behind the name of an arm, of which commit its rows are; one with a plus was changed."""
    commits = dict.fromkeys(row.commit for row in found.rows.values() if row.commit)
    return f", played at commit {' and '.join(commits)}" if commits else ""


def threads(found: Found) -> str:
    """In front of a command, with how many threads its rows were played, on which last bits hang."""
    counts = {re.search(r"(\d+) threads?$", row.device) for row in found.rows.values()}
    numbers = {count[1] for count in counts if count is not None}
    return f"OMP_NUM_THREADS={numbers.pop()} " if len(numbers) == 1 else ""


def shown(folder: Path) -> Path:
    """A folder as one writes it where its commands are given; of one elsewhere the end."""
    if not folder.is_absolute():
        return folder
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else Path(folder.parent.name, folder.name)
