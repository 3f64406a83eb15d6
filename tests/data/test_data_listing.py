"""What counts as an image, a class and a split."""

from __future__ import annotations

import pytest
from albums import folder, picture
from streams import sweep

from ganlab.errors import Refused


def test_classes_are_the_sorted_sub_folders_however_deep_the_files(album):
    data = folder(album)
    assert data.num_classes == 3
    assert sweep(data)[1].tolist() == [0] * 4 + [1] * 3 + [2] * 4


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


def test_a_link_to_nowhere_is_an_image_beside_classes_too(album):
    (album / "loose.png").symlink_to(album / "nowhere.png")
    with pytest.raises(Refused, match=r"both images \(loose.png\) and folders \(a\)"):
        folder(album)
