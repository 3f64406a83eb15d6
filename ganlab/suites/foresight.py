"""What a suite will be able to see, before any of it is played."""

from ganlab.suites.statistics import ALPHA, smallest_effect
from ganlab.suites.suite import Suite


def foresight(suite: Suite) -> str:
    """How large a difference its seeds show; the spread over seeds is not known yet, and is the unit."""
    arms, seeds = suite.comparisons, len(suite.seeds)
    if not arms:
        return "one arm: there is nothing to compare it with"
    alone, strictest = (smallest_effect(1.0, seeds, alpha) for alpha in (ALPHA, ALPHA / arms))
    if alone is None or strictest is None:
        return "one seed shows no difference: there is no spread to judge it by; give more `seeds`"
    said = (
        f"{seeds} seeds show, with 80 % power at 5 %, a difference of {alone:.1f} standard deviations of the "
        "paired differences"
    )
    if arms == 1:
        return said
    return f"{said} in one test alone, of {strictest:.1f} at the first step of Holm's correction for {arms}"
