"""Folders of images: what counts as one, how it becomes a sample, and memory against files, bit for bit."""

from __future__ import annotations

import tarfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from ganlab.data.folder import Folder
from ganlab.errors import Refused

TAR = Path("../shared/data/cifar10-jpeg.tar")


def folder(root: Path, **changes: Any) -> Folder:
    """conf/data/folder.yaml, with sizes that tests can afford."""
    cfg = OmegaConf.create({"data": OmegaConf.load("conf/data/folder.yaml")})
    small = {"root": str(root), "height": 8, "batch_size": 2, "num_workers": 0, "range": [0, 1]}
    cfg.data = OmegaConf.merge(cfg.data, small | changes)
    facts = OmegaConf.to_container(cfg, resolve=True)["data"]
    return Folder(**{key: value for key, value in facts.items() if key not in ("_target_", "defaults")})


def picture(path: Path, seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> np.ndarray:
    """Writes random pixels, losslessly; `size` is height, width."""
    shape = size if mode == "L" else (*size, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def album(tmp_path):
    """Eleven pictures of all sizes in classes a, b, c; one lies deeper."""
    sizes = [(12, 20), (8, 8), (30, 9), (9, 9), (40, 11), (16, 10), (8, 21), (13, 13), (10, 8), (24, 24)]
    for i, size in enumerate(sizes):
        picture(tmp_path / "abc"[i % 3] / f"{i}.png", i, size)
    picture(tmp_path / "c" / "deeper" / "0.PNG", 10, (9, 14))
    return tmp_path


def take(data: Folder, n: int, start: int = 0, **where: int) -> list[tuple[Tensor, Tensor | None]]:
    return list(islice(data.stream(0, lambda: start, "cpu", **where), n))


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


def sweep(data: Folder, split: str = "train") -> tuple[Tensor, Tensor | None]:
    return next(data.split(split, "cpu", 1000))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("crop", ["none", "center", "random"])
def test_files_and_memory_give_the_same_batches_bit_for_bit(album, crop, num_workers):
    look = {"crop": crop, "flip": True, "batch_size": 3, "width": 6}
    held = folder(album, in_memory=True, **look)
    read = folder(album, in_memory=False, num_workers=num_workers, **look)
    batches = take(held, 7)
    assert batches[0][0].shape == (3, 3, 8, 6)
    assert same(batches, take(read, 7))
    assert same(batches[4:], take(read, 3, start=4))
    assert same(list(held.split("train", "cpu", 4)), list(read.split("train", "cpu", 4)))
    assert len(held) == len(read) == 11


def test_random_crops_and_flips_differ_from_round_to_round(album):
    data = folder(album, crop="random", flip=True, batch_size=11)
    by_class = [x[y.argsort(stable=True)] for x, y in take(data, 4)]
    assert all(not torch.equal(by_class[0], other) for other in by_class[1:])


def test_ranks_share_the_batch_that_is_read_from_files(album):
    look = {"crop": "random", "flip": True, "batch_size": 4, "in_memory": False}
    parts = [take(folder(album, **look), 4, rank=r, world_size=2) for r in (0, 1)]
    whole = [(torch.cat([x, u]), torch.cat([y, v])) for (x, y), (u, v) in zip(*parts, strict=True)]
    assert same(whole, take(folder(album, **look), 4))


def test_reading_with_workers_leaves_the_default_generator_alone(album):
    before = torch.get_rng_state()
    take(folder(album, in_memory=False, num_workers=2), 2)
    assert torch.equal(before, torch.get_rng_state())


def test_classes_are_the_sorted_sub_folders_however_deep_the_files(album):
    data = folder(album)
    assert data.num_classes == 3
    assert data.offers == {"labels"}
    assert sweep(data)[1].tolist() == [0] * 4 + [1] * 3 + [2] * 4


def test_pixels_arrive_as_they_were_written(tmp_path):
    pixels = [picture(tmp_path / f"{i}.png", i) for i in range(3)]
    data = folder(tmp_path)
    x, y = sweep(data)
    assert torch.equal((x * 255).round().byte(), torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
    assert y is None
    assert (data.num_classes, data.offers) == (None, frozenset())


@pytest.mark.parametrize("in_memory", [True, False])
def test_crop_takes_the_middle_and_none_squeezes(tmp_path, in_memory):
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 255  # black, white, black
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    same_size = {"batch_size": 1, "in_memory": in_memory}
    assert sweep(folder(tmp_path, crop="center", **same_size))[0].min() == 1
    squeezed = sweep(folder(tmp_path, crop="none", **same_size))[0]
    assert abs(squeezed.mean().item() - 1 / 3) < 0.02
    assert sweep(folder(tmp_path, crop="random", **same_size))[0].min() == 1  # not augmented: the middle


@pytest.mark.parametrize("crop", ["none", "center", "random"])
def test_images_need_not_be_square(album, crop):
    data = folder(album, height=5, width=9, crop=crop)
    assert data.shape == (3, 5, 9)
    assert take(data, 1)[0][0].shape == (2, 3, 5, 9)


def test_shrinking_antialiases(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    x, _ = sweep(folder(tmp_path, batch_size=1))
    assert (x - 0.5).abs().max() < 0.02


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "deeper.tif")
    x, _ = sweep(folder(tmp_path, channels=1))
    assert (x * 65535 - torch.from_numpy(ramp.astype(np.float32))).abs().max() <= 65535 / 255 / 2 + 1


def test_grey_from_colour_and_colour_from_grey(tmp_path):
    colour = picture(tmp_path / "colour" / "x.png", 0)
    grey = picture(tmp_path / "grey" / "x.png", 1, mode="L")
    x, _ = sweep(folder(tmp_path / "colour", channels=1, batch_size=1))
    assert x.shape == (1, 1, 8, 8)
    weighed = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(x[0, 0].numpy() * 255 - weighed).max() < 1
    x, _ = sweep(folder(tmp_path / "grey", channels=3, batch_size=1))
    assert all(torch.equal((x[0, c] * 255).round().byte(), torch.from_numpy(grey)) for c in range(3))


@pytest.mark.filterwarnings("error")
def test_palettes_and_transparency_become_colours(tmp_path):
    pixels = picture(tmp_path / "rgba.png", 0, mode="RGBA")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([9, 9, 9, 250, 120, 30])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "q.png", transparency=b"\xff\x80")
    x = (sweep(folder(tmp_path))[0] * 255).round().byte()
    assert x[0, :, 3, 4].tolist() == x[1, :, 3, 4].tolist() == [250, 120, 30]
    assert torch.equal(x[2], torch.from_numpy(pixels[..., :3]).permute(2, 0, 1))


def test_photographs_stand_upright(tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255  # the first row, which the camera says is the right side
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    x, _ = sweep(folder(tmp_path, channels=1, batch_size=1))
    assert x[0, 0, :, 7].min() == 1
    assert x[0, 0, :, :7].max() == 0


@pytest.fixture
def broken(album):
    """The album with a torn file (c, last but one), a text named like an image (b, first), and notes."""
    torn = album / "c" / "2.png"
    torn.write_bytes(torn.read_bytes()[:-40])
    (album / "b" / "1.png").write_text("not an image")
    (album / ".hidden.png").write_text("")
    (album / "a" / ".DS_Store").write_text("")
    return album


@pytest.mark.parametrize("reading", [{"in_memory": True}, {"in_memory": True, "num_workers": 2}])
def test_a_broken_file_is_refused_by_name_before_training(broken, reading):
    with pytest.raises(Refused, match=r"b/1.png cannot be read as an image .*on_corrupt=skip") as refusal:
        folder(broken, **reading)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_file_is_refused_by_name_when_met(broken, num_workers):
    data = folder(broken, in_memory=False, num_workers=num_workers)
    with pytest.raises(Refused, match=r"(b/1|c/2).png cannot be read as an image") as refusal:
        take(data, 10)
    assert type(refusal.value) is Refused
    assert "\n" not in str(refusal.value)
    with pytest.raises(Refused, match="b/1.png cannot be read"):
        sweep(data)


def test_broken_files_can_be_skipped_and_memory_and_files_agree(broken):
    (broken / "notes.txt").write_text("a, b, c")
    (broken / "b" / "7.png").write_text("")
    look = {"crop": "random", "flip": True, "batch_size": 11, "on_corrupt": "skip"}
    held = folder(broken, in_memory=True, **look)
    lost = [str(broken / name) for name in ("notes.txt", "b/1.png", "b/7.png", "c/2.png")]
    assert held.skipped == lost
    read = [folder(broken, in_memory=False, num_workers=n, **look) for n in (0, 2)]
    assert read[0].skipped == lost[:1]
    batches = take(held, 4)
    assert same(batches, take(read[0], 4))
    assert same(batches[2:], take(read[1], 2, start=2))
    assert sorted(read[0].skipped) == sorted(read[1].skipped) == sorted(lost)
    # b/1 is replaced by b/4, b/7 and c/2 by c/5: a label belongs to the image that is there.
    assert batches[0][1].bincount().tolist() == [4, 2, 5]
    assert sweep(held)[1].tolist() == sweep(read[1])[1].tolist() == [0] * 4 + [1] * 1 + [2] * 3


def test_the_first_good_image_follows_the_last(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "3.png").write_text("")
    for in_memory in (True, False):
        x, _ = take(folder(tmp_path, on_corrupt="skip", batch_size=4, in_memory=in_memory), 1)[0]
        first = sweep(folder(tmp_path, on_corrupt="skip", in_memory=in_memory))[0][0]
        assert sum(torch.equal(one, first) for one in x) == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_nothing_but_broken_files_is_refused(tmp_path, num_workers):
    for i in range(3):
        (tmp_path / f"{i}.png").write_text("")
    how = {"on_corrupt": "skip", "num_workers": num_workers}
    with pytest.raises(Refused, match="none of the 3 images can be read"):
        folder(tmp_path, in_memory=True, **how)
    with pytest.raises(Refused, match="none of the 3 images can be read"):
        take(folder(tmp_path, in_memory=False, **how), 1)


def test_a_file_of_another_kind_is_refused_by_name(album):
    (album / "b" / "labels.csv").write_text("")
    with pytest.raises(Refused, match="b/labels.csv is no image"):
        folder(album, in_memory=False)
    assert folder(album, in_memory=False, on_corrupt="skip").skipped == [str(album / "b" / "labels.csv")]


def test_train_and_test_folders_are_the_splits(album, tmp_path_factory):
    root = tmp_path_factory.mktemp("splits")
    for i in range(4):
        picture(root / "train" / "ab"[i % 2] / f"{i}.png", i)
    picture(root / "test" / "b" / "0.png", 9)
    data = folder(root)
    assert (len(data), data.num_classes) == (4, 2)
    assert sweep(data, "test")[1].tolist() == [1]
    with pytest.raises(Refused, match="test_root=.* holds test/"):
        folder(root, test_root=str(album))
    picture(root / "val" / "b" / "0.png", 9)
    with pytest.raises(Refused, match="holds only the splits test, train, val"):
        folder(root)


def test_the_test_split_may_lie_elsewhere(album, tmp_path_factory):
    with pytest.raises(Refused, match="no split 'test'"):
        folder(album).split("test", "cpu", 5)
    other = tmp_path_factory.mktemp("other")
    picture(other / "c" / "0.png", 0)
    assert sweep(folder(album, test_root=str(other)), "test")[1].tolist() == [2]
    picture(other / "zebra" / "0.png", 0)
    with pytest.raises(Refused, match="other classes than the training images"):
        folder(album, test_root=str(other))


def test_memory_limit_decides_where_nothing_else_does(album):
    size = 11 * 3 * 8 * 8
    (album / "b" / "1.png").write_text("")
    assert len(folder(album, memory_limit=size - 1)) == 11  # read later, so nothing is noticed yet
    with pytest.raises(Refused, match="b/1.png"):
        folder(album, memory_limit=size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": "no/such/place"}, "data.root=no/such/place is no folder"),
        ({"test_root": "no/such/place"}, "data.test_root=no/such/place is no folder"),
        ({"batch_size": 12}, "batch_size=12 .* 11 "),
        ({"num_classes": 10}, "data.num_classes=10 .*data.num_classes=3"),
        ({"shape": [1, 8, 8]}, r"data.shape=\[1,8,8\] .*\[3,8,8\]"),
        ({"channels": 4}, "data.channels=4 is not known: choose from 1, 3"),
        ({"height": 0}, "data.height=0 is too small: set it to 1 or more"),
        ({"num_workers": -1}, "data.num_workers=-1"),
        ({"range": [0, 255]}, r"data.range=\[0,255\] does not suit images"),
        ({"crop": "top"}, "data.crop=top is not known: choose from none, center, random"),
        ({"on_corrupt": "warn"}, "data.on_corrupt=warn"),
        ({"in_memory": "perhaps"}, "data.in_memory=perhaps"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(album, change, message):
    with pytest.raises(Refused, match=message) as refusal:
        folder(**({"root": album} | change))
    assert "\n" not in str(refusal.value)


def test_empty_folders_are_refused(album, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(Refused, match="holds no images"):
        folder(empty)
    (album / "d").mkdir()
    with pytest.raises(Refused, match="d holds no images"):
        folder(album)


def test_images_beside_classes_are_refused(album):
    picture(album / "loose.png", 0)
    with pytest.raises(Refused, match=r"both images \(loose.png\) and folders \(a\)"):
        folder(album)


@pytest.mark.skipif(not TAR.is_file(), reason="../shared/data/cifar10-jpeg.tar is not there")
def test_a_real_folder_of_photographs(tmp_path):
    with tarfile.open(TAR) as tar:
        wanted = [m for m in islice(tar, 12) if m.isfile()]
        tar.extractall(tmp_path, wanted, filter="data")
    data = folder(tmp_path / "train", height=32, batch_size=4, range=[-1, 1])
    assert (len(data), data.num_classes) == (len(wanted), 1)
    x, y = take(data, 1)[0]
    assert x.shape == (4, 3, 32, 32)
    assert y.tolist() == [0] * 4
    assert x.std() > 0.1
    assert -1 <= x.min() < x.max() <= 1
