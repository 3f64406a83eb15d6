"""An on-disk cache of real-image features, keyed by a hash of the images, weights and preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from ganlab.filesystem import atomic_writer, cache_directory

ENABLED: ContextVar[bool] = ContextVar("feature_cache", default=False)


class Features(NamedTuple):
    """The output of an extractor on images."""

    features: Tensor  # [N, F]
    logits: Tensor  # [N, K], of its classes


@contextmanager
def enabled() -> Iterator[None]:
    """Within this context features are read from the cache and written to it."""
    token = ENABLED.set(True)
    try:
        yield
    finally:
        ENABLED.reset(token)


def path(levels: Tensor, *facts: object) -> Path:
    """The file of the features of uint8 images: a function of the images and of the extractor."""
    key = sha256(repr((tuple(levels.shape), facts)).encode())
    key.update(levels.cpu().contiguous().numpy().tobytes())
    return cache_directory() / "features" / f"{key.hexdigest()}.safetensors"


def load(path: Path) -> Features | None:
    """The features in a file; None if there is none, or if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            found = Features(file.get_tensor("features"), file.get_tensor("logits"))
            return found if file.metadata()["sha256"] == digest(found) else None
    except (OSError, SafetensorError, KeyError, TypeError):
        return None


def save(path: Path, features: Features) -> None:
    """Writes features in one step. An error of the disk is ignored: it costs time only."""
    whole = Features(*(part.cpu().contiguous() for part in features))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(path) as file:
            file.write(safetensors.save(whole._asdict(), metadata={"sha256": digest(whole)}))


def digest(seen: Features) -> str:
    return sha256(b"".join(part.numpy().tobytes() for part in seen)).hexdigest()
