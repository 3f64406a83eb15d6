"""Provenance of the numbers of a study, in words: protocols, machines, code and commands."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence

from ganlab.core.numerics import NUMERICS
from ganlab.metrics.protocols import RESULTS, MetricRecord
from ganlab.studies.analysis import FREE, Analysis, ArmResult, circumstances
from ganlab.studies.formatting import code, counted, duration, escape, listed, named, shared
from ganlab.studies.spec import MAY_IGNORE
from ganlab.studies.table import Row

ON = {"device": "on ", "torch": "with "}
TOLD = {"n_fake", "n_real", "split", "extractor", "weights_sha256", *FREE, *RESULTS}


def protocols(analysis: Analysis) -> list[str]:
    """A line for each metric, and how arms were sampled."""
    lines = [protocol(name, analysis.record(metric)) for metric, name in analysis.names.items()]
    records = analysis.records[analysis.suite.metrics[0]].items()
    for key in FREE:
        found = [(arm, str(record[key])) for (arm, _), record in records if key in record]
        is_free = key not in MAY_IGNORE or key in analysis.suite.ignore
        may_differ = is_free and len({value for _, value in found}) > 1
        ending = "; arms may differ in this" if may_differ else ""
        lines += [f"{key.capitalize()}: {shared(found)}{ending}."] if found else []
    return [line for line in lines if line]


def protocol(name: str, record: MetricRecord) -> str:
    """The protocol of a metric, with all keys of its record; empty without a record."""
    told = {key: f"{value:,}" if isinstance(value, int) else escape(value) for key, value in record.items()}
    others = [key for key in record if key not in TOLD]
    weights = f" (weights {told['weights_sha256'][:12]})" if "weights_sha256" in told else ""
    phrases = {
        "n_fake": f"{told.get('n_fake')} samples",
        "n_real": f"against {told.get('n_real')} real ones" if record.get("n_real") else "",
        "split": f"split {told.get('split')}" if told.get("split") != "none" else "",
        "extractor": f"extractor {told.get('extractor')}{weights}",
        **{key: f"{escape(key.replace('_', ' '))} {escape(record[key])}" for key in others},
        "floor": f"real data: {told.get('floor_n')} of split {told.get('floor_split')} instead of samples",
    }
    way = f" ({told['better']} is better)" if "better" in told else ""
    parts = [phrase for key, phrase in phrases.items() if key in record and phrase]
    return f"{code(name)}{way}: {', '.join(parts)}." if record else ""


def origins(rows: Sequence[Row], budget: str | None) -> list[str]:
    """Lengths, machines, code, data and times of the rows that count, a line for each."""
    done = [row for row in rows if row.status == "finished"]
    lines = {
        "Length": [(row.arm, f"{row.steps:,} steps, {row.images:,} real images") for row in done],
        "Device": [(row.arm, row.device) for row in rows],
        "Code": [(row.arm, f"{row.code} (commit {row.commit or 'unknown'})") for row in rows],
        "Data": [(row.arm, row.data) for row in rows],
    }
    found = [f"{what}: {shared(pairs)}." for what, pairs in lines.items() if pairs]
    codes = Counter(arm for arm, _ in {(row.arm, row.code): 0 for row in rows})
    if several := [arm for arm, n in codes.items() if n > 1]:
        found.append(f"More than one code within {named(several)}.")
    if old := sum(row.numerics != NUMERICS for row in rows):
        which = "all runs" if old == len(rows) else f"{old:,} of {counted(len(rows), 'run')}"
        found.append(f"Stale: {which}, of other numerics than {NUMERICS} (`rerun=stale` repeats these runs).")
    spent = f"{duration(sum(row.seconds for row in rows))} of training in {counted(len(rows), 'run')}"
    return [*found, f"{f'Planned: {budget}. ' if budget else ''}Spent: {spent}."] if rows else []


def allowed_differences(analysis: Analysis) -> list[str]:
    """A sentence on the circumstances in which arms differ, if the suite ignores them."""
    found: dict[str, list[str]] = {}
    for name, arm in analysis.arms.items():
        runs = [circumstances(row) for row in arm.rows.values() if row.status == "finished"]
        pairs = sorted({" ".join(ON[key] + run[key] for key in analysis.suite.ignore) for run in runs})
        found.setdefault(" and ".join(pairs), []).append(name)
    found.pop("", None)
    usual = max(found, key=lambda value: len(found[value]), default="")
    rest = f"the other {counted(len(found.pop(usual, [])), 'arm')} {escape(usual)}"
    parts = [f"{named(arms)} ran {escape(value)}" for value, arms in found.items()]
    return [f"{listed([*parts, rest])}; `ignore` in suite.yaml allows it."] if parts else []


def block(lines: Sequence[str]) -> str:
    """Lines as a block of code, which they cannot end."""
    text = "\n".join(lines)
    fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}" if lines else ""


def run_command(overrides: Sequence[str], seeds: Sequence[int]) -> str:
    """The command that runs some overrides with some seeds."""
    sweep = ["-m"] if len(seeds) > 1 else []
    return shlex.join(["python", "-m", "ganlab.run", *sweep, *overrides, f"seed={','.join(map(str, seeds))}"])


def arm_command(analysis: Analysis, arm: ArmResult) -> str:
    """The command of an arm, with the commits of its rows, and their threads, which change last bits."""
    commits = dict.fromkeys(row.commit for row in arm.rows.values() if row.commit)
    played = f", played at commit {' and '.join(commits)}" if commits else ""
    threads = {count for row in arm.rows.values() for count in re.findall(r"(\d+) threads?$", row.device)}
    prefix = f"OMP_NUM_THREADS={threads.pop()} " if len(threads) == 1 else ""
    command = run_command(analysis.suite.base + arm.arm.overrides, analysis.suite.seeds)
    return f"# {arm.arm.name}{played}\n{prefix}{command}"
