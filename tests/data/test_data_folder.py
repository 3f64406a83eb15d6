"""Settings of a folder of images, and a folder of real photographs."""

from __future__ import annotations

import tarfile
from itertools import islice
from pathlib import Path

import pytest
from support.data_streams import first_batches
from support.image_folders import image_folder
from support.refusals import refuses

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError

TAR = Path("../shared/data/cifar10-jpeg.tar")


def test_memory_limit_decides_if_in_memory_is_auto(album):
    size = 11 * 3 * 8 * 8
    (album / "b" / "1.png").write_text("")
    assert len(image_folder(album, memory_limit=size - 1)) == 11  # not read yet, so not refused
    with refuses(reason="b/1.png"):
        image_folder(album, memory_limit=size)


@pytest.mark.parametrize(
    ("key", "value", "reason", "remedy"),
    [
        ("root", "no/such/place", "is not a folder", "folder of images"),
        ("test_root", "no/such/place", "is not a folder", "folder of images"),
        ("batch_size", 12, "exceeds the 11 training samples", "lower it"),
        ("num_classes", 10, "contradicts the data", "set it to 3"),
        ("shape", [1, 8, 8], "contradicts the data", r"set it to \[3,8,8\]"),
        ("range", [0, 255], "is not a value range of images", "set it to"),
        ("background", "nope", "is not an opaque colour", "such as white"),
        ("background", "#12345678", "is not an opaque colour", "such as white"),
        ("background", [1, 2, 3], "is not an opaque colour", "such as white"),
        ("background", None, "is not an opaque colour", "such as white"),
    ],
)
def test_impossible_settings_are_refused_by_key(album, key, value, reason, remedy):
    with refuses(f".{key}", value, reason, remedy):
        image_folder(**({"root": album} | {key: value}))


def test_a_refusal_by_the_config_has_the_full_key():
    with pytest.raises(
        ConfigError, match=r"^data.root=nowhere: is not a folder. Set it to a folder of images.$"
    ):
        build_data(compose("data=folder", "data.root=nowhere"))


@pytest.mark.skipif(not TAR.is_file(), reason="../shared/data/cifar10-jpeg.tar is not there")
def test_a_real_folder_of_photographs(tmp_path):
    with tarfile.open(TAR) as tar:
        wanted = [m for m in islice(tar, 12) if m.isfile()]
        tar.extractall(tmp_path, wanted, filter="data")
    data = image_folder(tmp_path / "train", height=32, batch_size=4, range=[-1, 1])
    assert (len(data), data.num_classes) == (len(wanted), 1)
    x, y = first_batches(data, 1)[0]
    assert x.shape == (4, 3, 32, 32)
    assert y.tolist() == [0] * 4
    assert x.std() > 0.1
    assert -1 <= x.min() < x.max() <= 1
