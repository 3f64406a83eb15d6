"""Feature extraction: the interface of extractors, caches of their output, and images of 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from typing import NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganlab.core.errors import UNSET, require
from ganlab.filesystem import atomic_writer, cache_directory

ProtocolFields = dict[str, str | int | float]  # of a record: how a value is computed
ON_DISK: ContextVar[bool] = ContextVar("features_on_disk", default=False)


class Features(NamedTuple):
    """The output of an extractor on images."""

    features: Tensor  # [N, F]
    logits: Tensor  # [N, K], of its classes; K = 0: it has none


class Extractor(Protocol):
    """A network that computes features and class logits of images: a `Classifier`, or a user's own module."""

    name: str
    sha256: str  # of its weights
    num_features: int
    resize: str  # how it resizes images, for the protocol
    antialias: str  # how it filters them when it resizes, for the protocol
    libraries: tuple[str, ...]  # whose versions may change its output
    dtype: torch.dtype  # of its weights when it extracts

    def extract(self, x: Tensor) -> Features:
        """Features of images [N, C, H, W] in [0, 1], float64 with 256 levels."""

    def to(self, device: torch.device, dtype: torch.dtype) -> object:
        """Moves the network, in place."""

    def __hash__(self) -> int: ...


@contextmanager
def cached_on_disk() -> Iterator[None]:
    """A context in which features are read from the cache on disk and written to it."""
    token = ON_DISK.set(True)
    try:
        yield
    finally:
        ON_DISK.reset(token)


class CachedExtractor:
    """An extractor that remembers its last output, so that metrics that share it extract each batch once."""

    def __init__(self, extractor: Extractor):
        self.network = extractor
        self._last: tuple[Tensor, Features] | None = None

    @torch.no_grad()
    def extract(self, x: Tensor) -> Features:
        """Features on the CPU of images [N, C, H, W] in [0, 1].

        Raises:
            ConfigError: they are of another type or range, or of a shape that the extractor does not take.
        """
        if self._last is None or self._last[0] is not x:
            self._last = x, (self._load_or_compute if ON_DISK.get() else self._compute)(x)
        return self._last[1]

    def _compute(self, x: Tensor) -> Features:
        self.network.to(x.device, self.network.dtype)
        return Features(*(part.cpu().contiguous() for part in self.network.extract(round_to_256_levels(x))))

    def _load_or_compute(self, x: Tensor) -> Features:
        """The features from the cache on disk, if they are there and undamaged.

        Otherwise they are computed and saved, in a file that is named by a hash of the images, weights and
        preprocessing. An error of the disk is ignored: it only costs time.
        """
        levels = to_levels(x)
        key = sha256(repr((tuple(levels.shape), (*self.protocol().items(), x.device.type))).encode())
        key.update(levels.cpu().contiguous().numpy().tobytes())
        path = cache_directory() / "features" / f"{key.hexdigest()}.safetensors"
        with suppress(OSError, SafetensorError, KeyError, TypeError), safe_open(path, framework="pt") as file:
            found = Features(file.get_tensor("features"), file.get_tensor("logits"))
            if file.metadata()["sha256"] == digest(found):
                return found
        computed = self._compute(x)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_writer(path) as file:
                file.write(save(computed._asdict(), metadata={"sha256": digest(computed)}))
        return computed

    def protocol(self) -> ProtocolFields:
        """How features are computed from images."""
        return {
            "extractor": self.network.name,
            "weights_sha256": self.network.sha256,
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "resize": self.network.resize,
            "antialias": self.network.antialias,
            "levels": 256,
            **{library: version(library) for library in ("torch", *self.network.libraries)},
        }


cached = cache(CachedExtractor)  # the same object in every call with the same extractor


def digest(features: Features) -> str:
    return sha256(b"".join(part.numpy().tobytes() for part in features)).hexdigest()


def to_levels(x: Tensor) -> Tensor:
    """Samples in [0, 1] as the uint8 levels of an image file.

    Raises:
        ConfigError: not floating point, or outside [0, 1], or not finite.
    """
    reason = f"samples are {x.dtype}, but metrics take floating point in [0, 1]"
    require(x.is_floating_point(), "", UNSET, reason, "divide by 255")
    low, high = float(x.min()), float(x.max())
    reason = f"samples lie from {low:.4g} to {high:.4g}, but metrics take [0, 1]"
    require(low >= 0 and high <= 1, "", UNSET, reason, "rescale or clamp them")  # false for NaN as well
    return (x.double() * 255).round().byte()


def round_to_256_levels(x: Tensor) -> Tensor:
    """Samples in [0, 1] rounded to the 256 levels of an image file, in [0, 1] and float64.

    Real images come from such files. Generated ones must be rounded as well, otherwise the metric sees the
    rounding (Parmar, Zhang and Zhu 2022). Errors as in `to_levels`.
    """
    return to_levels(x).double() / 255


def to_unit_range(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Samples of a range in [0, 1]."""
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)
