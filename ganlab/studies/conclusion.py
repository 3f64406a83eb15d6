"""The answer of a suite in one sentence that its numbers support."""

from itertools import combinations
from math import comb

import numpy as np
from scipy.stats import kendalltau

from ganlab.studies.analysis import Analysis
from ganlab.studies.formatting import chance, code, counted, escape, listed, named, number, published_value
from ganlab.studies.spec import Suite
from ganlab.studies.statistics import ALPHA, holm, smallest_effect


def answer(analysis: Analysis) -> str:
    """Which arms differ from the reference; or "undecided", and which difference could have been seen."""
    planned = len(analysis.suite.arms) * len(analysis.suite.seeds)
    if not analysis.rows:
        return "No answer yet: nothing has been run."
    said = f"{sentence(analysis)}{lost(analysis)}{left_out(analysis)}"
    if len(analysis.rows) == planned:
        return said
    return f"After {len(analysis.rows)} of {planned} runs: {said[0].lower()}{said[1:]}"


def sentence(analysis: Analysis) -> str:
    suite, metric = analysis.suite, analysis.suite.metrics[0]
    reached = [arm for arm in analysis.arms.values() if arm.first.values]
    if suite.order:
        return in_order(analysis)
    is_published = any(metric in arm.arm.published for arm in reached)
    if is_published and all(len(arm.first.values) == 1 for arm in reached):
        known = {arm.arm.name: arm.arm.published.get(metric) for arm in reached}
        told = {name: f" (published {published_value(pair)})" if pair else "" for name, pair in known.items()}
        means = [number(arm.first.mean, analysis.places()) for arm in reached]
        values = listed([f"{code(arm)} {mean}{told[arm]}" for arm, mean in zip(told, means, strict=True)])
        which = "each has one seed" if len(reached) > 1 else "there is one seed"
        return f"In {code(analysis.name)}: {values}; {which}, so there is no interval and no test."
    if len(suite.arms) == 1:
        return "One arm: there is nothing to compare it with; its numbers stand below."
    if not analysis.compared:
        what = "was run as" if any(arm.unlike for arm in reached) else "has finished with a seed of"
        return f"Undecided: no arm {what} the reference, {code(suite.reference)}."
    return decided(analysis) if any(arm.differs for arm in reached) else undecided(analysis)


def lost(analysis: Analysis) -> str:
    """The arms with runs that did not finish, which no number represents."""
    parts = []
    for name, arm in analysis.arms.items():
        failed, n, of = arm.count("failed"), arm.count("failed", "diverged"), len(arm.rows)
        what = {n: "failed", 0: "diverged"}.get(failed, "failed or diverged")
        where = "in every seed" if n == of else f"in {n} of {counted(of, 'seed')}"
        parts += [f"{code(name)} {what} {where}"] if n else []
    return f" {listed(parts)}." if parts else ""


def left_out(analysis: Analysis) -> str:
    """The arms that are not compared because they were run in other circumstances than the reference."""
    reasons = dict.fromkeys(arm.unlike for arm in analysis.arms.values() if arm.unlike)
    groups = {one: [name for name, arm in analysis.arms.items() if arm.unlike == one] for one in reasons}
    parts = [f"{named(arms)} ({escape(reason)})" for reason, arms in groups.items()]
    return f" Left out of the comparison: {listed(parts)}." if parts else ""


def decided(analysis: Analysis) -> str:
    """The arms that differ, in which direction, and by how much."""
    better, digits = analysis.record().get("better"), analysis.places()
    groups: dict[str, list[str]] = {}
    differing = [arm for arm in analysis.compared if arm.differs]
    for arm in differing:
        kind = {None: "different from", arm.direction: "better than"}.get(better, "worse than")
        by = f"{arm.direction} by {number(abs(arm.difference.mean), digits)}, p = {chance(arm.p)}"
        groups.setdefault(kind, []).append(f"{code(arm.arm.name)} ({by})".replace("= <", "<"))
    clauses = [
        f"{kind} {code(analysis.suite.reference)} {'is' if len(arms) == 1 else 'are'} {listed(arms)}"
        for kind, arms in sorted(groups.items())
    ]
    others = len(analysis.compared) - len(differing)
    which = "arm" if others == 1 else f"{others} arms"
    rest = f"; of the other {which} no difference is shown" if others else ""
    return f"In {code(analysis.name)}, {'; '.join(clauses)}{rest}."


