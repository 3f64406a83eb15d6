"""The labelled subset of a semi-supervised run, and its batches."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from support.data_streams import same_batches
from support.refusals import refuses
from torch import Tensor

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.core.batch import ConditionSpec
from ganlab.data.base import Data
from ganlab.data.batches import LabelledSubset
from ganlab.data.sources import TensorSource
from ganlab.metrics.downstream import LinearProbe

CLASSES = torch.arange(40) % 4


def images_of_classes(count: int, batch_size: int = 6, flip: bool = False) -> Data:
    """Images [40, 1, 1, 2] of four classes: their index on the left, 255 on the right."""
    x = torch.full((40, 1, 1, 2), 255, dtype=torch.uint8)
    x[:, 0, 0, 0] = torch.arange(40)
    sources = {"train": TensorSource(x, CLASSES, flip)}
    return Data((1, 1, 2), 4, (0.0, 1.0), batch_size, sources, labelled=count)


def take(data: Data, n: int, seed: int = 0, start: int = 0, **where: int) -> list[tuple[Tensor, ...]]:
    """Samples and labels of n training batches, each with those of the labelled batch if there is one."""
    batches = islice(data.stream(seed, lambda: start, "cpu", **where), n)
    return [(*batch.real[:2], *(batch.labelled or ())[:2]) for batch in batches]


def indices(x: Tensor) -> list[int]:
    """The indices of these samples."""
    return (x.amin((1, 2, 3)) * 255).round().long().tolist()


def test_the_seed_chooses_equally_many_of_each_class() -> None:
    labelled = LabelledSubset(CLASSES, 12, 4)
    rows = labelled.rows(3)
    assert sorted(CLASSES[rows].tolist()) == sorted([*range(4)] * 3)
    assert len(set(rows.tolist())) == 12
    assert torch.equal(rows, labelled.rows(3))
    assert set(rows.tolist()) != set(labelled.rows(4).tolist())


def test_training_batches_stay_the_same_and_labels_belong_to_their_samples() -> None:
    plain = images_of_classes(12)
    plain.labelled_subset = None
    given = take(images_of_classes(12), 10)
    assert same_batches([(x, y) for x, y, _, _ in given], take(plain, 10))
    for _, _, x, labels in given:
        assert torch.equal(labels, CLASSES[indices(x)])


@pytest.mark.parametrize("count", [4, 8])  # fewer and more than a batch holds
def test_all_samples_of_the_subset_are_equally_frequent(count: int) -> None:
    shown = [i for _, _, x, _ in take(images_of_classes(count), 4 * count) for i in indices(x)]
    assert {shown.count(i) for i in set(shown)} == {24}
    assert set(shown) == set(images_of_classes(count).labelled_subset.rows(0).tolist())
    for first in range(0, len(shown), count):
        assert len(set(shown[first : first + count])) == count
    assert len({tuple(shown[first : first + count]) for first in range(0, len(shown), count)}) > 10


def test_batch_k_is_a_function_of_seed_and_k_and_ranks_share_it() -> None:
    whole = take(images_of_classes(8), 9)
    later = take(images_of_classes(8), 4, start=5)
    for one, other in zip(whole[5:], later, strict=True):
        assert all(map(torch.equal, one, other))
    parts = zip(*(take(images_of_classes(8), 9, rank=r, world_size=2) for r in range(2)), strict=True)
    for batch, (left, right) in zip(whole, parts, strict=True):
        assert all(torch.equal(b, torch.cat(part)) for b, *part in zip(batch, left, right, strict=True))


def test_labelled_batches_have_flips_of_their_own() -> None:
    given = take(images_of_classes(12, flip=True), 20)
    flips = [torch.stack([(x[:, 0, 0, 0] == 1) for x in (one, two)]) for one, _, two, _ in given]
    batch, labelled = torch.cat(flips, 1)
    assert 0 < labelled.float().mean() < 1
    assert not torch.equal(batch, labelled)


@pytest.mark.parametrize(
    ("count", "reason", "remedy"),
    [
        (10, "cannot be divided among the 4 classes", "multiple of 4"),
        (44, "takes 11 samples of each class, but one class has only 10", "40 or less"),
    ],
)
def test_impossible_counts_are_refused(count: int, reason: str, remedy: str) -> None:
    with refuses(".labelled", count, reason, remedy):
        LabelledSubset(CLASSES, count, 4)


def test_data_without_labels_have_no_labelled_subset() -> None:
    sources = {"train": TensorSource(torch.zeros(8, 2), None, flip=False)}
    with refuses(".labelled", 4, "needs data with labels"):
        Data((2,), None, None, 4, sources, labelled=4)


def test_labels_that_games_are_not_told_choose_samples_and_no_more() -> None:
    data = build_data(compose("data=half_digits", "+data.classes=[1,2]", "+data.per_class=40"))
    assert len(data) == 80
    with refuses("data.labelled", 50, "labels of these data only choose samples", "remove it"):
        build_data(compose("data=half_digits", "+data.labelled=50"))
    source = TensorSource(torch.zeros(40, 2, 1, 2), CLASSES, flip=False)
    image = ConditionSpec("image", (1, 1, 2))
    with refuses(".labelled", 4, "labels of these data only choose samples"):
        Data((1, 1, 2), 4, None, 4, {"train": source}, condition=image, labelled=4)
    with refuses(reason="do not have two classes or more"):  # of which it is told
        LinearProbe(10, 1.0).setup(
            Data((1, 1, 2), 4, None, 4, {"train": source, "test": source}, condition=image), 10, 10
        )
