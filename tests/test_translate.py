"""ganlab translate: from a folder of images to a folder of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_folders import write_image
from support.refusals import refuses

from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.run import run
from ganlab.translate import translate

NETWORKS = ("model=pix2pix", "model.generator.width=4", "model.discriminator.width=4")
SMALL = (*NETWORKS, "model.discriminator.receptive_field=16", "logger=csv", "metric=none", "steps=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on pairs of 16 x 16."""
    root = tmp_path_factory.mktemp("translate")
    for side in "AB":
        for i in range(4):
            write_image(root / f"train{side}" / f"{i}.png", i, (16, 16))
    sizes = ["data.height=16", "data.batch_size=4", "data.num_workers=0", f"data.root={root}"]
    given = ["data=paired_folder", *sizes, *SMALL, f"run_dir={root / 'run'}"]
    run(compose(*given), given)
    return root / "run"


@pytest.fixture(scope="module")
def filling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that fills the missing pixels of digits."""
    run_dir = tmp_path_factory.mktemp("filling") / "run"
    given = ["data=masked", *SMALL, "trick=[paste_known]", "data.of.batch_size=8", f"run_dir={run_dir}"]
    run(compose(*given), given)
    return run_dir


def translated(run_dir: Path, images: Path, output: Path, *overrides: str) -> Path:
    given = [f"run_dir={run_dir}", f"images={images}", f"output={output}", *overrides]
    return translate(compose(*given, config_name="translate"), given)


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def test_each_image_has_a_result_of_its_name(trained: Path, tmp_path: Path, capsys) -> None:
    source = write_image(tmp_path / "in" / "a.png", 1, (16, 16))
    write_image(tmp_path / "in" / "deep" / "b.png", 2, (40, 20))
    output = translated(trained, tmp_path / "in", tmp_path / "out")
    found = sorted(str(path.relative_to(output)) for path in output.rglob("*.*"))
    assert found == ["a.png", "deep/b.png"]
    assert pixels(output / "deep" / "b.png").shape == (16, 16, 3)
    condition = torch.from_numpy(source.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    expected = (load(trained).sample(1, 0, condition)[0].permute(1, 2, 0) + 1) * 127.5
    assert np.abs(pixels(output / "a.png") - expected.numpy()).max() <= 0.51
    alone = translated(trained, tmp_path / "in" / "a.png", tmp_path / "alone")
    assert np.array_equal(pixels(alone / "a.png"), pixels(output / "a.png"))
    assert capsys.readouterr().out.endswith(f"2 images: {output}\n1 images: {alone}\n")


def test_several_results_differ(trained: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", 1, (16, 16))
    output = translated(trained, tmp_path / "in", tmp_path / "out", "n=3")
    results = [pixels(output / f"a_{i}.png") for i in range(3)]
    assert len({result.tobytes() for result in results}) == 3
    other = translated(trained, tmp_path / "in", tmp_path / "other", "n=3", "seed=1")
    assert not np.array_equal(pixels(other / "a_0.png"), results[0])


def test_an_animation_comes_back_as_an_animation(trained: Path, tmp_path: Path) -> None:
    frames = [Image.fromarray(write_image(tmp_path / "frames" / f"{i}.png", i, (16, 16))) for i in range(3)]
    (tmp_path / "in").mkdir()
    frames[0].save(tmp_path / "in" / "a.gif", save_all=True, append_images=frames[1:], duration=[50, 60, 70])
    output = translated(trained, tmp_path / "in", tmp_path / "out")
    with Image.open(output / "a.gif") as animation:
        assert animation.n_frames == 3
        times, seen = [], set()
        for frame in range(3):
            animation.seek(frame)
            times.append(animation.info["duration"])
            seen.add(animation.convert("RGB").tobytes())
    assert times == [50, 60, 70]
    assert len(seen) == 3
    stills = translated(trained, tmp_path / "frames", tmp_path / "stills")
    assert {path.name for path in stills.iterdir()} == {"0.png", "1.png", "2.png"}


def test_the_size_of_an_image_may_stay(trained: Path, tmp_path: Path, capsys) -> None:
    write_image(tmp_path / "in" / "wide.png", 1, (32, 48))
    output = translated(trained, tmp_path / "in", tmp_path / "out", "size=original")
    assert pixels(output / "wide.png").shape == (32, 48, 3)
    write_image(tmp_path / "in" / "odd.png", 1, (30, 48))
    with refuses(reason="1 of 2 images could not be translated"):
        translated(trained, tmp_path / "in", tmp_path / "more", "size=original")
    (line,) = capsys.readouterr().err.splitlines()
    assert "odd.png is 48x30, and sides must be multiples of 16" in line
    assert "Scale it, for example to 48x32" in line
    assert (tmp_path / "more" / "wide.png").exists()


def test_a_bad_image_is_one_line_and_the_others_are_translated(trained: Path, tmp_path: Path, capsys) -> None:
    write_image(tmp_path / "in" / "a.png", 1, (16, 16))
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    with refuses(reason="1 of 2 images could not be translated"):
        translated(trained, tmp_path / "in", tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    assert "b.png cannot be read as an image" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_holes_are_filled(filling: Path, tmp_path: Path, capsys) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[2:6, 2:6] = 0
    (tmp_path / "in").mkdir()
    Image.fromarray(np.stack([grey, alpha], 2)).save(tmp_path / "in" / "hole.png")
    output = translated(filling, tmp_path / "in", tmp_path / "out")
    filled = pixels(output / "hole.png")
    assert np.array_equal(filled[alpha > 0], grey[alpha > 0])
    assert not np.array_equal(filled[alpha == 0], grey[alpha == 0])
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    alpha[:2] = 0
    turned = tmp_path / "turned.png"
    Image.fromarray(np.stack([grey, alpha], 2)).save(turned, exif=exif)
    filled = pixels(translated(filling, turned, tmp_path / "upright") / "turned.png")
    grey, alpha = np.rot90(grey, -1), np.rot90(alpha, -1)
    assert np.array_equal(filled[alpha > 0], grey[alpha > 0])
    Image.fromarray(grey).save(tmp_path / "in" / "whole.png")
    with refuses(reason="1 of 2 images could not be translated"):
        translated(filling, tmp_path / "in", tmp_path / "other")
    assert "whole.png has no transparent pixels" in capsys.readouterr().err


def test_what_cannot_be_translated_is_refused(trained: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "a.png", 1, (16, 16))
    with refuses("output", str(tmp_path), "is not a new or empty folder"):
        translated(trained, tmp_path / "in", tmp_path)
    with refuses("images", str(tmp_path / "away"), "does not exist"):
        translated(trained, tmp_path / "away", tmp_path / "out")
    write_image(tmp_path / "in" / "a.bmp", 1, (16, 16))
    with refuses(reason="would have the same result", remedy="rename one of them"):
        translated(trained, tmp_path / "in", tmp_path / "out")
    run_dir = tmp_path / "digits"
    given = ["model=gan", "steps=1", "metric=none", "logger=csv", f"run_dir={run_dir}"]
    run(compose(*given), given)
    with refuses("run_dir", str(run_dir), "translates no images", "model=pix2pix"):
        translated(run_dir, tmp_path / "in", tmp_path / "out")
    given = ["images=x", "output=y"]
    with refuses("run_dir", None, "is missing"):
        translate(compose(*given, config_name="translate"), given)
