"""Numbers and lists as the report says them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from ganlab.suites.statistics import Interval


def decimals(spreads: Iterable[float | None], values: Iterable[float]) -> int:
    """How many decimals numbers are told with: two digits of their usual spread, four of them without one."""
    known = [spread for spread in spreads if spread]
    if known:
        return places(median(known), 2)
    sizes = [abs(value) for value in values if value]
    return places(max(sizes), 4) if sizes else 0


def places(size: float, digits: int) -> int:
    return min(max(digits - 1 - math.floor(math.log10(size)), 0), 6)


def number(value: float, places: int, sign: bool = False) -> str:
    text = f"{value:{'+' if sign else ''},.{places}f}"
    return text.replace("-", "").replace("+", "") if not text.strip("+-0.,") else text


def between(found: Interval | None, places: int, sign: bool = False) -> str:
    """An interval in brackets, behind a space; nothing where there is none."""
    if found is None:
        return ""
    return f" [{number(found.low, places, sign)}, {number(found.high, places, sign)}]"


def chance(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def published_value(pair: tuple[float, float | None]) -> str:
    """A published number, with its +- where there is one."""
    value, margin = pair
    return f"{value:g}" + ("" if margin is None else f" ± {margin:g}")


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
    return listed([f"`{arm}`" for arm in arms])


def shared(found: Iterable[tuple[str, str]]) -> str:
    """What most runs have, and which have what else; `found` are pairs of an arm and what its run has."""
    counts: dict[str, Counter[str]] = {}
    for arm, value in found:
        counts.setdefault(value, Counter())[arm] += 1
    usual = max(counts, key=lambda value: counts[value].total(), default="")
    others = [
        f"{value} in " + listed([f"{counted(n, 'run')} of `{arm}`" for arm, n in arms.items()])
        for value, arms in counts.items()
        if value != usual
    ]
    return ", ".join([*others, f"otherwise {usual}"]) if others else usual


def counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; columns that are empty in every row are left out."""
    rows = [list(row) for row in rows]
    kept = [i for i in range(len(head)) if i == 0 or any(row[i] for row in rows)]
    lines = [[head[i] for i in kept], ["---"] * len(kept), *([row[i] for i in kept] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
