"""The sample command and its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import play
from PIL import Image

from ganlab.cli import compose
from ganlab.errors import Refused
from ganlab.pictures import grid, images, picture
from ganlab.sample import sample


def draw(run_dir: Path, *overrides: str) -> Path:
    return sample(compose(f"run_dir={run_dir}", *overrides, config_name="sample"))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "conditional"
    play(path, "steps=2", "trick=[label_conditioning,ema]")
    return path


def test_a_grid_hangs_on_the_seed_and_the_class(conditional: Path, tmp_path: Path) -> None:
    def pixels(*overrides: str) -> np.ndarray:
        return np.asarray(Image.open(draw(conditional, "n=9", f"output={tmp_path / 'grid.png'}", *overrides)))

    assert np.array_equal(pixels(), pixels())
    assert not np.array_equal(pixels(), pixels("seed=1"))
    assert not np.array_equal(pixels("class=3"), pixels("class=4"))
    assert draw(conditional).parent == conditional / "samples"


def test_single_images(conditional: Path, tmp_path: Path) -> None:
    folder = draw(conditional, "n=3", "format=files", f"output={tmp_path / 'single'}")
    assert [path.name for path in sorted(folder.iterdir())] == ["00000.png", "00001.png", "00002.png"]
    assert Image.open(folder / "00000.png").size == (8, 8)


def test_points_are_scattered(tmp_path: Path) -> None:
    play(tmp_path / "ring", "data=ring", "steps=2", "model.generator.batch_norm=false")
    assert Image.open(draw(tmp_path / "ring")).size == (400, 400)
    with pytest.raises(Refused, match="are no images"):
        draw(tmp_path / "ring", "format=files")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("n=0", "n=0 must be a whole number of at least 1"),
        ("seed=-1", "seed=-1"),
        ("format=gif", "format=gif must be grid or files"),
        ("class=10", "class=10 must lie between 0 and 9"),
        ("checkpoint=lost.ckpt", "lost.ckpt does not exist"),
        ("run_dir=null", "run_dir is missing"),
    ],
)
def test_bad_input_is_refused(conditional: Path, override: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        draw(conditional, override)


def test_a_grid_shows_each_sample_in_its_place() -> None:
    samples = torch.full((5, 1, 8, 10), -1.0)
    samples[3] = 1.0
    shown = np.asarray(grid(samples, (-1, 1)))
    scale = 4
    assert shown.shape == ((2 * 10 + 2) * scale, (3 * 12 + 2) * scale)
    assert (shown[12 * scale : 20 * scale, 2 * scale : 12 * scale] == 255).all()
    assert (shown[2 * scale : 10 * scale, 2 * scale : 12 * scale] == 0).all()
    assert (shown[:8] == 128).all()


def test_levels_and_colours() -> None:
    samples = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    (image,) = images(samples, (-1, 1))
    assert image.getpixel((0, 0)) == (0, 128, 255)
    assert picture(torch.rand(4, 3, 8, 8), (0, 1)).mode == "RGB"
