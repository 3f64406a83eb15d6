"""Numbers, tables and commands of a report, in Markdown. Texts from files are shown as code, as they are."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import floor, inf, isnan, log10

import pandas as pd

from ganlab.core.errors import escape_unprintable
from ganlab.metrics.protocols import EXTRAS_KEY
from ganlab.studies.table import Row

MEASURED = ("value", "step", "floor", EXTRAS_KEY)  # what `provenance` leaves out of the record of a metric


def code(text: object) -> str:
    """A text as code, whatever markup it has."""
    return f"`{escape_unprintable(str(text)).replace('`', chr(39))}`"


def named(names: Iterable[str]) -> str:
    return ", ".join(map(code, names))


def counted(n: float, what: str) -> str:
    return f"{n:,.0f} {what}{'s' * (n != 1)}"


def number_format(arms: pd.DataFrame) -> str:
    """The format of numbers: with two digits of their usual spread, or four of the largest without one."""
    spreads, sizes = (x[(x > 0) & (x < inf)] for x in (arms["sd"], arms["mean"].abs()))
    digits, size = (3, sizes.max()) if spreads.empty else (1, spreads.median())
    return "z,.0f" if isnan(size) else f"z,.{min(max(digits - floor(log10(size)), 0), 6)}f"


def number(value: float, spec: str) -> str:
    """A number; empty for NaN."""
    return "" if isnan(value) else f"{value:{spec}}"


def centre(mean: float, low: float, high: float, spec: str) -> str:
    """A mean, with its interval if it has one; empty without a mean."""
    return number(mean, spec) + ("" if isnan(low) else f" [{number(low, spec)}, {number(high, spec)}]")


def span(values: pd.Series, spec: str) -> str:
    """The smallest and the largest of some numbers; empty without any."""
    return " to ".join(dict.fromkeys(number(end, spec) for end in (values.min(), values.max())))


def short(value: object) -> str:
    """A value, with four digits of a fraction."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Seconds as a text such as "3 min 10 s"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, over = divmod(minutes, 60)
    return f"{hours} h {over:02} min" if hours else f"{minutes} min {rest:02} s"


def shared(found: Iterable[tuple[str, object]]) -> str:
    """What most runs have, and which runs have something else, from pairs of an arm and what its run has."""
    arms: dict[object, Counter[str]] = {}
    for arm, value in found:
        arms.setdefault(value, Counter())[arm] += 1
    *others, usual = sorted(arms, key=lambda value: arms[value].total())
    runs = {one: [f"{counted(n, 'run')} of {code(arm)}" for arm, n in arms[one].items()] for one in others}
    parts = [f"{code(one)} in {' and '.join(where)}" for one, where in runs.items()]
    return ", ".join([*parts, f"otherwise {code(usual)}" if parts else code(usual)])


def provenance(runs: Sequence[tuple[str, Mapping[str, object]]]) -> str:
    """What most runs have, key by key, from pairs of an arm and what is known of its run."""
    keys = dict.fromkeys(key for _, facts in runs for key in facts if key not in MEASURED)
    found = {key: [(arm, f"{key}={facts[key]}") for arm, facts in runs if key in facts] for key in keys}
    return "; ".join(map(shared, found.values()))


def command(name: str, overrides: Sequence[str], seeds: Sequence[int], rows: Sequence[Row] = ()) -> str:
    """The command that repeats the runs of rows, with their commits, and their threads, which change bits."""
    commits = " and ".join(dict.fromkeys(row.commit for row in rows if row.commit))
    threads = {count for row in rows for count in re.findall(r"(\d+) threads?$", row.device)}
    words = [f"OMP_NUM_THREADS={count}" for count in threads if len(threads) == 1]
    words += ["python", "-m", "ganlab.run", *["-m"] * (len(seeds) > 1)]
    words += [*(one for one in overrides if not one.startswith("seed=")), f"seed={','.join(map(str, seeds))}"]
    title = f"# {name}{', played at commit ' if commits else ''}{commits}"
    return f"{title}\n{escape_unprintable(shlex.join(words))}"
