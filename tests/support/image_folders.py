"""Folders of images for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from ganlab.data.folder import Folder


def image_folder(root: Path, **changes: Any) -> Folder:
    """The data set of conf/data/folder.yaml with small sizes."""
    cfg = OmegaConf.create({"data": OmegaConf.load("conf/data/folder.yaml")})
    small = {"root": str(root), "height": 8, "batch_size": 2, "num_workers": 0, "range": [0, 1]}
    cfg.data = OmegaConf.merge(cfg.data, small | changes)
    settings = OmegaConf.to_container(cfg, resolve=True)["data"]
    return Folder(**{key: value for key, value in settings.items() if key not in ("_target_", "defaults")})


def write_image(path: Path, seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> np.ndarray:
    """Writes random pixels, losslessly; `size` is height, width."""
    shape = size if mode == "L" else (*size, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels
