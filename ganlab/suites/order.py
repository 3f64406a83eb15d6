"""Whether the arms of a suite come in the order that was published."""

from collections.abc import Mapping
from itertools import combinations

from ganlab.suites.findings import Findings, against, corrected
from ganlab.suites.statistics import ALPHA, mean
from ganlab.suites.words import named


def in_order(findings: Findings) -> str:
    """How many pairs of arms are in the published order, and how many of those whose difference is shown."""
    values = {
        arm: found for arm in findings.suite.order if (found := findings.arms[arm].values[findings.first])
    }
    if len(values) < 2:
        return "Undecided: fewer than two of the arms have finished."
    sign = -1 if findings.record(findings.first).get("better") == "lower" else 1
    means = {arm: sign * mean(list(found.values())) for arm, found in values.items()}
    pairs = list(combinations(values, 2))  # the one that was published as better first
    agree = sum(means[first] > means[second] for first, second in pairs)
    shown = shown_pairs(values, len(findings.suite.order))
    kept = sum(means[first] > means[second] for first, second in shown)
    against_it = len(shown) - kept
    best_first = named(sorted(means, key=lambda arm: -means[arm]))
    verdict = "No" if against_it else "Yes" if kept == len(pairs) else "Undecided"
    tau = (2 * agree - len(pairs)) / len(pairs)
    return (
        f"{verdict}: in `{findings.names[findings.first]}`, {agree} of {len(pairs)} pairs of arms are in the "
        f"published order (Kendall's tau {tau:+.2f}); of those whose difference is shown, {kept} are in it "
        f"and {against_it} are not (paired t tests at 5 %, after Holm's correction). Best first: "
        f"{best_first}."
    )


def shown_pairs(values: Mapping[str, Mapping[int, float]], arms: int) -> list[tuple[str, str]]:
    """The pairs of arms that differ at 5 %, corrected for all pairs of the order."""
    pairs = list(combinations(values, 2))
    tests = {(first, second): against(values[second], values[first]) for first, second in pairs}
    p = corrected(tests, arms * (arms - 1) // 2)
    return [pair for pair in pairs if p.get(pair, 1.0) < ALPHA]
