"""The order of samples: a function of (seed, k), the same from any start and shared out over processes."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import Tensor

from ganlab.data.base import Data, Memory, Ragged, scale
from ganlab.data.digits import Digits
from ganlab.errors import Refused

N, BATCH = 23, 6  # an epoch is three batches, and five samples are left over


def numbered(flip: bool = False, batch_size: int = BATCH) -> Data:
    """Images [N, 1, 2, 3] that say which they are: i in the left column, 255 - i in the right one."""
    x = torch.zeros(N, 1, 2, 3, dtype=torch.uint8)
    x[:, 0, :, 0] = torch.arange(N, dtype=torch.uint8)[:, None]
    x[:, 0, :, 2] = 255 - x[:, 0, :, 0]
    return Data((1, 2, 3), N, (0.0, 1.0), batch_size, {"train": Memory(x, torch.arange(N), flip)})


def take(data: Data, n: int, seed: int = 0, start: int = 0, **where: int) -> list[tuple[Tensor, Tensor]]:
    return list(islice(data.stream(seed, lambda: start, "cpu", **where), n))


def same(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_batch_k_is_the_same_from_any_start(start):
    assert same(take(numbered(flip=True), 12)[start:], take(numbered(flip=True), 12 - start, start=start))


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


def test_half_of_the_samples_are_mirrored_and_labels_stay_with_their_images():
    batches = take(numbered(flip=True), 100)
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    mirrored = x[:, 0, 0, 0] > 0.5
    assert abs(mirrored.float().mean().item() - 0.5) < 0.1  # four deviations of 600 coins
    number = torch.where(mirrored, x[:, 0, 0, 2], x[:, 0, 0, 0])
    assert torch.equal((number * 255).round().long(), y)


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


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0)])
def test_bytes_meet_both_ends_of_the_range_exactly(ends):
    x = scale(torch.arange(256, dtype=torch.uint8), ends)
    assert (x[0], x[255]) == ends
    assert x.dtype == torch.float32
    assert torch.allclose(x, torch.linspace(*ends, 256), atol=1e-6)


def test_windows_of_ragged_images_are_windows_of_those_images():
    generator = torch.Generator().manual_seed(0)
    sizes = [(5, 9), (8, 4), (5, 4)]
    images = [torch.randint(256, (3, *s), generator=generator).byte() for s in sizes]
    data = Data((3, 5, 4), None, (0.0, 1.0), 3, {"train": Ragged(images, None, (3, 5, 4), flip=True)})
    kinds = set()
    for x, labels in islice(data.stream(0, lambda: 0, "cpu"), 300):
        assert labels is None
        kinds |= {find((one * 255).round().byte(), images) for one in x}
    # 6 places in the first, 4 in the second, 1 in the third, each mirrored or not: all, and nothing else.
    assert len(kinds) == 2 * (6 + 4 + 1)


def find(window: Tensor, images: list[Tensor]) -> tuple[int, int, int, bool]:
    """Which image, which corner and whether mirrored; fails where it is no window of any."""
    _, height, width = window.shape
    for i, image in enumerate(images):
        for top in range(image.shape[1] - height + 1):
            for left in range(image.shape[2] - width + 1):
                place = image[:, top : top + height, left : left + width]
                for mirrored in (False, True):
                    if torch.equal(window, place.flip(-1) if mirrored else place):
                        return i, top, left, mirrored
    raise AssertionError("not a window of any image")


@pytest.mark.parametrize(
    ("batch_size", "words"), [(24, ("24", "23")), (0, ("0", "1 or more")), (-1, ("-1",))]
)
def test_batch_sizes_that_cannot_be_are_refused(batch_size, words):
    with pytest.raises(Refused) as refusal:
        numbered(batch_size=batch_size)
    assert all(word in str(refusal.value) for word in words)
    assert "\n" not in str(refusal.value)


def test_a_batch_that_does_not_divide_among_the_processes_is_refused():
    with pytest.raises(Refused, match="batch_size=6 .* 4 processes"):
        numbered().stream(0, lambda: 0, "cpu", world_size=4)


def test_a_split_that_is_not_there_is_refused_at_once():
    with pytest.raises(Refused, match="no split 'test': choose from train"):
        numbered().split("test", "cpu", 10)
    with pytest.raises(Refused, match="batch_size=0 of a split"):
        numbered().split("train", "cpu", 0)


def test_what_is_done_to_a_batch_is_not_done_to_the_data():
    data = Data((2,), None, None, 4, {"train": Memory(torch.zeros(4, 2), None, flip=False)})
    next(data.split("train", "cpu", 4))[0].add_(1)
    next(iter(data.stream(0, lambda: 0, "cpu")))[0].add_(1)
    assert next(data.split("train", "cpu", 4))[0].sum() == 0


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    found = load_digits()
    data = Digits([1, 8, 8], 10, [-1, 1], 64)
    assert len(data) == 1442
    assert data.offers == {"labels"}
    (x, y) = next(data.split("test", "cpu", 1000))
    rows = sorted(i for digit in range(10) for i in (found.target == digit).nonzero()[0][4::5])
    assert x.shape == (355, 1, 8, 8)
    assert y.tolist() == found.target[rows].tolist()
    assert torch.allclose((x[:, 0] + 1) * 8, torch.from_numpy(found.images[rows]).float(), atol=8 / 255)
    x, y = next(iter(data.stream(0, lambda: 0, "cpu")))
    assert x.shape == (64, 1, 8, 8)
    assert y.dtype == torch.int64
    assert (x.min(), x.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [1, 16, 16]}, r"data.shape=\[1,16,16\] .*data.shape=\[1,8,8\]"),
        ({"num_classes": 12}, "data.num_classes=12 .*=10"),
        ({"num_classes": None}, "data.num_classes=null"),
        ({"range": [0, 255]}, r"data.range=\[0,255\]"),
        ({"range": None}, "data.range=null"),
    ],
)
def test_declared_facts_that_contradict_the_data_are_refused(change, message):
    facts = {"shape": [1, 8, 8], "num_classes": 10, "range": [-1, 1], "batch_size": 64}
    with pytest.raises(Refused, match=message):
        Digits(**(facts | change))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_on_a_gpu_never_wait_for_it_and_equal_those_of_the_cpu():
    stream = iter(numbered(flip=True).stream(0, lambda: 0, "cuda"))
    next(stream)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = list(islice(stream, 5))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert same([(x.cpu(), y.cpu()) for x, y in batches], take(numbered(flip=True), 5, start=1))
