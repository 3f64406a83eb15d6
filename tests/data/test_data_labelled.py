"""The second stream: which samples show their labels, and when."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from support.data_streams import same
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.data.labelled import Labelled, labelled_among
from ganlab.data.sources import Memory

CLASSES = torch.arange(40) % 4


def classed(count: int, batch_size: int = 6, flip: bool = False) -> Data:
    """Images [40, 1, 1, 2] of four classes: their number on the left, 255 on the right."""
    x = torch.full((40, 1, 1, 2), 255, dtype=torch.uint8)
    x[:, 0, 0, 0] = torch.arange(40)
    data = Data((1, 1, 2), 4, (0.0, 1.0), batch_size, {"train": Memory(x, CLASSES, flip)})
    data.labelled = labelled_among(data.sources["train"], count, 4)
    return data


def take(data: Data, n: int, seed: int = 0, start: int = 0, **where: int) -> list[tuple[Tensor, ...]]:
    return list(islice(data.stream(seed, lambda: start, "cpu", **where), n))


def numbers(x: Tensor) -> list[int]:
    """Which samples these are."""
    return (x.amin((1, 2, 3)) * 255).round().long().tolist()


def test_as_many_of_each_class_are_chosen_by_the_seed() -> None:
    labelled = Labelled(CLASSES, 12, 4)
    rows = labelled.rows(3)
    assert sorted(CLASSES[rows].tolist()) == sorted([*range(4)] * 3)
    assert len(set(rows.tolist())) == 12
    assert torch.equal(rows, labelled.rows(3))
    assert set(rows.tolist()) != set(labelled.rows(4).tolist())


def test_the_batch_is_as_it_is_without_and_the_labels_belong_to_the_samples() -> None:
    plain = classed(12)
    plain.labelled = None
    given = take(classed(12), 10)
    assert same([(x, y) for x, y, _, _ in given], take(plain, 10))
    for _, _, x, labels in given:
        assert torch.equal(labels, CLASSES[numbers(x)])


@pytest.mark.parametrize("count", [4, 8])  # fewer and more than a batch holds
def test_each_is_shown_equally_often(count: int) -> None:
    shown = [i for _, _, x, _ in take(classed(count), 4 * count) for i in numbers(x)]
    assert {shown.count(i) for i in set(shown)} == {24}
    assert set(shown) == set(classed(count).labelled.rows(0).tolist())
    for first in range(0, len(shown), count):
        assert len(set(shown[first : first + count])) == count
    assert len({tuple(shown[first : first + count]) for first in range(0, len(shown), count)}) > 10


def test_batch_k_hangs_on_the_seed_and_k_and_ranks_share_it() -> None:
    whole = take(classed(8), 9)
    later = take(classed(8), 4, start=5)
    for one, other in zip(whole[5:], later, strict=True):
        assert all(map(torch.equal, one, other))
    parts = zip(*(take(classed(8), 9, rank=r, world_size=2) for r in range(2)), strict=True)
    for batch, (left, right) in zip(whole, parts, strict=True):
        assert all(torch.equal(b, torch.cat(part)) for b, *part in zip(batch, left, right, strict=True))


def test_its_flips_are_its_own() -> None:
    given = take(classed(12, flip=True), 20)
    flips = [torch.stack([(x[:, 0, 0, 0] == 1) for x in (one, two)]) for one, _, two, _ in given]
    batch, labelled = torch.cat(flips, 1)
    assert 0 < labelled.float().mean() < 1
    assert not torch.equal(batch, labelled)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (10, "labelled=10 must be as many of each of the 4 classes"),
        (44, "one has only 10: set it to 40"),
    ],
)
def test_counts_that_cannot_be_are_refused(count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Labelled(CLASSES, count, 4)
