"""Data sets: streams, splits, value ranges, and refusals of impossible batches."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import pytest
import torch
from support.data_streams import N, first_batches, numbered_images, same_batches
from support.refusals import refuses
from torch import Tensor

from ganlab.core.batch import Batch
from ganlab.data.base import Data, scale
from ganlab.data.sources import TensorSource


def samples(batches: Iterable[Batch]) -> list[tuple[Tensor, Tensor | None]]:
    return [(batch.real.x, batch.real.condition) for batch in batches]


def test_every_iterator_starts_where_it_is_told_to():
    position = [0]
    stream = numbered_images().stream(0, lambda: position[0], "cpu")
    first = samples(islice(stream, 5))
    position[0] = 3
    assert same_batches(first[3:], samples(islice(stream, 2)))
    position[0] = 0
    assert same_batches(first, samples(islice(stream, 5)))


def test_iterators_of_one_stream_are_independent():
    stream = numbered_images().stream(0, lambda: 0, "cpu")
    ahead, behind = iter(stream), iter(stream)
    expected = first_batches(numbered_images(), 8)
    list(islice(ahead, 7))
    assert same_batches(samples(islice(behind, 3)), expected[:3])
    assert same_batches(samples([next(ahead)]), expected[7:])


def test_a_stream_does_not_use_the_default_generator():
    before = torch.get_rng_state()
    first_batches(numbered_images(flip=True), 4)
    assert torch.equal(before, torch.get_rng_state())


def test_a_split_yields_every_sample_once_in_order_and_not_flipped():
    batches = list(numbered_images(flip=True).split("train", "cpu", 10))
    assert [len(x) for x, _ in batches] == [10, 10, 3]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert torch.equal(y, torch.arange(N))
    assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y)


def test_a_subset_has_distinct_samples_that_are_the_same_in_every_run():
    batches = list(numbered_images(flip=True).subset("train", 10, "cpu", 4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert len(y.unique()) == 10
    assert y.tolist() != sorted(y.tolist())
    assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y)
    assert same_batches(batches, list(numbered_images().subset("train", 10, "cpu", 4)))
    assert same_batches(
        list(numbered_images().subset("train", N, "cpu", 4)), list(numbered_images().split("train", "cpu", 4))
    )
    with refuses(reason="no split 'test'"):
        numbered_images().subset("test", 10, "cpu", 4)


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0)])
def test_scaled_bytes_reach_both_ends_of_the_range_exactly(ends):
    x = scale(torch.arange(256, dtype=torch.uint8), ends)
    assert (x[0], x[255]) == ends
    assert x.dtype == torch.float32
    assert torch.allclose(x, torch.linspace(*ends, 256), atol=1e-6)


def test_a_batch_larger_than_the_training_split_is_refused():
    with refuses(".batch_size", 24, "exceeds the 23 training samples"):
        numbered_images(batch_size=24)


def test_a_batch_that_does_not_divide_among_the_processes_is_refused():
    with refuses(".batch_size", 6, "cannot be divided among 4 processes", "multiple of 4"):
        numbered_images().stream(0, lambda: 0, "cpu", world_size=4)


def test_a_missing_split_is_refused_at_once():
    with refuses(reason="no split 'test'", remedy="choose from train$"):
        numbered_images().split("test", "cpu", 10)
    with refuses("batch_size", 0, "at least 1"):
        numbered_images().split("train", "cpu", 0)


def test_changing_a_batch_in_place_leaves_the_data_unchanged():
    data = Data((2,), None, None, 4, {"train": TensorSource(torch.zeros(4, 2), None, flip=False)})
    next(data.split("train", "cpu", 4))[0].add_(1)
    next(iter(data.stream(0, lambda: 0, "cpu"))).real.x.add_(1)
    assert next(data.split("train", "cpu", 4))[0].sum() == 0
