"""What counts as an image, a class and a split."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.data_streams import sweep
from support.image_folders import folder, picture

from ganlab.core.errors import ConfigError
from ganlab.data.folder import EvaluationFolder
from ganlab.data.listing import find_splits


def test_classes_are_the_sorted_sub_folders_however_deep_the_files(album):
    data = folder(album)
    assert data.num_classes == 3
    assert sweep(data)[1].tolist() == [0] * 4 + [1] * 3 + [2] * 4


def test_a_file_of_another_kind_is_refused_by_name(album):
    (album / "b" / "labels.csv").write_text("")
    with pytest.raises(ConfigError, match="b/labels.csv is no image"):
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
    with pytest.raises(ConfigError, match="test_root=.* holds test/"):
        folder(root, test_root=str(album))
    picture(root / "val" / "b" / "0.png", 9)
    with pytest.raises(ConfigError, match="holds only the splits test, train, val"):
        folder(root)


@pytest.mark.parametrize(
    ("training", "test"),
    [
        ("Training", "Testing"),
        ("TRAIN", "Test"),
        ("train_set", "test_set"),
        ("train2017", "test2017"),
        ("trainA", "testA"),
    ],
)
def test_splits_are_known_by_any_spelling(tmp_path, training, test):
    for i in range(4):
        picture(tmp_path / training / "ab"[i % 2] / f"{i}.png", i)
    picture(tmp_path / test / "b" / "0.png", 9)
    data = folder(tmp_path)
    assert (len(data), data.class_names) == (4, ("a", "b"))
    assert sweep(data, "test")[1].tolist() == [1]


@pytest.mark.parametrize(
    "names", [("blood_test", "urine_test"), ("bullet_train", "steam_train"), ("android_dev", "web_dev")]
)
def test_things_whose_names_end_like_splits_are_classes(tmp_path, names):
    for name in names:
        picture(tmp_path / name / "0.png", 0)
    assert folder(tmp_path, batch_size=1).class_names == names


@pytest.mark.parametrize(
    "names",
    [
        ("trainA", "trainB", "testA", "testB"),
        ("trainA", "testB"),
        ("train", "test", "annotations"),
        ("Train", "Val"),
        ("train", "dev", "holdout"),
        ("training_set", "evaluation"),
        ("train2017", "val2017", "test2017"),
        ("test", "Validation-images"),
    ],
)
def test_splits_that_cannot_be_told_apart_are_refused_by_name(tmp_path, names):
    for name in names:
        picture(tmp_path / name / "0.png", 0)
    shown = ", ".join(sorted(name for name in names if name != "annotations"))
    with pytest.raises(ConfigError, match=f"holds (only )?the splits {shown}: set data.root to one"):
        folder(tmp_path)


@pytest.mark.parametrize(
    "names", [("test_tube", "beaker"), ("train", "bus"), ("trainer", "tester"), ("valley", "evil")]
)
def test_classes_that_only_sound_like_splits_are_classes(tmp_path, names):
    for name in names:
        picture(tmp_path / name / "0.png", 0)
    assert folder(tmp_path).class_names == tuple(sorted(names))


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path):
    for i in range(12):
        pixels = picture(tmp_path / str(i) / "0.png", i)
    data = folder(tmp_path)
    assert data.class_names == tuple(map(str, range(12)))
    x, y = sweep(data)
    assert y.tolist() == list(range(12))
    assert torch.equal((x[11] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(pixels))
    picture(tmp_path / "ten" / "0.png", 0)
    assert folder(tmp_path).class_names[:4] == ("0", "1", "10", "11")


def test_links_to_folders_are_followed_and_each_folder_is_seen_once(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for i in range(3):
        picture(tmp_path / "loop" / "a" / f"{i}.png", i)
        picture(elsewhere / "more" / f"{i}.png", 3 + i)
    home = tmp_path / "loop"
    (home / "a" / "self").symlink_to(".")
    (home / "a" / "up").symlink_to("..")
    (home / "a" / "higher").symlink_to(tmp_path)
    (home / "round").symlink_to(".")
    (home / "a" / "once").symlink_to(elsewhere)
    (home / "a" / "twice").symlink_to(elsewhere / "more")
    (elsewhere / "more" / "back").symlink_to(elsewhere)
    (home / "a" / "9.png").symlink_to("0.png")
    data = folder(home)
    assert (len(data), data.class_names) == (7, ("a",))
    assert len(EvaluationFolder("real", str(home))) == 7
    (home / "b").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="b holds no images of its own"):
        folder(home)


def test_a_wrong_link_at_the_root_of_a_gallery_is_no_folder_beside_images(tmp_path):
    picture(tmp_path / "0.png", 0)
    (tmp_path / "self").symlink_to(".")
    assert len(EvaluationFolder("real", str(tmp_path))) == len(folder(tmp_path, batch_size=1)) == 1


def test_the_test_split_may_lie_elsewhere(album, tmp_path_factory):
    with pytest.raises(ConfigError, match="no split 'test'"):
        folder(album).split("test", "cpu", 5)
    other = tmp_path_factory.mktemp("other")
    picture(other / "c" / "0.png", 0)
    assert sweep(folder(album, test_root=str(other)), "test")[1].tolist() == [2]
    picture(other / "zebra" / "0.png", 0)
    with pytest.raises(ConfigError, match="other classes than the training images"):
        folder(album, test_root=str(other))


def test_empty_folders_are_refused(album, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ConfigError, match="holds no images"):
        folder(empty)
    (album / "d").mkdir()
    with pytest.raises(ConfigError, match="d holds no images"):
        folder(album)


def test_images_beside_classes_are_refused(album):
    picture(album / "loose.png", 0)
    with pytest.raises(ConfigError, match=r"both images \(loose.png\) and folders \(a\)"):
        folder(album)


def test_a_link_to_nowhere_is_an_image_beside_classes_too(album):
    (album / "loose.png").symlink_to(album / "nowhere.png")
    with pytest.raises(ConfigError, match=r"both images \(loose.png\) and folders \(a\)"):
        folder(album)


@pytest.mark.parametrize("inside", ["images", "set"])
def test_splits_below_a_folder_are_no_images_of_its_class(tmp_path: Path, inside: str) -> None:
    for place in ("train/a", "train/b", "test/a"):
        folder = tmp_path / inside / place
        folder.mkdir(parents=True)
        picture(folder / "0.png", 0)
    with pytest.raises(
        ConfigError, match=f"{inside} holds splits, not images of a class: set data.root to it"
    ):
        find_splits(str(tmp_path), None)


@pytest.mark.parametrize(
    "names",
    [
        ("trainval", "test"),
        ("split_train", "split_test"),
        ("alphabet_train", "alphabet_test"),
        ("train_512px", "test_512px"),
    ],
)
def test_a_split_is_known_by_more_than_its_name(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    found = find_splits(str(tmp_path), None)
    assert [path.name for path in found.values()] == list(names)
