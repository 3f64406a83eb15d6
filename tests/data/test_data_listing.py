"""Images, classes and splits in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.data_streams import read_split
from support.image_folders import image_folder, write_image
from support.refusals import refuses

from ganlab.data.folder import EvaluationFolder
from ganlab.data.listing import find_splits


def test_classes_are_the_sorted_sub_folders_however_deep_the_files(album):
    data = image_folder(album)
    assert data.num_classes == 3
    assert read_split(data)[1].tolist() == [0] * 4 + [1] * 3 + [2] * 4


def test_a_file_of_another_kind_is_refused_by_name(album):
    (album / "b" / "labels.csv").write_text("")
    with refuses(reason="b/labels.csv is not an image", remedy="data.on_corrupt=skip"):
        image_folder(album, in_memory=False)
    assert image_folder(album, in_memory=False, on_corrupt="skip").skipped == [
        str(album / "b" / "labels.csv")
    ]


def test_train_and_test_folders_are_the_splits(album, tmp_path_factory):
    root = tmp_path_factory.mktemp("splits")
    for i in range(4):
        write_image(root / "train" / "ab"[i % 2] / f"{i}.png", i)
    write_image(root / "test" / "b" / "0.png", 9)
    data = image_folder(root)
    assert (len(data), data.num_classes) == (4, 2)
    assert read_split(data, "test")[1].tolist() == [1]
    with refuses(".test_root", str(album), "also has a test split, test/", "null"):
        image_folder(root, test_root=str(album))
    write_image(root / "val" / "b" / "0.png", 9)
    with refuses(".root", str(root), "contains only the splits test, train, val", "test_root"):
        image_folder(root)


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
def test_splits_are_recognised_by_any_usual_spelling(tmp_path, training, test):
    for i in range(4):
        write_image(tmp_path / training / "ab"[i % 2] / f"{i}.png", i)
    write_image(tmp_path / test / "b" / "0.png", 9)
    data = image_folder(tmp_path)
    assert (len(data), data.class_names) == (4, ("a", "b"))
    assert read_split(data, "test")[1].tolist() == [1]


@pytest.mark.parametrize(
    "names", [("blood_test", "urine_test"), ("bullet_train", "steam_train"), ("android_dev", "web_dev")]
)
def test_classes_may_end_like_splits(tmp_path, names):
    for name in names:
        write_image(tmp_path / name / "0.png", 0)
    assert image_folder(tmp_path, batch_size=1).class_names == names


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
def test_splits_that_are_not_one_pair_are_refused_by_name(tmp_path, names):
    for name in names:
        write_image(tmp_path / name / "0.png", 0)
    splits = ", ".join(sorted(name for name in names if name != "annotations"))
    with refuses(".root", str(tmp_path), f"contains (only )?the splits {splits}$", "set it to one of them"):
        image_folder(tmp_path)


@pytest.mark.parametrize(
    "names", [("test_tube", "beaker"), ("train", "bus"), ("trainer", "tester"), ("valley", "evil")]
)
def test_classes_may_sound_like_splits(tmp_path, names):
    for name in names:
        write_image(tmp_path / name / "0.png", 0)
    assert image_folder(tmp_path).class_names == tuple(sorted(names))


def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path):
    for i in range(12):
        pixels = write_image(tmp_path / str(i) / "0.png", i)
    data = image_folder(tmp_path)
    assert data.class_names == tuple(map(str, range(12)))
    x, y = read_split(data)
    assert y.tolist() == list(range(12))
    assert torch.equal((x[11] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(pixels))
    write_image(tmp_path / "ten" / "0.png", 0)
    assert image_folder(tmp_path).class_names[:4] == ("0", "1", "10", "11")


def test_links_to_folders_are_followed_and_each_folder_is_read_once(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    for i in range(3):
        write_image(tmp_path / "loop" / "a" / f"{i}.png", i)
        write_image(elsewhere / "more" / f"{i}.png", 3 + i)
    home = tmp_path / "loop"
    (home / "a" / "self").symlink_to(".")
    (home / "a" / "up").symlink_to("..")
    (home / "a" / "higher").symlink_to(tmp_path)
    (home / "round").symlink_to(".")
    (home / "a" / "once").symlink_to(elsewhere)
    (home / "a" / "twice").symlink_to(elsewhere / "more")
    (elsewhere / "more" / "back").symlink_to(elsewhere)
    (home / "a" / "9.png").symlink_to("0.png")
    data = image_folder(home)
    assert (len(data), data.class_names) == (7, ("a",))
    assert len(EvaluationFolder("real", str(home))) == 7
    (home / "b").symlink_to(elsewhere)
    with refuses(reason="b contains no images .*, or only in links to folders read before"):
        image_folder(home)


def test_a_link_to_the_folder_itself_is_not_a_class(tmp_path):
    write_image(tmp_path / "0.png", 0)
    (tmp_path / "self").symlink_to(".")
    assert len(EvaluationFolder("real", str(tmp_path))) == len(image_folder(tmp_path, batch_size=1)) == 1


def test_the_test_split_may_be_in_another_folder(album, tmp_path_factory):
    with refuses(reason="no split 'test'"):
        image_folder(album).split("test", "cpu", 5)
    other = tmp_path_factory.mktemp("other")
    write_image(other / "c" / "0.png", 0)
    assert read_split(image_folder(album, test_root=str(other)), "test")[1].tolist() == [2]
    write_image(other / "zebra" / "0.png", 0)
    with refuses(reason="the classes of .* differ from those of training"):
        image_folder(album, test_root=str(other))


def test_empty_folders_are_refused(album, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with refuses(reason="contains no images"):
        image_folder(empty)
    (album / "d").mkdir()
    with refuses(reason="d contains no images"):
        image_folder(album)


def test_images_next_to_classes_are_refused(album):
    write_image(album / "loose.png", 0)
    with refuses(reason=r"both images \(loose.png\) and folders \(a\)"):
        image_folder(album)


def test_a_broken_link_next_to_classes_is_refused_by_its_name(album):
    (album / "loose.png").symlink_to(album / "nowhere.png")
    with refuses(reason=r"both images \(loose.png\) and folders \(a\)"):
        image_folder(album)


@pytest.mark.parametrize("inside", ["images", "set"])
def test_splits_inside_a_class_are_refused(tmp_path: Path, inside: str) -> None:
    for place in ("train/a", "train/b", "test/a"):
        folder = tmp_path / inside / place
        folder.mkdir(parents=True)
        write_image(folder / "0.png", 0)
    with refuses(reason=f"{inside} contains splits, not images of a class", remedy="data.root"):
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
def test_splits_may_have_a_common_prefix_or_suffix(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    found = find_splits(str(tmp_path), None)
    assert [path.name for path in found.values()] == list(names)