def undecided(analysis: Analysis) -> str:
    """That no difference is shown, and how large a difference would have been seen."""
    planned, compared = analysis.suite.comparisons, analysis.compared
    which = code(compared[0].arm.name) if len(compared) == 1 else f"any of {len(compared)} arms"
    difference = f"no difference of {which} to {code(analysis.suite.reference)} is shown"
    said = f"Undecided: in {code(analysis.name)} {difference}"
    samples = [arm.difference for arm in compared if arm.difference.sd]
    if not samples:
        return f"{said}, and without a spread over seeds it cannot be said how large one would be seen."
    ranges = []
    for alpha in (ALPHA, ALPHA / planned):
        effects = [sample.smallest_effect(alpha) or 0.0 for sample in samples]
        low, high = (number(end(effects), analysis.places()) for end in (min, max))
        ranges.append(low if low == high else f"{low} to {high}, by arm")
    step = f", one comparison alone; {ranges[1]} at the first step of Holm's correction for {planned}"
    effect = f"with 80 % power the smallest effect that could have been seen is {ranges[0]}"
    return f"{said}; {effect} (paired t test, two-sided 5 %{step if planned > 1 else ''})."


def held(analysis: Analysis) -> str:
    """Which published values of the first metric lie in the interval of the mean; empty if there are none."""
    verdicts = {name: arm.inside(analysis.suite.metrics[0]) for name, arm in analysis.arms.items()}
    where = {"yes": "inside", "no": "outside", "no interval": "no interval"}
    groups = {verdict: [name for name, own in verdicts.items() if own == verdict] for verdict in where}
    clauses = [f"{where[verdict]} for {named(arms)}" for verdict, arms in groups.items() if arms]
    return f"Published, against the 95 % interval of the mean: {'; '.join(clauses)}." if clauses else ""


def in_order(analysis: Analysis) -> str:
    """How many pairs of arms have the published order, and how many of those whose difference is shown."""
    arms = [analysis.arms[name] for name in analysis.suite.order]
    samples = {arm.arm.name: arm.first for arm in arms if arm.first.values and not arm.unlike}
    if len(samples) < 2:
        return "Undecided: fewer than two of the arms have finished."
    sign = -1 if analysis.record().get("better") == "lower" else 1
    means = {arm: sign * sample.mean for arm, sample in samples.items()}
    pairs = list(combinations(samples, 2))  # the arm that was published as better is the first one
    p_values = {(one, other): samples[one].minus(samples[other]).p for one, other in pairs}
    tests = holm(p_values, comb(len(arms), 2))
    shown = [pair for pair, p in tests.items() if p < ALPHA]
    agree, kept = (sum(means[better] > means[worse] for better, worse in some) for some in (pairs, shown))
    verdict = "No" if kept < len(shown) else "Yes" if kept == len(pairs) else "Undecided"
    tau = np.nan_to_num(kendalltau(range(len(means), 0, -1), list(means.values())).statistic)
    all_pairs = f"{agree} of {len(pairs)} pairs of arms are in the published order (Kendall's tau {tau:+.2f})"
    those = f"of those whose difference is shown, {kept} are in it and {len(shown) - kept} are not"
    said = f"{verdict}: in {code(analysis.name)}, {all_pairs}; {those}"
    best = named(sorted(means, key=lambda arm: -means[arm]))
    return f"{said} (paired t tests at 5 %, after Holm's correction). Best first: {best}."


def foresight(suite: Suite) -> str:
    """How large a difference the seeds can show; the unit is the spread over them, which is not known yet."""
    arms, seeds = suite.comparisons, len(suite.seeds)
    if not arms:
        return "one arm: there is nothing to compare it with"
    if seeds == 1:
        return "one seed shows no difference: there is no spread to judge it by; give more `seeds`"
    alone, strictest = (smallest_effect(1.0, seeds, alpha) for alpha in (ALPHA, ALPHA / arms))
    effect = f"a difference of {alone:.1f} standard deviations of the paired differences"
    said = f"{seeds} seeds show, with 80 % power at 5 %, {effect}"
    step = f"of {strictest:.1f} at the first step of Holm's correction for {arms}"
    return said if arms == 1 else f"{said} in one test alone, {step}"
