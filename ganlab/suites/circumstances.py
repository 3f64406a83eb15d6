"""Under which circumstances the rows of a suite came about: lengths, machines, code, data, time."""

from collections.abc import Callable, Iterable, Sequence

from ganlab.core.numerics import NUMERICS_VERSION
from ganlab.suites.findings import Findings
from ganlab.suites.results import Row
from ganlab.suites.words import counted, duration, named, shared


def circumstances(findings: Findings) -> list[str]:
    """Lengths, machines, code, data and times of the rows that count, a line each."""
    rows = findings.rows
    if not rows:
        return []
    finished = [row for row in rows if row.status == "finished"]
    lines = [
        *alike("Length", finished, lambda row: f"{row.steps:,} rounds, {row.images:,} real images"),
        *alike("Device", rows, lambda row: row.device),
        *alike("Code", rows, lambda row: f"{row.code} (commit {row.commit or 'unknown'})"),
        *alike("Data", rows, lambda row: row.data),
    ]
    several = [
        found.arm.name
        for found in findings.arms.values()
        if len({row.code for row in found.rows.values()}) > 1
    ]
    if several:
        lines.append(f"More than one code within {named(several)}.")
    lines += stale(rows)
    spent = duration(sum(row.seconds for row in rows))
    planned = f"Planned: {findings.suite.budget}. " if findings.suite.budget else ""
    lines.append(f"{planned}Spent: {spent} of training in {counted(len(rows), 'run')}.")
    return lines


def stale(rows: Sequence[Row]) -> list[str]:
    """How many rows are of before ganlab's numbers changed."""
    old = sum(row.numerics != NUMERICS_VERSION for row in rows)
    if not old:
        return []
    which = "all runs" if old == len(rows) else f"{old:,} of {counted(len(rows), 'run')}"
    return [
        f"Stale: {which}, of other numerics than {NUMERICS_VERSION} (`rerun=stale` plays these runs again)."
    ]


def alike(what: str, rows: Iterable[Row], of: Callable[[Row], str]) -> list[str]:
    """What the rows have in common, and which of them have something else; no line without rows."""
    found = [(row.arm, of(row)) for row in rows]
    return [f"{what}: {shared(found)}."] if found else []
