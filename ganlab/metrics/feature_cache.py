"""An on-disk cache of real-image features, keyed by a hash of the images, weights and preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from ganlab.filesystem import atomic_writer, cache_directory

ENABLED: ContextVar[bool] = ContextVar("feature_cache", default=False)


class Features(NamedTuple):
    """The output of an extractor on images."""

    features: Tensor  # [N, F]
    logits: Tensor  # [N, K], of its classes; K = 0: it has none


@contextmanager
def enabled() -> Iterator[None]:
    """A context in which features are read from the cache and written to it."""
    token = ENABLED.set(True)
    try:
        yield
    finally:
        ENABLED.reset(token)


def load_or_compute(levels: Tensor, facts: tuple[object, ...], compute: Callable[[], Features]) -> Features:
    """The features of uint8 images, from the cache if they are there and undamaged.

    Otherwise they are computed and saved. An error of the disk is ignored: it only costs time.

    Args:
        facts: whatever the features depend on in addition to the images.
    """
    key = sha256(repr((tuple(levels.shape), facts)).encode())
    key.update(levels.cpu().contiguous().numpy().tobytes())
    path = cache_directory() / "features" / f"{key.hexdigest()}.safetensors"
    with suppress(OSError, SafetensorError, KeyError, TypeError), safe_open(path, framework="pt") as file:
        found = Features(file.get_tensor("features"), file.get_tensor("logits"))
        if file.metadata()["sha256"] == digest(found):
            return found
    computed = compute()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(path) as file:
            file.write(safetensors.save(computed._asdict(), metadata={"sha256": digest(computed)}))
    return computed


def digest(features: Features) -> str:
    return sha256(b"".join(part.numpy().tobytes() for part in features)).hexdigest()
