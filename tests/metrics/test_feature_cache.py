"""Features from the cache are used if they equal the computed ones, and only then."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from test_fidelity import Pixels, images
from torch import Tensor

from ganlab.metrics.features import CachedExtractor, Features, caching_features_on_disk


class Counting(Pixels):
    """An extractor that counts the images it receives."""

    count = 0

    def extract(self, x: Tensor) -> Features:
        self.count += len(x)
        return super().extract(x)


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the cache, which is empty at the start of each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ganlab" / "features"


def files(cache_folder: Path) -> list[Path]:
    return sorted(cache_folder.iterdir()) if cache_folder.exists() else []


def extract_cached(extractor: CachedExtractor, x: Tensor) -> Features:
    with caching_features_on_disk():
        return extractor.extract(x.clone())


def test_real_images_are_extracted_once_and_generated_ones_always(cache_folder: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    first = extract_cached(CachedExtractor(extractor), x)
    second = extract_cached(CachedExtractor(extractor), x)
    assert extractor.count == 5
    assert all(map(torch.equal, first, second))
    assert len(files(cache_folder)) == 1
    CachedExtractor(extractor).extract(x)
    assert extractor.count == 10
    assert len(files(cache_folder)) == 1


def test_metrics_that_share_an_extractor_extract_each_batch_once() -> None:
    x, extractor = images(5, 0), Counting(64)
    shared = CachedExtractor(extractor)
    assert shared.extract(x) is shared.extract(x)
    shared.extract(x.clone())
    assert extractor.count == 10


def test_other_images_weights_or_preprocessing_miss_the_cache(cache_folder: Path) -> None:
    x = images(5, 0)
    extract_cached(CachedExtractor(Counting(64)), x)
    for attribute, value in {"sha256": "1", "preprocessing": {"resize": "1"}, "name": "1"}.items():
        extractor = Counting(64)
        setattr(extractor, attribute, value)
        extract_cached(CachedExtractor(extractor), x)
        assert extractor.count == 5, attribute
    for other_images in (x.flip(0), x[:4], x.flip(-1), x.view(5, 1, 4, 16)):
        extractor = Counting(64)
        extract_cached(CachedExtractor(extractor), other_images)
        assert extractor.count == len(other_images)
    assert len(files(cache_folder)) == 8


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "garbage"])
def test_a_corrupt_file_is_replaced(damage: str, cache_folder: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    expected = extract_cached(CachedExtractor(extractor), x)
    (path,) = files(cache_folder)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1  # one bit of a number
    damaged = {"cut": content[:-8], "empty": b"", "flipped": bytes(flipped), "garbage": b"x" * 100}
    path.write_bytes(damaged[damage])
    assert all(map(torch.equal, extract_cached(CachedExtractor(extractor), x), expected))
    assert extractor.count == 10
    assert path.read_bytes() == content


def test_a_disk_that_cannot_be_written_costs_only_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    x, extractor = images(5, 0), Counting(64)
    first, second = (extract_cached(CachedExtractor(extractor), x).features for _ in range(2))
    assert torch.equal(first, second)
    assert extractor.count == 10


def test_a_full_disk_costs_only_time(cache_folder: Path) -> None:
    x, extractor = images(5, 0), Counting(64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        first, second = (extract_cached(CachedExtractor(extractor), x).features for _ in range(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(first, second)
    assert extractor.count == 10
    assert not [path for path in cache_folder.rglob("*") if path.is_file()]
