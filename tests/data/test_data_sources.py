"""Samples in memory: their batches, on every device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import pytest
import torch
from support.data_streams import BATCH, N, first_batches, numbered_images
from torch import Tensor

from ganlab.core.randomness import seeded_generator
from ganlab.data.base import Data, scale
from ganlab.data.batches import rows_by_epoch
from ganlab.data.image import ImageSpec, crop_image
from ganlab.data.sources import Source, TensorSource, VariableSizeImages

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def test_crops_of_images_of_many_sizes_are_parts_of_these_images():
    generator = torch.Generator().manual_seed(0)
    sizes = [(5, 9), (8, 4), (5, 4)]
    images = [torch.randint(256, (3, *s), generator=generator).byte() for s in sizes]
    data = Data(
        (3, 5, 4),
        None,
        (0.0, 1.0),
        3,
        {"train": VariableSizeImages(images, None, (3, 5, 4), True, torch.arange(len(images)))},
    )
    kinds = set()
    for batch in islice(data.stream(0, lambda: 0, "cpu"), 300):
        x = batch.real.x
        assert batch.real.condition is None
        kinds |= {locate((one * 255).round().byte(), images) for one in x}
    # 6 crops of the first, 4 of the second, 1 of the third, each mirrored or not: all, and nothing else.
    assert len(kinds) == 2 * (6 + 4 + 1)


def locate(window: Tensor, images: list[Tensor]) -> tuple[int, int, int, bool]:
    """The image, the corner and whether it is mirrored; fails unless it is a part of an image."""
    _, height, width = window.shape
    for i, image in enumerate(images):
        for top in range(image.shape[1] - height + 1):
            for left in range(image.shape[2] - width + 1):
                part = image[:, top : top + height, left : left + width]
                for mirrored in (False, True):
                    if torch.equal(window, part.flip(-1) if mirrored else part):
                        return i, top, left, mirrored
    raise AssertionError("not a part of any image")


def test_half_of_the_samples_are_mirrored_and_labels_stay_with_their_images():
    batches = first_batches(numbered_images(flip=True), 100)
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    mirrored = x[:, 0, 0, 0] > 0.5
    assert abs(mirrored.float().mean().item() - 0.5) < 0.1  # four standard deviations of 600 coins
    number = torch.where(mirrored, x[:, 0, 0, 2], x[:, 0, 0, 0])
    assert torch.equal((number * 255).round().long(), y)


@contextmanager
def never_waiting(device: str) -> Iterator[None]:
    """Fails if the host waits for a GPU; nothing to check on the CPU."""
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("how", ["none", "random"])
def test_batches_equal_crops_of_single_images_on_every_device_without_waiting(how, device):
    generator = torch.Generator().manual_seed(0)
    sizes = [(5 + i % 4, 4 + i % 7) if how == "random" else (5, 4) for i in range(N)]
    images = [torch.randint(256, (3, *size), generator=generator).byte() for size in sizes]
    source: Source = (
        VariableSizeImages(images, torch.arange(N), (3, 5, 4), True, torch.arange(N))
        if how == "random"
        else TensorSource(torch.stack(images), torch.arange(N), flip=True)
    )
    stream = iter(Data((3, 5, 4), N, (-1.0, 1.0), BATCH, {"train": source}).stream(0, lambda: 0, device))
    next(stream)  # the first one may wait, as it sets things up
    with never_waiting(device):
        batches = list(islice(stream, 5))
    for k, batch in enumerate(batches, start=1):
        x, y, _ = batch.real
        rows = rows_by_epoch(0, N)(k, BATCH)
        assert torch.equal(batch.indices, rows)
        numbers = torch.rand(BATCH, 3, generator=seeded_generator(0, "augment", k))
        spec = ImageSpec(3, 5, 4, how, flip=True)
        crops = [crop_image(images[i], spec, own) for i, own in zip(rows, numbers, strict=True)]
        assert x.device.type == y.device.type == device
        assert torch.equal(x.cpu(), scale(torch.stack(crops), (-1.0, 1.0)))
        assert torch.equal(y.cpu(), rows)
