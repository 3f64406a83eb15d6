"""A folder of images for most tests of folders."""

from __future__ import annotations

import pytest
from support.image_folders import write_image


@pytest.fixture
def album(tmp_path):
    """Eleven images of many sizes in the classes a, b and c; one of them is in a sub-folder."""
    sizes = [(12, 20), (8, 8), (30, 9), (9, 9), (40, 11), (16, 10), (8, 21), (13, 13), (10, 8), (24, 24)]
    for i, size in enumerate(sizes):
        write_image(tmp_path / "abc"[i % 3] / f"{i}.png", i, size)
    write_image(tmp_path / "c" / "deeper" / "0.PNG", 10, (9, 14))
    return tmp_path
