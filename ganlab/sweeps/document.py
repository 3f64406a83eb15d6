"""The report of a sweep: its README.md, and the picture that it shows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganlab.core.errors import require
from ganlab.metrics.protocols import require_same_protocol
from ganlab.suites.circumstances import ORIGINS, of_record, run_command
from ganlab.suites.document import TORN, put
from ganlab.suites.words import bullets, counted, decimals, duration, listed, number, table
from ganlab.sweeps.panels import panels
from ganlab.sweeps.sweep import MOVE_AWAY, Sweep, Tried, best

TOP = 5  # trials that are told of
SEEDS = 3  # with which the best is to be played again


def write(sweep: Sweep) -> tuple[Path, str]:
    """Writes the report into the sweep's folder, and returns the README.md and the answer that it gives.

    Raises:
        ConfigError: numbers were made unlike, sweep.yaml has other parameters, a README.md that is not a
            report's lies there already, or the folder cannot be written.
    """
    rows, torn = Tried.read(sweep.results)
    refuse_others(sweep, rows)
    found = Found(sweep, rows)
    picture = panels(sweep, rows, found.ranked, found.name)
    parts = [found.answer, bullets(ended(found, torn))]
    if found.ranked:
        parts += [
            top(found),
            caution(found),
            "![the metric against each parameter](panels.png)\n\n*Every trial by each of its parameters.*",
            "## How the numbers were made",
            bullets(circumstances(found)),
        ]
    parts += ["## To run it again", commands(found)]
    return put(sweep, parts, {"panels.png": picture}), found.answer


class Found:
    """What the trials of a sweep say: the number by its full name, and its trials, the best first.

    Raises:
        ConfigError: numbers that are to be ranked were not made alike.
    """

    def __init__(self, sweep: Sweep, rows: Sequence[Tried]):
        self.sweep = sweep
        self.rows = sorted(rows, key=lambda row: row.trial)
        records = {f"trial {row.trial}": row.metrics for row in self.rows if row.metrics}
        self.name: str = next((name for found in records.values() for name in found), sweep.metric)
        shown = {trial: found[self.name] for trial, found in records.items() if self.name in found}
        if shown:
            require_same_protocol(self.name, shown)
        self.record: Mapping[str, Any] = next(iter(shown.values()), {})
        self.ranked = best(self.rows, self.record.get("better") == "higher")

    def count(self, status: str) -> int:
        return sum(row.status == status for row in self.rows)

    @property
    def answer(self) -> str:
        """The best, in a sentence."""
        if not self.rows:
            return "No answer yet: nothing has been run."
        if not self.ranked:
            return f"No answer: none of {counted(len(self.rows), 'trial')} has finished with a number."
        first = self.ranked[0]
        chosen = listed([f"`{name}={short(value)}`" for name, value in first.parameters.items()])
        best = f"best of {counted(len(self.rows), 'trial')} is trial {first.trial}"
        said = f"In `{self.name}` the {best}, with {self.told(first)}: {chosen}."
        if len(self.rows) < self.sweep.trials:
            return f"After {len(self.rows)} of {self.sweep.trials} trials: {said[0].lower()}{said[1:]}"
        return said

    @property
    def places(self) -> int:
        """How many decimals the number is told with."""
        return decimals([], [row.judged or 0.0 for row in self.ranked[:TOP]])

    def told(self, row: Tried) -> str:
        """Its value."""
        assert row.judged is not None
        return number(row.judged, self.places)


def refuse_others(sweep: Sweep, rows: Sequence[Tried]) -> None:
    """Refuses trials that cannot be placed by the parameters that sweep.yaml has now."""
    for row in rows:
        reason = f"trial {row.trial} has other parameters than {sweep.at('parameters')}"
        require(row.parameters.keys() == sweep.parameters.keys(), f"{sweep.results}: {reason}: {MOVE_AWAY}")


def ended(found: Found, torn: str | None) -> list[str]:
    """How the trials have ended."""
    lines = []
    kinds = [f"{found.count(kind)} {kind}" for kind in Tried.statuses if found.count(kind)]
    if kinds:
        lines.append(f"{counted(len(found.rows), 'trial')}: {listed(kinds)}.")
    if found.count("pruned"):
        lines.append("A pruned one was ended when it was worse than the median of those before it.")
    for status in ("failed", "diverged"):
        groups: dict[str, list[str]] = {}
        for row in found.rows:
            if row.status == status:  # each has diverged in a round of its own
                groups.setdefault(row.reason if status == "failed" else "", []).append(str(row.trial))
        for reason, trials in groups.items():
            lines.append(f"{status.capitalize()}: trial {listed(trials)}{f' ({reason})' if reason else ''}.")
    if numberless := sum(row.status == "finished" and row.judged is None for row in found.rows):
        lines.append(f"{counted(numberless, 'finished trial')} without a finite `{found.name}`.")
    if torn:
        lines.append(TORN)
    return lines


def top(found: Found) -> str:
    """The best trials."""
    head = ["trial", f"`{found.name}`", *(f"`{name}`" for name in found.sweep.parameters), "training"]
    rows = []
    for row in found.ranked[:TOP]:
        chosen = [short(row.parameters[name]) for name in found.sweep.parameters]
        rows.append([str(row.trial), found.told(row), *chosen, duration(row.seconds)])
    if "floor" in found.record:
        rows.append(["(real data)", number(found.record["floor"], found.places), *[""] * (len(head) - 2)])
    return table(head, rows)


def caution(found: Found) -> str:
    """That the best number is better than what its parameters are worth."""
    first = found.ranked[0]
    seeds = [seed for seed in range(1, SEEDS + 2) if seed != first.seed][:SEEDS]
    flattery = f"The best of {counted(len(found.ranked), 'number')} flatters its parameters"
    said = f"{flattery}: it was chosen for its luck too. What they are worth, other seeds say:"
    return f"{said}\n\n```\n{command(found.sweep, first, seeds)}\n```"


def command(sweep: Sweep, row: Tried, seeds: Sequence[int]) -> str:
    """Plays the parameters of a trial with some seeds."""
    return run_command([one for one in sweep.overrides(row.parameters) if not one.startswith("seed=")], seeds)


def circumstances(found: Found) -> list[str]:
    """How the metric was measured, on what, by which code, for how long."""
    origins = [f"{what}: {alike(map(of, found.rows))}." for what, of in ORIGINS.items()]
    spent = duration(sum(row.seconds for row in found.rows))
    runs = f"{counted(len(found.rows), 'run')} of seed {found.rows[0].seed}"
    return [of_record(found.name, found.record), *origins, f"Spent: {spent} of training in {runs}."]


def alike(values: Iterable[str]) -> str:
    """What the trials have in common, or how many have what."""
    counts = Counter(values).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return listed([f"{value} in {counted(n, 'trial')}" for value, n in counts])


def commands(found: Found) -> str:
    """The command of each of the best trials, and that of the whole sweep."""
    sweep = found.sweep
    lines = [f"# trial {row.trial}\n{command(sweep, row, [row.seed])}" for row in found.ranked[:TOP]]
    which = f"sweep={sweep.folder.resolve().parent.name}/{sweep.name}"
    whole = f"`python -m ganlab.ablate {which}` plays what is missing, `python -m ganlab.report {which}` "
    block = ["```", *lines, "```", ""] if lines else []
    return "\n".join([*block, f"{whole}writes this page."])


def short(value: object) -> str:
    """A parameter's value as a table has it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
