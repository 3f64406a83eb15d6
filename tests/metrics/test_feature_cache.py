"""What is kept of real images is what would be seen anew, or it is not used."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from test_fidelity import Pixels, images
from torch import Tensor

from ganlab.metrics import feature_cache
from ganlab.metrics.features import CachedExtractor, Features


class Counting(Pixels):
    """Counts what it looks at."""

    looks = 0

    def extract(self, x: Tensor) -> Features:
        self.looks += len(x)
        return super().extract(x)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ganlab" / "features"


def files(home: Path) -> list[Path]:
    return sorted(home.iterdir()) if home.exists() else []


def seen(lens: CachedExtractor, x: Tensor) -> Features:
    with feature_cache.enabled():
        return lens.extract(x.clone())


def test_reals_are_looked_at_once_and_fakes_always(home: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    first = seen(CachedExtractor(extractor), x)
    again = seen(CachedExtractor(extractor), x)
    assert extractor.looks == 5
    assert all(map(torch.equal, first, again))
    assert len(files(home)) == 1
    CachedExtractor(extractor).extract(x)
    assert extractor.looks == 10
    assert len(files(home)) == 1


def test_metrics_that_share_a_lens_show_it_a_batch_once() -> None:
    x, extractor = images(5, 0), Counting(64)
    lens = CachedExtractor(extractor)
    assert lens.extract(x) is lens.extract(x)
    lens.extract(x.clone())
    assert extractor.looks == 10


def test_other_images_weights_or_ways_of_looking_are_others(home: Path) -> None:
    x = images(5, 0)
    seen(CachedExtractor(Counting(64)), x)
    for change in ("sha256", "resize", "name"):
        extractor = Counting(64)
        setattr(extractor, change, "another")
        seen(CachedExtractor(extractor), x)
        assert extractor.looks == 5, change
    for y in (x.flip(0), x[:4], x.flip(-1), x.view(5, 1, 4, 16)):
        extractor = Counting(64)
        seen(CachedExtractor(extractor), y)
        assert extractor.looks == len(y)
    assert len(files(home)) == 8


@pytest.mark.parametrize("harm", ["cut", "empty", "turned", "garbage"])
def test_a_corrupt_file_is_made_anew(harm: str, home: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    expected = seen(CachedExtractor(extractor), x)
    (path,) = files(home)
    whole = path.read_bytes()
    turned = bytearray(whole)
    turned[-3] ^= 1  # one bit of a number
    path.write_bytes({"cut": whole[:-8], "empty": b"", "turned": bytes(turned), "garbage": b"x" * 100}[harm])
    assert all(map(torch.equal, seen(CachedExtractor(extractor), x), expected))
    assert extractor.looks == 10
    assert path.read_bytes() == whole


def test_a_disk_that_cannot_be_written_costs_only_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    x, extractor = images(5, 0), Counting(64)
    assert torch.equal(
        seen(CachedExtractor(extractor), x).features, seen(CachedExtractor(extractor), x).features
    )
    assert extractor.looks == 10


def test_a_full_disk_costs_only_time(home: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        found = [seen(CachedExtractor(extractor), x).features for _ in range(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(*found)
    assert extractor.looks == 10
    assert not [place for place in home.rglob("*") if place.is_file()]
