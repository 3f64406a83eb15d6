"""How the numbers of a suite were made, in words: by which protocol, on what, and by which commands."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab.core.numerics import NUMERICS
from ganlab.metrics.protocols import RESULTS
from ganlab.suites.findings import FREE, Findings, Found
from ganlab.suites.results import Record
from ganlab.suites.words import counted, duration, named, shared

TOLD = {"n_fake", "n_real", "split", "extractor", "weights_sha256", *FREE, *RESULTS}
# What a report says of where rows come from.
ORIGINS: dict[str, Callable[[Record], str]] = {
    "Device": lambda row: row.device,
    "Code": lambda row: f"{row.code} (commit {row.commit or 'unknown'})",
    "Data": lambda row: row.data,
}


def protocol(findings: Findings) -> list[str]:
    """A line for each metric, and how arms were sampled."""
    measured = [metric for metric in findings.suite.metrics if findings.records[metric]]
    lines = [of_record(findings.names[metric], findings.record(metric)) for metric in measured]
    sampled = [line for key in FREE if (line := by_arm(findings, key))]
    return [*lines, *sampled]


def of_record(name: str, record: Mapping[str, Any]) -> str:
    """The protocol of a metric; nothing of a record is left out."""
    parts = []
    if "n_fake" in record:
        parts.append(f"{record['n_fake']:,} samples")
    if record.get("n_real"):
        parts.append(f"against {record['n_real']:,} real ones")
    if record.get("split", "none") != "none":
        parts.append(f"split {record['split']}")
    if "extractor" in record:
        weights = f" (weights {record['weights_sha256'][:12]})" if "weights_sha256" in record else ""
        parts.append(f"extractor {record['extractor']}{weights}")
    parts += [f"{key.replace('_', ' ')} {value}" for key, value in record.items() if key not in TOLD]
    if "floor" in record:
        samples = f"{record['floor_n']:,} of split {record['floor_split']}"
        parts.append(f"real data: {samples} in the samples' place")
    way = f" ({record['better']} is better)" if "better" in record else ""
    return f"`{name}`{way}: {', '.join(parts)}."


def by_arm(findings: Findings, key: str) -> str:
    """What the records say of a key in which arms may differ, and which arms say so."""
    records = findings.records[findings.first].items()
    found = [(arm, str(record[key])) for (arm, _), record in records if key in record]
    differ = "; arms may differ in this" if len({value for _, value in found}) > 1 else ""
    return f"{key.capitalize()}: {shared(found)}{differ}." if found else ""


def circumstances(findings: Findings) -> list[str]:
    """Lengths, machines, code, data and times of the rows that count, a line each."""
    rows = findings.rows
    if not rows:
        return []
    lines = []
    if finished := [row for row in rows if row.status == "finished"]:
        lengths = ((row.arm, f"{row.steps:,} rounds, {row.images:,} real images") for row in finished)
        lines.append(f"Length: {shared(lengths)}.")
    lines += [f"{what}: {shared((row.arm, of(row)) for row in rows)}." for what, of in ORIGINS.items()]
    codes = {arm: {row.code for row in found.rows.values()} for arm, found in findings.arms.items()}
    if several := [arm for arm, own in codes.items() if len(own) > 1]:
        lines.append(f"More than one code within {named(several)}.")
    if old := sum(row.numerics != NUMERICS for row in rows):
        which = "all runs" if old == len(rows) else f"{old:,} of {counted(len(rows), 'run')}"
        again = "(`rerun=stale` plays these runs again)"
        lines.append(f"Stale: {which}, of other numerics than {NUMERICS} {again}.")
    spent = duration(sum(row.seconds for row in rows))
    planned = f"Planned: {findings.suite.budget}. " if findings.suite.budget else ""
    lines.append(f"{planned}Spent: {spent} of training in {counted(len(rows), 'run')}.")
    return lines


def commands(findings: Findings) -> str:
    """The command of each arm, with what its rows say of threads and commit, and that of the whole suite."""
    suite = findings.suite
    lines = []
    for found in findings.arms.values():
        line = run_command(suite.base + found.arm.overrides, suite.seeds)
        lines.append(f"# {found.arm.name}{commit(found)}\n{threads(found)}{line}")
    which = f"suite={shown(suite.folder)}"
    block = "\n".join(["```", *lines, "```"])
    return (
        f"{block}\n\n`python -m ganlab.ablate {which}` runs what is missing, `python -m ganlab.report "
        f"{which}` writes this page. Data that lie elsewhere: `data.root=...` of a run, `root=...` of all."
    )


def run_command(overrides: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that plays some overrides with some seeds."""
    sweep = ["-m"] if len(seeds) > 1 else []
    return shlex.join(["python", "-m", "ganlab.run", *sweep, *overrides, f"seed={','.join(map(str, seeds))}"])


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
