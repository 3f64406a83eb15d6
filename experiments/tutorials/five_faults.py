# %% [markdown]
# # Five faults, to be found by eye and then by the monitor
#
# Five runs train a small GAN on the digits; each has a planted fault that people make. First look at the
# pictures and the losses, and guess. Then read what the health monitor found. The variable STEPS shortens
# the script.

# %%
import csv
import json
import os
import sys
from pathlib import Path
from tempfile import mkdtemp

import ganlab

STEPS = int(os.environ.get("STEPS", "500"))
FOLDER = Path(mkdtemp())
sys.path.append(str(Path(ganlab.__file__).parents[1] / "experiments" / "health"))  # of the planted faults

# %% [markdown]
# The faults are in settings, or in a few lines of somebody's own code, which `faults.py` holds. The names of
# the runs do not tell which is which, so don't read this cell too closely.

# %%
PLANTED = {
    "a": ["optimizer.discriminator.lr=0"],
    "b": ["+trick.own._target_=faults.Detached"],
    "c": ["data._target_=faults.UnscaledDigits"],
    "d": ["+trick.own._target_=faults.ConstantLatents"],
    "e": ["trick=ema", "trick.ema.decay={_target_: ganlab.core.schedules.Constant, value: 0.9999}"],
}
runs = {}
for name, settings in PLANTED.items():
    given = [*settings, f"steps={STEPS}", "logger=csv", "metric=none", f"run_dir={FOLDER / name}"]
    runs[name] = ganlab.train(ganlab.compose(*given), given).run_dir

# %% [markdown]
# What most people look at: the last picture of samples, below real digits, and the two losses. Is a run
# healthy? If not, what is wrong with it? Only one of the five has losses that give it away.

# %%
for name, run in runs.items():
    with (run / "metrics.csv").open() as file:
        *_, last = csv.DictReader(file)
    losses = (f"{key} {float(last[key]):.3f}" for key in last if key.endswith("adversarial") and last[key])
    print(f"{name}: {', '.join(losses)}; {sorted((run / 'samples').iterdir())[-1]}")

# %% [markdown]
# What the monitor says. It looks at other things: whether the weights of each player move, and have a
# gradient; whether the data fill their range, and the latents differ; whether samples of an averaged
# generator are better than those of the generator itself.

# %%
findings = {name: json.loads((run / "summary.json").read_text())["health"] for name, run in runs.items()}
for name, found in findings.items():
    for one in found:
        print(f"{name}: {one['name']} since step {one['begins']}: {one['evidence']}")
        print(f"   likely cause: {one['cause']}; try {one['remedy']}")

# %% [markdown]
# A remedy is an override, which was composed with the run before it was named. `ganlab health` draws the
# page of a run, with the curves of all that was measured, and the findings as bands.

# %%
if STEPS >= 50:  # the monitor measures every 50 steps
    from ganlab.health import health

    health(ganlab.compose(f"run_dir={runs['a']}", config_name="health"))
