"""Files of two images side by side: a sample and its condition, which stay together."""

from __future__ import annotations

import itertools
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.data_streams import first_batches, same_batches
from support.image_folders import image_folder
from support.refusals import refuses
from torch import Tensor

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.data.base import Data

FACADES = Path("../shared/data/facades.tar")
PAIR = {"kind": "image", "shape": [3, 8, 8], "_target_": "ganlab.core.batch.ConditionSpec"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Nine files of many sizes; on the right is the negative of the left half."""
    for i, (height, half) in enumerate(itertools.product((8, 11, 20), (8, 9, 17))):
        left = np.random.default_rng(i).integers(0, 256, (height, half, 3), dtype=np.uint8)
        middle = np.zeros((height, i % 2, 3), np.uint8)  # of odd widths, a column belongs to neither half
        Image.fromarray(np.concatenate([left, middle, 255 - left], 1)).save(tmp_path / f"{i}.png")
    return tmp_path


def paired(root: Path, **changes: Any) -> Data:
    cfg = compose("data=paired_folder", f"data.root={root}", "data.height=8", "data.batch_size=3")
    OmegaConf.set_struct(cfg.data, False)
    cfg.data = OmegaConf.merge(cfg.data, {"num_workers": 0, **changes})
    return build_data(cfg)


def pairs_of(data: Data, n: int) -> list[tuple[Tensor, Tensor]]:
    return [
        (batch.real.x, batch.real.condition)
        for batch in itertools.islice(data.stream(0, lambda: 0, "cpu"), n)
    ]


@pytest.mark.parametrize("crop", ["none", "center", "random"])
@pytest.mark.parametrize(
    "reading", [{"in_memory": True}, {"in_memory": False}, {"in_memory": False, "num_workers": 2}]
)
def test_a_condition_is_cropped_and_mirrored_with_its_sample(
    pairs: Path, crop: str, reading: dict[str, Any]
) -> None:
    batches = pairs_of(paired(pairs, crop=crop, flip=True, **reading), 7)
    for x, condition in batches:
        assert x.shape == condition.shape == (3, 3, 8, 8)
        assert (x + condition).abs().max() <= 2.01 / 255  # negatives, up to the rounding of a resized image
    held = pairs_of(paired(pairs, crop=crop, flip=True, in_memory=True), 7)
    assert same_batches(batches, held)
    assert len({float(x[0].sum()) for x, _ in batches}) > 1


def test_the_direction_says_which_half_is_the_sample(pairs: Path) -> None:
    width, left = 8, np.asarray(Image.open(pairs / "0.png"))[:, :8]
    expected = torch.from_numpy(left.copy()).permute(2, 0, 1) / 127.5 - 1
    for direction, half in (("BtoA", 0), ("AtoB", 1)):
        data = paired(pairs, direction=direction)
        sample_and_condition = next(data.split("train", "cpu", 1))
        torch.testing.assert_close(sample_and_condition[half][0], expected)
        torch.testing.assert_close(data.conditions("train")(1)[0], sample_and_condition[1][0])
    assert width == data.shape[2]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_file_is_skipped_as_a_pair(pairs: Path, num_workers: int) -> None:
    broken = pairs / "4.png"
    broken.write_bytes(broken.read_bytes()[:-60])
    with refuses(reason="4.png cannot be read"):
        paired(pairs, in_memory=True)
    settings = {"on_corrupt": "skip", "crop": "random", "flip": True, "batch_size": 9}
    held = paired(pairs, in_memory=True, **settings)
    read = paired(pairs, in_memory=False, num_workers=num_workers, **settings)
    batches = pairs_of(read, 3)
    assert same_batches(batches, pairs_of(held, 3))
    assert all((x + condition).abs().max() <= 2.01 / 255 for x, condition in batches)
    assert read.skipped == held.skipped == [str(broken)]
    assert len(held.conditions("train")(9)) == 9


def test_a_part_of_the_pairs_is_held_out(pairs: Path) -> None:
    data = paired(pairs, validation=4)
    assert (len(data), len(data.sources["validation"])) == (5, 4)
    x, condition = next(data.split("validation", "cpu", 4))
    assert (x + condition).abs().max() <= 2.01 / 255


def test_pairs_and_the_condition_must_agree(pairs: Path) -> None:
    with refuses(".direction", "AtoB", "contradicts", "choose data=paired_folder"):
        image_folder(pairs, direction="AtoB")
    with refuses("data.direction", None, "contradicts", "data=folder"):
        paired(pairs, direction=None)
    with refuses("data.direction", "AtoB", "contradicts"):
        paired(pairs, condition=PAIR | {"shape": [3, 8, 4]})


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Pairs in folders of their own, of classes, of which B is the negative of A."""
    for split, i in itertools.product(("train", "test"), range(6)):
        pixels = np.random.default_rng(i).integers(0, 256, (9 + i, 8 + i % 3, 3), dtype=np.uint8)
        for side, image in (("A", pixels), ("B", 255 - pixels)):
            file = tmp_path / f"{split}{side}" / f"class{i % 2}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    return tmp_path


@pytest.mark.parametrize("crop", ["none", "center", "random"])
@pytest.mark.parametrize("reading", [{"in_memory": True}, {"in_memory": False, "num_workers": 2}])
def test_pairs_in_two_folders_move_as_one(folders: Path, crop: str, reading: dict[str, Any]) -> None:
    data = paired(folders, crop=crop, flip=True, jitter=3, **reading)
    batches = pairs_of(data, 6)
    assert all((x + condition).abs().max() <= 2.01 / 255 for x, condition in batches)
    assert same_batches(batches, pairs_of(paired(folders, crop=crop, flip=True, jitter=3, in_memory=True), 6))
    still = paired(folders, crop=crop)
    assert {*data.sources} == {"train", "test"}
    for (x, condition), expected in zip(
        data.split("test", "cpu", 6), still.split("test", "cpu", 6), strict=True
    ):
        assert torch.equal(x, expected[0])
        assert torch.equal(condition, expected[1])


def test_an_input_that_equals_its_target_stays_so(folders: Path) -> None:
    for file in folders.glob("trainA/*/*"):
        shutil.copy(file, str(file).replace("trainA", "trainB"))
    batches = pairs_of(paired(folders, crop="center", flip=True, jitter=5, batch_size=6), 5)
    assert all(torch.equal(x, condition) for x, condition in batches)
    firsts = {tuple(sorted(float(image.sum()) for image in x)) for x, _ in batches}
    assert len(firsts) == 5  # the epochs differ, because images are moved


def test_the_direction_says_which_folder_is_the_sample(folders: Path) -> None:
    for direction, side in (("AtoB", "B"), ("BtoA", "A")):
        data = paired(folders, direction=direction, height=9, width=8)
        x, _ = next(data.split("train", "cpu", 1))
        image = np.asarray(Image.open(folders / f"train{side}/class0/0.png"))
        torch.testing.assert_close(x[0], torch.from_numpy(image.copy()).permute(2, 0, 1) / 127.5 - 1)
    assert data.fingerprint() == paired(folders, direction=direction, height=9, width=8).fingerprint()
    old = paired(folders, direction=None, pairs="b_to_a", height=9, width=8)  # the config of an earlier run
    assert same_batches(pairs_of(old, 3), pairs_of(data, 3))


def test_a_change_of_a_condition_changes_the_fingerprint(folders: Path) -> None:
    before = paired(folders).fingerprint()
    Image.new("RGB", (8, 9)).save(folders / "trainA/class0/0.png")
    assert paired(folders).fingerprint() != before


def test_pairs_in_two_folders_are_refused_by_name(folders: Path) -> None:
    with refuses(".root", str(folders), "contains only the splits", "choose data=paired_folder for pairs"):
        image_folder(folders)
    (folders / "other").mkdir()
    with refuses("data.root", str(folders), "also contains other", "move them elsewhere"):
        paired(folders)
    (folders / "other").rmdir()
    with refuses("data.test_root", str(folders), "has no effect", "set it to null"):
        paired(folders, test_root=str(folders))
    (folders / "testA/class0/0.png").rename(folders / "testA/class0/x.png")
    with refuses(reason=f"{folders / 'testB'} has no class0/x.png", remedy="add it, or remove the image"):
        paired(folders, direction="BtoA")
    (folders / "testA/class0/x.png").unlink()
    with refuses(reason=f"{folders / 'testA'} has no class0/0.png"):
        paired(folders)
    shutil.rmtree(folders / "testB")
    with refuses("data.root", str(folders), "it has only testA, trainA, trainB", "add the missing ones"):
        paired(folders)
    shutil.rmtree(folders / "testA")
    Image.new("RGB", (5, 7)).save(folders / "trainB/class1/1.png")
    with refuses(reason="trainB/class1/1.png is 5x7, but ", remedy="resize one of them"):
        paired(folders, on_corrupt="skip")


def test_folders_a_and_b_are_no_files_of_two_halves(folders: Path) -> None:
    for side in "AB":
        (folders / f"train{side}/class0").rename(folders / side)
        shutil.rmtree(folders / f"train{side}")
        shutil.rmtree(folders / f"test{side}")
    with refuses("data.root", str(folders), "would be cut into halves", "rename A to trainA and B to trainB"):
        paired(folders)


def test_an_unreadable_partner_is_skipped_with_its_image(folders: Path) -> None:
    (folders / "trainA/class0/2.png").write_bytes(b"broken")
    with refuses(reason="trainA/class0/2.png cannot be read"):
        paired(folders)
    data = paired(folders, on_corrupt="skip", batch_size=6)
    assert data.skipped == [str(folders / "trainB/class0/2.png")]
    assert all((x + condition).abs().max() <= 2.01 / 255 for x, condition in pairs_of(data, 2))


def test_a_narrow_file_is_no_pair(tmp_path: Path) -> None:
    Image.new("RGB", (1, 8)).save(tmp_path / "0.png")
    with refuses(reason="0.png cannot be read as an image"):
        first_batches(paired(tmp_path, batch_size=1), 1)


@pytest.mark.skipif(not FACADES.is_file(), reason="../shared/data/facades.tar is not there")
def test_real_facades_are_told_their_labels(tmp_path: Path) -> None:
    names = [f"facades/test{side}/{i:03}.jpg" for side in "AB" for i in range(1, 5)]
    with tarfile.open(FACADES) as tar:
        tar.extractall(tmp_path, [tar.getmember(name) for name in names], filter="data")
    root = tmp_path / "joined"
    root.mkdir()
    for photo, labels in zip(names[:4], names[4:], strict=True):
        halves = [np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in (photo, labels)]
        Image.fromarray(np.concatenate(halves, 1)).save(root / f"{Path(photo).stem}.png")
    data = paired(root, direction="BtoA", height=256, batch_size=4)
    photos, maps = next(data.split("train", "cpu", 4))
    assert photos.shape == maps.shape == (4, 3, 256, 256)
    # Label maps have few colours, also after JPEG: most of their pixels are near those of a neighbour.
    steps = [(x[..., 1:] - x[..., :-1]).abs().amax(1) < 0.05 for x in (photos, maps)]
    assert steps[1].float().mean() > steps[0].float().mean() + 0.1
