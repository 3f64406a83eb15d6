"""An on-disk cache of real-image features, keyed by a hash of the images, weights and preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganlab.filesystem import caches, replacing

KEEPING: ContextVar[bool] = ContextVar("keeping", default=False)


class Seen(NamedTuple):
    """What an extractor makes of images."""

    features: Tensor  # [N, F]
    logits: Tensor  # [N, K], of its classes


@contextmanager
def keeping() -> Iterator[None]:
    """What is seen meanwhile comes again: it is looked up, and kept."""
    token = KEEPING.set(True)
    try:
        yield
    finally:
        KEEPING.reset(token)


def place(levels: Tensor, *facts: object) -> Path:
    """The file of the features of uint8 images: a function of the images and of the extractor."""
    key = sha256(repr((tuple(levels.shape), facts)).encode())
    key.update(levels.cpu().contiguous().numpy().tobytes())
    return caches() / "features" / f"{key.hexdigest()}.safetensors"


def take(path: Path) -> Seen | None:
    """What was kept there; None where there is nothing, or where it is not what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            found = Seen(file.get_tensor("features"), file.get_tensor("logits"))
            return found if file.metadata()["sha256"] == digest(found) else None
    except (OSError, SafetensorError, KeyError, TypeError):
        return None


def keep(path: Path, seen: Seen) -> None:
    """Writes it in one step; a disk that cannot be written costs time and nothing else."""
    whole = Seen(*(part.cpu().contiguous() for part in seen))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(save(whole._asdict(), metadata={"sha256": digest(whole)}))


def digest(seen: Seen) -> str:
    return sha256(b"".join(part.numpy().tobytes() for part in seen)).hexdigest()
