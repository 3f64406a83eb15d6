"""Numbers, lists, tables and texts of a report, in Markdown."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from ganlab.core.errors import escape_unprintable
from ganlab.studies.statistics import Sample

# The characters that have a meaning in Markdown, so that a text from a file would not be shown as it is.
MARKUP = re.compile(r"[\\`*~<>&$]|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^#")


def escape(text: object) -> str:
    """A text from a file as Markdown that shows it, whatever markup it has."""
    return MARKUP.sub(r"\\\g<0>", escape_unprintable(str(text)))


def code(name: str) -> str:
    """A name as code."""
    return f"`{escape_unprintable(name).replace('`', chr(39))}`"


def decimals(samples: Iterable[Sample]) -> int:
    """The number of decimals: two digits of the usual spread, or four digits of the values without one."""
    samples = list(samples)
    spreads = [sample.sd for sample in samples if sample.sd]
    sizes = [median(spreads)] if spreads else [abs(x) for sample in samples for x in sample.values if x]
    return min(max((1 if spreads else 3) - math.floor(math.log10(max(sizes))), 0), 6) if sizes else 0


def number(value: float | None, places: int, sign: bool = False) -> str:
    """A number; without its sign if it is rounded to zero; empty without one."""
    text = "" if value is None else f"{value:{'+' if sign else ''},.{places}f}"
    return text.replace("-", "").replace("+", "") if not text.strip("+-0.,") else text


def centre(sample: Sample, places: int, sign: bool = False) -> str:
    """The mean of a sample, with its interval if it has one; empty without values."""
    if not sample.values:
        return ""
    low, high, _ = sample.interval or (None, None, False)
    ends = f" [{number(low, places, sign)}, {number(high, places, sign)}]" if sample.interval else ""
    return number(sample.mean, places, sign) + ends


def chance(p: float | None) -> str:
    """A p-value."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def published_value(pair: tuple[float, float | None]) -> str:
    """A published number, with its +- if there is one."""
    return f"{pair[0]:g}" + ("" if pair[1] is None else f" ± {pair[1]:g}")


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, over = divmod(minutes, 60)
    return f"{hours} h {over:02} min" if hours else f"{minutes} min {rest:02} s"


def listed(parts: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def named(arms: Iterable[str]) -> str:
    return listed([*map(code, arms)])


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def shared(found: Iterable[tuple[str, str]]) -> str:
    """What most runs have, and which runs have something else, from pairs of an arm and what its run has."""
    counts: dict[str, Counter[str]] = {}
    for arm, value in found:
        counts.setdefault(value, Counter())[arm] += 1
    usual = max(counts, key=lambda value: counts[value].total(), default="")
    parts = [
        f"{escape(value)} in " + listed([f"{counted(n, 'run')} of {code(arm)}" for arm, n in arms.items()])
        for value, arms in counts.items()
        if value != usual
    ]
    return ", ".join([*parts, f"otherwise {escape(usual)}" if parts else escape(usual)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns that are empty in every row are left out."""
    lines = [[cell.replace("|", "\\|") for cell in row] for row in (head, ["---"] * len(head), *rows)]
    kept = [i for i in range(len(head)) if i == 0 or any(row[i] for row in lines[2:])]
    return "\n".join(f"| {' | '.join(row[i] for i in kept)} |" for row in lines)
