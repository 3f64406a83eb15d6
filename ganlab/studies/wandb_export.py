"""A search as a sweep of Weights & Biases, which its own agents then play."""

from typing import Any

import yaml
from optuna.distributions import CategoricalDistribution

from ganlab.filesystem import config_error_if_unwritable
from ganlab.studies.plan import SearchPlan
from ganlab.studies.search import Distribution


def write_wandb_sweep(plan: SearchPlan) -> str:
    """Writes wandb.yaml into the folder of the search, and returns what to do with it."""
    search, place = plan.study, plan.study.folder / "wandb.yaml"
    root = [] if plan.cfg.root is None else [f"data.root={plan.cfg.root}"]
    overrides = [*search.base, *root, *plan.cfg.extra]
    content = {
        "name": search.name,
        "description": search.question,
        "program": "ganlab.run",
        "command": ["${env}", "${interpreter}", "-m", "${program}", *overrides, "${args_no_hyphens}"],
        "method": "bayes",
        "metric": {"name": plan.metrics[0], "goal": "maximize" if plan.higher else "minimize"},
        "run_cap": search.trials,
        "parameters": {name: as_wandb(one) for name, one in search.parameters.items()},
    }
    with config_error_if_unwritable(place):
        place.write_text(yaml.safe_dump(content, sort_keys=False, width=100))
    pruned = "; prune is left out: W&B has another rule, early_terminate" if search.prune else ""
    registers = f"{place}: `wandb sweep {place}` registers it"
    return f"{registers}, and the `wandb agent` that it names plays it{pruned}"


def as_wandb(one: Distribution) -> dict[str, Any]:
    """A range or a choice in the words of W&B."""
    if isinstance(one, CategoricalDistribution):
        return {"values": list(one.choices)}
    if one.step and not one.log:  # W&B would round to multiples of a step, whatever the low end is
        count = round((one.high - one.low) / one.step)
        return {"values": [one.low + i * one.step for i in range(count + 1)]}
    return {"distribution": "log_uniform_values" if one.log else "uniform", "min": one.low, "max": one.high}
