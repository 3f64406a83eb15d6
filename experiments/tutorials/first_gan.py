# %% [markdown]
# # A first GAN, and why it fails
#
# This script is a notebook: editors and jupytext show each `# %%` as a cell. `python
# experiments/tutorials/first_gan.py` runs all of it. The variable STEPS shortens it.

# %%
import os

import ganlab

STEPS = int(os.environ.get("STEPS", "3000"))

# %% [markdown]
# The data are eight narrow Gaussians on a circle, so one sees at once what the generator misses. A config
# is composed from the same overrides as those of `ganlab run`, and `train` plays the game.

# %%
ring = ("experiment=ring_modes", "logger=csv", f"steps={STEPS}")
plain = ganlab.train(ganlab.compose(*ring))

# %% [markdown]
# `modes` is the number of Gaussians that some sample meets. The real data meet all eight. This GAN has
# found few: each time that the discriminator learns to refuse what the generator makes, the generator moves
# to another Gaussian. No sample tells the generator that the others are missing. This is mode collapse.

# %%
print(plain.metrics)
samples = plain.game.sample(2500, seed=0)  # [2500, 2]
print("mean distance from the centre:", samples.norm(dim=1).mean().item(), "(real data: about 1)")

# %% [markdown]
# The pictures in `samples/` show it: grey points are real, coloured ones are generated. The last one is
# this:

# %%
print(sorted((plain.run_dir / "samples").iterdir())[-1])

# %% [markdown]
# With packing (Lin et al. 2018), the discriminator judges two samples at a time. Two samples of one
# Gaussian are then easy to tell from two real ones, which lie on different Gaussians in seven of eight
# pairs. One override adds this trick.

# %%
packed = ganlab.train(ganlab.compose(*ring, "trick=packing"))
for name in plain.metrics:
    print(f"{name}: {plain.metrics[name]:.4g} without packing, {packed.metrics[name]:.4g} with it")

# %% [markdown]
# One run of each proves nothing: with another seed, the order may be another. The study
# `experiments/ring_modes` has five seeds of each, intervals and a test; the third tutorial makes such a
# study. `ganlab tricks` lists what else may help, and `trick=unrolled` is the next to try.
