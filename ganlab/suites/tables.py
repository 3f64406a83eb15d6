"""The tables of a report: the metric that answers, and the others."""

from statistics import fmean

from ganlab.suites.answer import digits, inside
from ganlab.suites.findings import Findings, Found
from ganlab.suites.statistics import interval, sd
from ganlab.suites.words import between, chance, decimals, duration, number, published_value, table


def main_table(findings: Findings) -> str:
    """Of the first metric: each arm's numbers, and how it compares."""
    mean, less = f"mean of `{findings.names[findings.first]}`", f"less `{findings.suite.reference}`"
    head = ["arm", f"{mean} [95 %]", "sd", "n", "failed", "diverged", f"{less} [95 %]", "pairs", "p (Holm)"]
    head += ["smallest effect", "published", "inside", "training"]
    rows = [main_row(findings, arm) for arm in findings.arms.values()]
    if reached := floor(findings, findings.first):
        rows.append(["(real data)", reached, *[""] * (len(head) - 2)])
    return table(head, rows)


def main_row(findings: Findings, found: Found) -> list[str]:
    places, values = digits(findings), list(found.values[findings.first].values())
    spread = sd(values)
    seconds = [row.seconds for row in found.rows.values() if row.status == "finished"]
    return [
        f"`{found.arm.name}`",
        centre(findings, found, findings.first),
        "" if spread is None else number(spread, places),
        str(len(values)),
        str(found.count("failed")),
        str(found.count("diverged")),
        *compared(found, places),
        *published(found, findings.first),
        duration(fmean(seconds)) if seconds else "",
    ]


def compared(found: Found, places: int) -> list[str]:
    """Difference, pairs, corrected p and the smallest effect; empty where nothing is compared."""
    comparison = found.comparison
    if comparison is None:
        return [""] * 4
    return [
        number(comparison.mean, places, sign=True) + between(comparison.interval, places, sign=True),
        str(len(comparison.differences)),
        chance(found.p),
        "" if comparison.smallest is None else number(comparison.smallest, places),
    ]


def published(found: Found, metric: str) -> list[str]:
    """The published number, and whether it lies in the interval of the mean."""
    if metric not in found.arm.published:
        return ["", ""]
    return [published_value(found.arm.published[metric]), inside(found, metric)]


def floor(findings: Findings, metric: str) -> str:
    """What real images score by a metric; the ends, where it was not the same in all runs."""
    found = [record["floor"] for record in findings.records[metric].values() if "floor" in record]
    if not found:
        return ""
    finest = max(digits(findings, metric), decimals([], found))
    return " to ".join(dict.fromkeys(number(value, finest) for value in (min(found), max(found))))


def centre(findings: Findings, found: Found, metric: str) -> str:
    """The mean of an arm, with its interval."""
    values, places = list(found.values[metric].values()), digits(findings, metric)
    return number(fmean(values), places) + between(interval(values), places) if values else ""


def further_table(findings: Findings) -> str:
    """Of the metrics after the first: means, and what was published; empty where there are none."""
    others = findings.suite.metrics[1:]
    if not others:
        return ""
    head, real = ["arm"], ["(real data)"]
    rows = [[f"`{name}`"] for name in findings.arms]
    for metric in others:
        head += [f"`{findings.names[metric]}` [95 %]", "published", "inside"]
        real += [floor(findings, metric), "", ""]
        for row, found in zip(rows, findings.arms.values(), strict=True):
            row += [centre(findings, found, metric), *published(found, metric)]
    return table(head, [*rows, real] if any(real[1:]) else rows)
