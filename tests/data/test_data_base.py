"""What every data set does: streams, splits, ranges, and refusals of batches that cannot be."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from support.data_streams import N, numbered, same, take

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data, scale
from ganlab.data.sources import Memory


def test_every_iter_asks_where_to_start():
    position = [0]
    stream = numbered().stream(0, lambda: position[0], "cpu")
    first = list(islice(stream, 5))
    position[0] = 3
    assert same(first[3:], list(islice(stream, 2)))
    position[0] = 0
    assert same(first, list(islice(stream, 5)))


def test_two_iterators_of_one_stream_do_not_disturb_each_other():
    stream = numbered().stream(0, lambda: 0, "cpu")
    ahead, behind = iter(stream), iter(stream)
    expected = take(numbered(), 8)
    list(islice(ahead, 7))
    assert same(list(islice(behind, 3)), expected[:3])
    assert same([next(ahead)], expected[7:])


def test_training_and_its_loader_leave_the_default_generator_alone():
    before = torch.get_rng_state()
    take(numbered(flip=True), 4)
    assert torch.equal(before, torch.get_rng_state())


def test_split_is_every_sample_once_in_order_unflipped_with_a_smaller_last_batch():
    batches = list(numbered(flip=True).split("train", "cpu", 10))
    assert [len(x) for x, _ in batches] == [10, 10, 3]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert torch.equal(y, torch.arange(N))
    assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y)


def test_a_choice_is_some_samples_of_a_split_none_twice_the_same_in_every_run():
    batches = list(numbered(flip=True).subset("train", 10, "cpu", 4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    assert len(y.unique()) == 10
    assert y.tolist() != sorted(y.tolist())
    assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y)
    assert same(batches, list(numbered().subset("train", 10, "cpu", 4)))
    assert same(list(numbered().subset("train", N, "cpu", 4)), list(numbered().split("train", "cpu", 4)))
    with pytest.raises(ConfigError, match="no split 'test'"):
        numbered().subset("test", 10, "cpu", 4)


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0)])
def test_bytes_meet_both_ends_of_the_range_exactly(ends):
    x = scale(torch.arange(256, dtype=torch.uint8), ends)
    assert (x[0], x[255]) == ends
    assert x.dtype == torch.float32
    assert torch.allclose(x, torch.linspace(*ends, 256), atol=1e-6)


def test_a_batch_of_more_than_there_are_samples_is_refused():
    with pytest.raises(ConfigError, match="batch_size=24 exceeds the 23 training samples"):
        numbered(batch_size=24)


def test_a_batch_that_does_not_divide_among_the_processes_is_refused():
    with pytest.raises(ConfigError, match="batch_size=6 .* 4 processes"):
        numbered().stream(0, lambda: 0, "cpu", world_size=4)


def test_a_split_that_is_not_there_is_refused_at_once():
    with pytest.raises(ConfigError, match="no split 'test': choose from train"):
        numbered().split("test", "cpu", 10)
    with pytest.raises(ConfigError, match="batch_size=0 of a split"):
        numbered().split("train", "cpu", 0)


def test_what_is_done_to_a_batch_is_not_done_to_the_data():
    data = Data((2,), None, None, 4, {"train": Memory(torch.zeros(4, 2), None, flip=False)})
    next(data.split("train", "cpu", 4))[0].add_(1)
    next(iter(data.stream(0, lambda: 0, "cpu")))[0].add_(1)
    assert next(data.split("train", "cpu", 4))[0].sum() == 0
