"""Pictures of samples: images below real images, points over real points."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from support.commands import play
from support.small_games import game, home_data, resolved_config

from ganlab.config.build import build_data
from ganlab.config.load import load
from ganlab.data.base import Data
from ganlab.data.sources import TensorSource
from ganlab.visualize.images import BACKGROUND, GAP, REAL_COLOUR, grid, new_figure, stack_rows, to_images
from ganlab.visualize.sample_picture import grid_layout, reference_images, sample_picture

SIDE = 32  # pixels; smaller images would be enlarged


def class_images(n: int, num_classes: int) -> torch.Tensor:
    """Constant images whose brightness encodes their class, the classes in turn, [n, 1, SIDE, SIDE]."""
    levels = torch.arange(n) % num_classes / max(num_classes - 1, 1)
    return levels[:, None, None, None].expand(n, 1, SIDE, SIDE)


def classes_of(pixels: np.ndarray, num_classes: int) -> list[list[int | None]]:
    """The classes of the images in a grid, row by row; None for the background."""
    centres = pixels[GAP + SIDE // 2 :: SIDE + GAP, GAP + SIDE // 2 :: SIDE + GAP]
    return [
        [None if tuple(p) == BACKGROUND else round(p[0] / 255 * max(num_classes - 1, 1)) for p in row]
        for row in centres
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 63, 64, 100, 203])
@pytest.mark.parametrize("num_classes", [2, 3, 5, 10, 26, 100])
def test_each_class_has_columns_of_its_own(n: int, num_classes: int) -> None:
    pixels = np.asarray(grid(class_images(n, num_classes), (0, 1), *grid_layout(n, num_classes)))
    rows = classes_of(pixels, num_classes)
    flat = [c for row in rows for c in row if c is not None]
    assert sorted(flat) == sorted(i % num_classes for i in range(n))
    if n > num_classes:
        for column in zip(*rows, strict=True):
            assert len(set(column) - {None}) <= 1
        firsts = [c for c in rows[0] if c is not None]
        assert firsts == sorted(firsts)


@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_gap_differs_from_images_of_any_grey(level: float) -> None:
    pixels = np.asarray(grid(torch.full((4, 1, SIDE, SIDE), level), (0, 1), columns=2)).astype(int)
    assert np.abs(pixels[GAP + 5, GAP + 5] - pixels[0, 0]).max() > 60
    assert tuple(pixels[GAP + SIDE, GAP + 5]) == BACKGROUND


def text_columns(strip: np.ndarray) -> np.ndarray:
    """The columns of pixels in a strip that contain text."""
    return (strip != BACKGROUND).any(2).any(0).nonzero()[0]


def test_labels_are_written_above_their_columns() -> None:
    image = grid(class_images(9, 3), (0, 1), *grid_layout(9, 3))
    for names in (("", "dog", ""), ("", "an unusually long name", "")):
        labelled = np.asarray(stack_rows([["real"], names, image, ["samples"], image]))
        rows = np.asarray(image)
        assert np.array_equal(labelled[-len(rows) :], rows)
        (top,) = [
            i for i in range(len(labelled) - len(rows)) if np.array_equal(labelled[i : i + len(rows)], rows)
        ]
        assert text_columns(labelled[top + len(rows) : -len(rows)]).size
        columns = text_columns(labelled[16:top])  # below the label of all columns
        assert image.width / 3 <= columns.min() < columns.max() <= image.width * 2 / 3


def test_channels_that_are_not_rgb_are_shown_side_by_side() -> None:
    x = torch.rand(1, 2, 8, 9)
    assert np.array_equal(
        np.asarray(to_images(x, (0, 1))[0]),
        (torch.cat([x[0, 0], x[0, 1]], 1) * 255).round().byte().numpy(),
    )
    assert to_images(torch.rand(2, 5, 7), (0, 1))[0].size == (7, 5)


def test_real_images_have_the_classes_of_the_samples_below_them(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=1", "trick=label_conditioning", "metric=none", "views=[{what:grid,n:20}]")
    data = build_data(resolved_config())
    real = reference_images(data, 10, tuple(range(10)))
    x, labels = next(data.split("train", "cpu", 2000))
    for label, image in enumerate(real):
        assert label in labels[(x == image).flatten(1).all(1)]
    first = np.asarray(grid(real, data.value_range, 10))
    for name, n in (("0000001.png", 60), ("0000001_n20_seed0.png", 20)):
        pixels = np.asarray(Image.open(tmp_path / "run" / "samples" / name))
        rest = np.asarray(grid(load(tmp_path / "run").sample(n), data.value_range, 10))
        assert np.array_equal(pixels[-len(rest) :], rest)
        above = pixels[: -len(rest)]
        assert any(np.array_equal(above[i : i + len(first)], first) for i in range(len(above)))


def test_reference_images_are_the_same_in_every_run_and_draw_no_random_numbers() -> None:
    state = torch.random.get_rng_state()
    one, other = (reference_images(build_data(resolved_config()), 8, None) for _ in range(2))
    assert torch.equal(one, other)
    assert one.shape == (8, 1, 8, 8)
    assert torch.equal(torch.random.get_rng_state(), state)
    few = Data(
        (1, 2, 2), None, (0, 1), 1, {"train": TensorSource(torch.zeros(3, 1, 2, 2).byte(), None, False)}
    )
    assert len(reference_images(few, 8, None)) == 3


TOYS = ("ring", "grid", "spiral", "mixture_1d", "gaussian_1d")


def figure(samples: torch.Tensor, data: Data, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """The figure of samples at step 1,234."""
    drawn = new_figure(4, 4.5)
    monkeypatch.setattr("ganlab.visualize.sample_picture.new_figure", lambda *_: drawn)
    game = SimpleNamespace(run_step=1234)
    assert sample_picture(game, samples, data, value_range=None, names=()).size == (400, 450)
    return drawn


@pytest.mark.parametrize("name", TOYS)
def test_the_axes_of_points_depend_on_the_data_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = build_data(resolved_config(f"data={name}"))
    real = next(data.split("test", "cpu", 2500))[0]
    collapsed, far = real[:1].expand(2500, -1), torch.full_like(real, 1e3)
    limits, titles = set(), []
    for samples in (real, collapsed, far, torch.full_like(real, torch.nan)):
        (axes,) = figure(samples, data, monkeypatch).axes
        limits.add((axes.get_xlim(), axes.get_ylim()))
        titles.append(axes.get_title())
    assert len(limits) == 1
    ((low, high), _) = limits.pop()
    assert low < real[:, 0].min() < real[:, 0].max() < high
    total = len(data.distribution.centres)
    assert "2,500 samples at step 1,234" in titles[0]
    assert f"modes {total} of {total}" in titles[0]
    assert f"modes 1 of {total}" in titles[1]
    assert "100% outside\nmodes 0 of" in titles[2]


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_modes_and_real_points_are_grey(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = build_data(resolved_config(f"data={name}"))
    (axes,) = figure(torch.zeros(5, 2), data, monkeypatch).axes
    real, modes, fake = axes.collections
    assert np.allclose(np.asarray(modes.get_offsets()), data.distribution.centres)
    assert to_hex(modes.get_edgecolor()[0]) == to_hex(real.get_facecolor()[0]) == REAL_COLOUR.lower()
    assert len(real.get_offsets()) == 1000
    assert data.distribution.mahalanobis(torch.tensor(np.asarray(real.get_offsets()))).min(1).values.max() < 6
    assert len(fake.get_offsets()) == 5


def test_the_histogram_over_the_true_density_counts_points_outside_of_the_axes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = build_data(resolved_config("data=mixture_1d"))
    samples = torch.cat([next(data.split("test", "cpu", 1000))[0], torch.full((1000, 1), 50.0)])
    (axes,) = figure(samples, data, monkeypatch).axes
    true, fake = (patch.get_data() for patch in axes.patches)
    assert (true.values * np.diff(true.edges)).sum() == pytest.approx(1, abs=1e-2)
    assert (fake.values * np.diff(fake.edges)).sum() == pytest.approx(0.5, abs=1e-2)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_points_of_an_unknown_distribution(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(300, dim, generator=torch.Generator().manual_seed(0))
    data = Data((dim,), None, None, 10, {"train": TensorSource(x, None, False)})
    (axes,) = figure(x[:50] + 1, data, monkeypatch).axes
    assert "modes" not in axes.get_title()
    assert len(axes.patches) == 2 if dim == 1 else len(axes.collections) == 2


def test_the_axes_of_an_animation_do_not_move(tmp_path: Path) -> None:
    run = tmp_path / "ring"
    play(run, "data=ring", "steps=6", "sample_every=2", "metric=none", "views=[grid,animate]")
    assert {path.name for path in (run / "samples").iterdir()} == {
        *(f"000000{i}.png" for i in (2, 4, 6)),
        "0000006_n64_seed0.png",
        "training.gif",
    }
    animation = Image.open(run / "samples" / "training.gif")
    assert animation.n_frames == 3
    frames = []
    for i in range(3):
        animation.seek(i)
        frames.append(np.asarray(animation.convert("L")).astype(int))
    ticks = [frame[:, :45] for frame in frames]  # left of the axes
    assert np.array_equal(ticks[0], ticks[2])
    assert not np.array_equal(frames[0], frames[2])


def test_a_translated_image_stands_between_its_input_and_its_answer() -> None:
    module, data = game(model="pix2pix"), home_data("pix2pix")
    real, asked = data.conditions("test").answers(1), data.conditions("test")(1)
    samples = module.game.sample(1)
    picture = sample_picture(module.game, samples, data, value_range=(-1, 1), names=())
    strip = np.asarray(grid(torch.cat([asked, samples, real], 3), (-1, 1), columns=1))
    assert np.array_equal(np.asarray(picture)[-len(strip) :], strip)
