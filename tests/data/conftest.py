"""The album that most tests of folders read."""

from __future__ import annotations

import pytest
from support.image_folders import picture


@pytest.fixture
def album(tmp_path):
    """Eleven pictures of all sizes in classes a, b, c; one lies deeper."""
    sizes = [(12, 20), (8, 8), (30, 9), (9, 9), (40, 11), (16, 10), (8, 21), (13, 13), (10, 8), (24, 24)]
    for i, size in enumerate(sizes):
        picture(tmp_path / "abc"[i % 3] / f"{i}.png", i, size)
    picture(tmp_path / "c" / "deeper" / "0.PNG", 10, (9, 14))
    return tmp_path
