"""The order of samples: a function of (seed, k), the same from any start and shared out over processes."""

from __future__ import annotations

import pytest
import torch
from support.data_streams import BATCH, N, numbered, same, take


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_batch_k_is_the_same_from_any_start(start):
    assert same(take(numbered(flip=True), 12)[start:], take(numbered(flip=True), 12 - start, start=start))


@pytest.mark.parametrize("world_size", [2, 3])
def test_rows_of_the_ranks_make_the_global_batch(world_size):
    parts = [take(numbered(flip=True), 5, rank=r, world_size=world_size) for r in range(world_size)]
    together = [
        (torch.cat([x for x, _ in p]), torch.cat([y for _, y in p])) for p in zip(*parts, strict=True)
    ]
    assert parts[0][0][0].shape == (BATCH // world_size, 1, 2, 3)
    assert same(together, take(numbered(flip=True), 5))


def test_an_epoch_meets_a_sample_at_most_once_and_the_next_one_in_another_order():
    labels = [y for _, y in take(numbered(), 6)]
    first, second = torch.cat(labels[:3]), torch.cat(labels[3:])
    assert len(first.unique()) == len(second.unique()) == 3 * BATCH
    assert not torch.equal(first, second)


def test_the_rest_of_an_epoch_is_not_always_the_same_samples():
    seen = torch.cat([y for _, y in take(numbered(), 3 * 10)])
    assert len(seen.unique()) == N


def test_the_seed_changes_the_order_and_the_flips():
    assert not torch.equal(take(numbered(), 1, seed=0)[0][1], take(numbered(), 1, seed=1)[0][1])
    flipped = [
        torch.cat([x[:, 0, 0, 0] > 0.5 for x, _ in take(numbered(True, N), 3, seed=s)]) for s in (0, 1)
    ]
    assert not torch.equal(*flipped)
