# %% [markdown]
# # Your own images
#
# A folder of images is a data set. This script makes one from the digits of scikit-learn; set PHOTOS to a
# folder of yours. If it has sub-folders, they are the classes. The variable STEPS shortens the script.

# %%
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import ganlab

STEPS = int(os.environ.get("STEPS", "1000"))
photos = Path(os.environ.get("PHOTOS") or tempfile.mkdtemp())
if not any(photos.iterdir()):
    digits = load_digits()
    for i, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = photos / f"class_{label}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.uint8(pixels * 15.9)).save(folder / f"{i:04d}.png")

# %% [markdown]
# `data=folder` reads the images, and brings them to one size. `ganlab.build` makes the untrained game,
# which tells how large its networks are before anything is read.

# %%
images = ("data=folder", f"data.root={photos}", "data.height=8", "data.channels=1", "model=dcgan")
game = ganlab.build(ganlab.compose(*images, "data.num_classes=10"))
print(sum(weight.numel() for weight in game.generator.parameters()), "weights in the generator")

# %% [markdown]
# The labels are told to both networks by a trick, so that a class can be asked for. The Fréchet distance
# compares features of a small classifier of digits; for photographs leave `extractor=digits` out, and
# Inception is used.

# %%
measured = ("logger=csv", "metric=fid", "extractor=digits", "evaluation.n=500")
result = ganlab.train(ganlab.compose(*images, *measured, "trick=label_conditioning", f"steps={STEPS}"))
print(result.metrics)

# %% [markdown]
# The number means little alone. The floor is the same distance for real images that were held out: none
# here, because the folder has no test split. `data.validation=200` would hold some out. A picture says
# more: each column is a class.

# %%
from ganlab.sample import sample  # noqa: E402

view = ganlab.compose(f"run_dir={result.run_dir}", "n=40", config_name="sample")
print(sample(view))
one_class = ganlab.compose(f"run_dir={result.run_dir}", "n=16", "class=class_3", config_name="sample")
print(sample(one_class))

# %% [markdown]
# The run is a folder that can be read again, on any machine, without the images.

# %%
game = ganlab.load(result.run_dir)
threes = game.sample(4, seed=1, conditions=3)  # [4, 1, 8, 8] in [-1, 1]
print(tuple(threes.shape), float(threes.min()), float(threes.max()))
