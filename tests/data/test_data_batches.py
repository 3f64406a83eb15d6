"""The batches of a stream: functions of (seed, k), whatever the start and the number of processes."""

from __future__ import annotations

import pytest
import torch
from support.data_streams import BATCH, N, first_batches, numbered_images, same_batches


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_batch_k_is_the_same_from_any_start(start):
    assert same_batches(
        first_batches(numbered_images(flip=True), 12)[start:],
        first_batches(numbered_images(flip=True), 12 - start, start=start),
    )


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_together_have_the_global_batch(world_size):
    parts = [
        first_batches(numbered_images(flip=True), 5, rank=r, world_size=world_size) for r in range(world_size)
    ]
    joined = [(torch.cat([x for x, _ in p]), torch.cat([y for _, y in p])) for p in zip(*parts, strict=True)]
    assert parts[0][0][0].shape == (BATCH // world_size, 1, 2, 3)
    assert same_batches(joined, first_batches(numbered_images(flip=True), 5))


def test_an_epoch_has_a_sample_at_most_once_and_each_epoch_its_own_order():
    labels = [y for _, y in first_batches(numbered_images(), 6)]
    first, second = torch.cat(labels[:3]), torch.cat(labels[3:])
    assert len(first.unique()) == len(second.unique()) == 3 * BATCH
    assert not torch.equal(first, second)


def test_an_epoch_drops_other_samples_than_the_one_before():
    seen = torch.cat([y for _, y in first_batches(numbered_images(), 3 * 10)])
    assert len(seen.unique()) == N


def test_the_seed_changes_the_order_and_the_flips():
    assert not torch.equal(
        first_batches(numbered_images(), 1, seed=0)[0][1], first_batches(numbered_images(), 1, seed=1)[0][1]
    )
    flipped = [
        torch.cat([x[:, 0, 0, 0] > 0.5 for x, _ in first_batches(numbered_images(True, N), 3, seed=s)])
        for s in (0, 1)
    ]
    assert not torch.equal(*flipped)
