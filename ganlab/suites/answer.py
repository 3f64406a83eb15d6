"""The answer to a suite's question, in one sentence that its numbers support."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

from ganlab.suites.findings import Findings, Found, against, corrected
from ganlab.suites.statistics import ALPHA, interval, sd, smallest_effect
from ganlab.suites.suite import Suite
from ganlab.suites.words import chance, counted, decimals, listed, named, number, published_value


def answer(findings: Findings) -> str:
    """Which arms differ from the reference, or that it is undecided and what could have been seen."""
    planned = len(findings.suite.arms) * len(findings.suite.seeds)
    if not findings.rows:
        return "No answer yet: nothing has been run."
    said = f"{sentence(findings)}{lost(findings)}"
    if len(findings.rows) == planned:
        return said
    return f"After {len(findings.rows)} of {planned} runs: {said[0].lower()}{said[1:]}"


def sentence(findings: Findings) -> str:
    suite = findings.suite
    if suite.order:
        return in_order(findings)
    if reached := one_seed(findings):
        return reached
    if len(suite.arms) == 1:
        return "One arm: there is nothing to compare it with; its numbers stand below."
    compared = findings.compared
    if not compared:
        return f"Undecided: no arm has finished with a seed of the reference, `{suite.reference}`."
    differing = [found for found in compared if found.differs]
    return decided(findings, differing) if differing else undecided(findings)


def one_seed(findings: Findings) -> str:
    """Numbers of one seed beside what was published; empty where there is more, or nothing published."""
    first = findings.first
    found = [arm for arm in findings.arms.values() if arm.values[first]]
    is_published = any(first in arm.arm.published for arm in found)
    if not is_published or any(len(arm.values[first]) > 1 for arm in found):
        return ""
    places = digits(findings)
    parts = [
        f"`{arm.arm.name}` {number(fmean(arm.values[first].values()), places)}"
        + (f" (published {published_value(arm.arm.published[first])})" if first in arm.arm.published else "")
        for arm in found
    ]
    which = "each has one seed" if len(found) > 1 else "there is one seed"
    return f"In `{findings.names[first]}`: {listed(parts)}; {which}, so there is no interval and no test."


def lost(findings: Findings) -> str:
    """Which arms have runs that did not finish: no number speaks for them."""
    parts = []
    for found in findings.arms.values():
        failed, diverged = found.count("failed"), found.count("diverged")
        n, of = failed + diverged, len(found.rows)
        if n:
            what = "failed" if not diverged else "diverged" if not failed else "failed or diverged"
            where = "in every seed" if n == of else f"in {n} of {counted(of, 'seed')}"
            parts.append(f"`{found.arm.name}` {what} {where}")
    return f" {listed(parts)}." if parts else ""


def decided(findings: Findings, differing: Sequence[Found]) -> str:
    """Which arms differ, which way, and by how much."""
    better = findings.record(findings.first).get("better")
    groups: dict[str, list[str]] = {}
    for found in differing:
        way = direction(found)
        kind = "different from" if better is None else "better than" if way == better else "worse than"
        groups.setdefault(kind, []).append(told(findings, found))
    name = findings.names[findings.first]
    clauses = [
        f"{kind} `{findings.suite.reference}` {'is' if len(arms) == 1 else 'are'} {listed(arms)}"
        for kind, arms in sorted(groups.items())
    ]
    others = len(findings.compared) - len(differing)
    which = "arm" if others == 1 else f"{others} arms"
    rest = f"; of the other {which} no difference is shown" if others else ""
    return f"In `{name}`, {'; '.join(clauses)}{rest}."


def told(findings: Findings, found: Found) -> str:
    comparison = found.comparison
    assert comparison is not None
    by = number(abs(comparison.mean), digits(findings))
    return f"`{found.arm.name}` ({direction(found)} by {by}, p = {chance(found.p)})".replace("= <", "<")


def undecided(findings: Findings) -> str:
    """That no difference is shown, and how large one had to be."""
    compared, name, planned = findings.compared, findings.names[findings.first], findings.suite.comparisons
    which = f"`{compared[0].arm.name}`" if len(compared) == 1 else f"any of {len(compared)} arms"
    said = f"Undecided: in `{name}` no difference of {which} to `{findings.suite.reference}` is shown"
    alone, strictest = seen(compared, ALPHA), seen(compared, ALPHA / planned)
    if not alone:
        unknown = "without a spread over seeds it cannot be said how large one would have been seen"
        return f"{said}, and {unknown}."
    places = digits(findings)
    said += f"; with 80 % power the smallest effect that could have been seen is {reach(alone, places)}"
    said += " (paired t test, two-sided 5 %"
    step = f"{reach(strictest, places)} at the first step of Holm's correction for {planned}"
    return f"{said})." if planned == 1 else f"{said}, one comparison alone; {step})."


def seen(compared: Sequence[Found], alpha: float) -> list[float]:
    """The smallest effects that could have been seen, of each arm that has a spread."""
    found = [one.comparison.differences for one in compared if one.comparison is not None]
    effects = (smallest_effect(sd(differences), len(differences), alpha) for differences in found)
    return [effect for effect in effects if effect is not None]


def reach(effects: Sequence[float], places: int) -> str:
    low, high = number(min(effects), places), number(max(effects), places)
    return low if low == high else f"{low} to {high}, by arm"


def direction(found: Found) -> str:
    assert found.comparison is not None
    return "higher" if found.comparison.mean > 0 else "lower"


def digits(findings: Findings, metric: str | None = None) -> int:
    """How many decimals a metric is told with, the first where none is named."""
    found = [list(arm.values[metric or findings.first].values()) for arm in findings.arms.values()]
    return decimals(map(sd, found), (value for values in found for value in values))


def held(findings: Findings) -> str:
    """Which published values of the first metric lie in the interval of the mean; empty where none is."""
    groups: dict[str, list[str]] = {}
    for found in findings.arms.values():
        if verdict := inside(found, findings.first):
            groups.setdefault(verdict, []).append(found.arm.name)
    where = {"yes": "inside", "no": "outside", "no interval": "no interval"}
    clauses = [f"{where[verdict]} for {named(groups[verdict])}" for verdict in where if verdict in groups]
    return f"Published, against the 95 % interval of the mean: {'; '.join(clauses)}." if clauses else ""


def inside(found: Found, metric: str) -> str:
    """Whether the published value lies in the interval of the mean; empty where there is none."""
    if metric not in found.arm.published or not found.values[metric]:
        return ""
    around = interval(list(found.values[metric].values()))
    value, _ = found.arm.published[metric]
    return "no interval" if around is None else "yes" if around.holds(value) else "no"


def in_order(findings: Findings) -> str:
    """How many pairs of arms are in the published order, and how many of those whose difference is shown."""
    measured = {arm: findings.arms[arm].values[findings.first] for arm in findings.suite.order}
    values = {arm: found for arm, found in measured.items() if found}
    if len(values) < 2:
        return "Undecided: fewer than two of the arms have finished."
    sign = -1 if findings.record(findings.first).get("better") == "lower" else 1
    means = {arm: sign * fmean(found.values()) for arm, found in values.items()}
    pairs = list(combinations(values, 2))  # the one that was published as better first
    agree = sum(means[first] > means[second] for first, second in pairs)
    shown = shown_pairs(values, len(findings.suite.order))
    kept = sum(means[first] > means[second] for first, second in shown)
    against_it = len(shown) - kept
    best_first = named(sorted(means, key=lambda arm: -means[arm]))
    verdict = "No" if against_it else "Yes" if kept == len(pairs) else "Undecided"
    tau = (2 * agree - len(pairs)) / len(pairs)
    all_pairs = f"{agree} of {len(pairs)} pairs of arms are in the published order (Kendall's tau {tau:+.2f})"
    those = f"of those whose difference is shown, {kept} are in it and {against_it} are not"
    tests = "(paired t tests at 5 %, after Holm's correction)"
    said = f"{verdict}: in `{findings.names[findings.first]}`, {all_pairs}; {those} {tests}."
    return f"{said} Best first: {best_first}."


def shown_pairs(values: Mapping[str, Mapping[int, float]], arms: int) -> list[tuple[str, str]]:
    """The pairs of arms that differ at 5 %, corrected for all pairs of the order."""
    pairs = list(combinations(values, 2))
    tests = {(first, second): against(values[second], values[first]) for first, second in pairs}
    p = corrected(tests, arms * (arms - 1) // 2)
    return [pair for pair in pairs if p.get(pair, 1.0) < ALPHA]


def foresight(suite: Suite) -> str:
    """How large a difference the seeds show; the spread over them is not known yet, and is the unit."""
    arms, seeds = suite.comparisons, len(suite.seeds)
    if not arms:
        return "one arm: there is nothing to compare it with"
    alone, strictest = (smallest_effect(1.0, seeds, alpha) for alpha in (ALPHA, ALPHA / arms))
    if alone is None or strictest is None:
        return "one seed shows no difference: there is no spread to judge it by; give more `seeds`"
    effect = f"a difference of {alone:.1f} standard deviations of the paired differences"
    said = f"{seeds} seeds show, with 80 % power at 5 %, {effect}"
    step = f"of {strictest:.1f} at the first step of Holm's correction for {arms}"
    return said if arms == 1 else f"{said} in one test alone, {step}"
