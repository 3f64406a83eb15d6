"""A sweep in the words of Weights & Biases, for `wandb sweep` and `wandb agent`."""

from typing import Any

import yaml

from ganlab.filesystem import config_error_if_unwritable
from ganlab.sweeps.parameters import Choice, Parameter
from ganlab.sweeps.plan import Plan

FILE = "wandb.yaml"


def write(plan: Plan) -> str:
    """Writes wandb.yaml into the folder of a sweep.

    Returns:
        What is to be said of it.

    Raises:
        ConfigError: it cannot be written.
    """
    place = plan.sweep.folder / FILE
    with config_error_if_unwritable(place):
        place.write_text(yaml.safe_dump(in_words(plan), sort_keys=False, width=100))
    said = f"{place}: `wandb sweep {place}` registers it, and the `wandb agent` that it names plays it"
    if plan.sweep.after is not None:
        said += "\nprune is left out: W&B ends runs by another rule (early_terminate), if you add one"
    return said


def in_words(plan: Plan) -> dict[str, Any]:
    """The file as plain values."""
    sweep = plan.sweep
    return {
        "name": sweep.name,
        "description": sweep.question,
        "program": "ganlab.run",
        "command": [
            "${env}",
            "${interpreter}",
            "-m",
            "${program}",
            *sweep.base,
            *([] if plan.root is None else [f"data.root={plan.root}"]),
            *plan.extra,
            "${args_no_hyphens}",
        ],
        "method": "bayes",
        "metric": {"name": plan.name, "goal": "maximize" if plan.more else "minimize"},
        "run_cap": sweep.trials,
        "parameters": {name: distribution(one) for name, one in sweep.parameters.items()},
    }


def distribution(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter, Choice):
        return {"values": list(parameter.texts)}
    if parameter.steps:  # W&B would round to multiples of a step, whatever low is
        return {"values": parameter.steps}
    kind = "log_uniform_values" if parameter.log else "uniform"
    return {"distribution": kind, "min": parameter.low, "max": parameter.high}
