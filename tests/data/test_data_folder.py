"""The settings of a folder of images, and one of real photographs."""

from __future__ import annotations

import tarfile
from itertools import islice
from pathlib import Path

import pytest
from support.data_streams import take
from support.image_folders import folder

from ganlab.core.errors import ConfigError

TAR = Path("../shared/data/cifar10-jpeg.tar")


def test_memory_limit_decides_where_nothing_else_does(album):
    size = 11 * 3 * 8 * 8
    (album / "b" / "1.png").write_text("")
    assert len(folder(album, memory_limit=size - 1)) == 11  # read later, so nothing is noticed yet
    with pytest.raises(ConfigError, match="b/1.png"):
        folder(album, memory_limit=size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root": "no/such/place"}, "data.root=no/such/place is no folder"),
        ({"test_root": "no/such/place"}, "data.test_root=no/such/place is no folder"),
        ({"batch_size": 12}, "batch_size=12 .* 11 "),
        ({"num_classes": 10}, "data.num_classes=10 .*data.num_classes=3"),
        ({"shape": [1, 8, 8]}, r"data.shape=\[1,8,8\] .*\[3,8,8\]"),
        ({"range": [0, 255]}, r"data.range=\[0,255\] does not suit images"),
        ({"background": "nope"}, "data.background=nope is no colour"),
        ({"background": "#12345678"}, "data.background=#12345678 is no colour"),
        ({"background": [1, 2, 3]}, "data.background=.1, 2, 3. is no colour"),
        ({"background": None}, "data.background=None is no colour"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(album, change, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        folder(**({"root": album} | change))
    assert "\n" not in str(refusal.value)


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
