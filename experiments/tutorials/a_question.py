# %% [markdown]
# # A question, answered by a study
#
# Does label smoothing help a small GAN? One run of each cannot say: the seed changes the number too. A
# suite runs several seeds of each arm and tests the difference. STEPS and SEEDS shorten this script.

# %%
import os
import tempfile
from pathlib import Path

import ganlab
from ganlab.ablate import ablate
from ganlab.report import report

STEPS, SEEDS = int(os.environ.get("STEPS", "1000")), int(os.environ.get("SEEDS", "4"))
suite = Path(tempfile.mkdtemp()) / "label_smoothing"
suite.mkdir()

# %% [markdown]
# The question stands in a file, before there is any answer to it: what is compared, by which number, with
# how many seeds.

# %%
(suite / "suite.yaml").write_text(f"""\
question: Does label smoothing help a small GAN on the digits in {STEPS} steps?
base: [data=digits, steps={STEPS}, 'metric=[fid,is]', logger=csv]
seeds: {SEEDS}
metrics: [fid, is]  # the first one answers the question
arms:
  gan: {{}}
  smoothing: {{overrides: [trick=label_smoothing]}}
""")

# %% [markdown]
# `ablate` plays what is missing, several runs at a time, and writes a row for each finished run. Killed and
# called again, it goes on. A dry run says beforehand what it would do.

# %%
place = (f"suite={suite}", f"output={suite.parent / 'runs'}")
ablate(ganlab.compose(*place, "dry_run=true", config_name="ablate"))
ablate(ganlab.compose(*place, config_name="ablate"))

# %% [markdown]
# The report has the mean of each arm with its interval, the differences seed by seed, the test, a plot and
# sample grids. It says so too if the runs do not decide the question.

# %%
report(ganlab.compose(f"suite={suite}", config_name="report"))
print((suite / "README.md").read_text())
