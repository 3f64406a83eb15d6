"""Features from the cache equal those that would be computed, or are not used."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from test_fidelity import Pixels, images
from torch import Tensor

from ganlab.metrics.features import CachedExtractor, Features, cached_on_disk


class Counting(Pixels):
    """Counts the images that it extracts."""

    count = 0

    def extract(self, x: Tensor) -> Features:
        self.count += len(x)
        return super().extract(x)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ganlab" / "features"


def files(home: Path) -> list[Path]:
    return sorted(home.iterdir()) if home.exists() else []


def extract_cached(extractor: CachedExtractor, x: Tensor) -> Features:
    with cached_on_disk():
        return extractor.extract(x.clone())


def test_real_images_are_extracted_once_and_generated_ones_always(home: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    first = extract_cached(CachedExtractor(extractor), x)
    again = extract_cached(CachedExtractor(extractor), x)
    assert extractor.count == 5
    assert all(map(torch.equal, first, again))
    assert len(files(home)) == 1
    CachedExtractor(extractor).extract(x)
    assert extractor.count == 10
    assert len(files(home)) == 1


def test_metrics_that_share_an_extractor_extract_each_batch_once() -> None:
    x, extractor = images(5, 0), Counting(64)
    shared = CachedExtractor(extractor)
    assert shared.extract(x) is shared.extract(x)
    shared.extract(x.clone())
    assert extractor.count == 10


def test_other_images_weights_or_preprocessing_miss_the_cache(home: Path) -> None:
    x = images(5, 0)
    extract_cached(CachedExtractor(Counting(64)), x)
    for change in ("sha256", "resize", "name"):
        extractor = Counting(64)
        setattr(extractor, change, "another")
        extract_cached(CachedExtractor(extractor), x)
        assert extractor.count == 5, change
    for y in (x.flip(0), x[:4], x.flip(-1), x.view(5, 1, 4, 16)):
        extractor = Counting(64)
        extract_cached(CachedExtractor(extractor), y)
        assert extractor.count == len(y)
    assert len(files(home)) == 8


@pytest.mark.parametrize("harm", ["cut", "empty", "flipped", "garbage"])
def test_a_corrupt_file_is_replaced(harm: str, home: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    expected = extract_cached(CachedExtractor(extractor), x)
    (path,) = files(home)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1  # one bit of a number
    path.write_bytes(
        {"cut": content[:-8], "empty": b"", "flipped": bytes(flipped), "garbage": b"x" * 100}[harm]
    )
    assert all(map(torch.equal, extract_cached(CachedExtractor(extractor), x), expected))
    assert extractor.count == 10
    assert path.read_bytes() == content


def test_a_disk_that_cannot_be_written_costs_only_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    x, extractor = images(5, 0), Counting(64)
    assert torch.equal(
        extract_cached(CachedExtractor(extractor), x).features,
        extract_cached(CachedExtractor(extractor), x).features,
    )
    assert extractor.count == 10


def test_a_full_disk_costs_only_time(home: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        found = [extract_cached(CachedExtractor(extractor), x).features for _ in range(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(*found)
    assert extractor.count == 10
    assert not [place for place in home.rglob("*") if place.is_file()]
