"""Feature extraction: the interface of extractors, caches of their output, and rounding to 256 levels."""

import typing
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ganlab.core.errors import require
from ganlab.core.validation import ValueRange
from ganlab.filesystem import atomic_writer, cache_directory

ProtocolFields = dict[str, str | int | float]  # how a metric is measured: the entries of its protocol


class Features(typing.NamedTuple):
    """The output of an extractor on images."""

    features: Tensor  # [N, F]
    logits: Tensor  # class logits [N, K]; K = 0 for an extractor without classes


class Extractor(Hashable, typing.Protocol):
    """The interface of networks that compute features and class logits, such as `Inception`."""

    name: str
    sha256: str  # the hash of the weights
    num_features: int
    preprocessing: Mapping[str, str]  # how images are resized, for the protocol of a metric
    libraries: tuple[str, ...]  # the libraries whose versions may change the output
    dtype: torch.dtype  # the type of the weights when features are extracted

    def extract(self, x: Tensor) -> Features:
        """The features and logits of float64 images [N, C, H, W] in [0, 1] that are rounded to 256 levels."""

    def to(self, device: torch.device, dtype: torch.dtype) -> object:
        """Moves the network, in place."""


class CachedExtractor:
    """An extractor that remembers its last output, so that it extracts a batch once for all metrics.

    In a block with `caching_features_on_disk`, it also reads its outputs from the disk, or writes them there.
    """

    uses_disk: typing.ClassVar[bool] = False

    def __init__(self, network: Extractor):
        self.network = network
        self.name, self.num_features = network.name, network.num_features
        self._last: tuple[Tensor, Features] | None = None

    @torch.no_grad()
    def extract(self, x: Tensor) -> Features:
        """The features and logits, on the CPU, of images [N, C, H, W] in [0, 1].

        Raises:
            ConfigError: the type, range or shape of the images is unsuitable.
        """
        if self._last is None or self._last[0] is not x:
            features = self._load_or_compute(x) if self.uses_disk else self._compute(x)
            self._last = x, features
        return self._last[1]

    def _compute(self, x: Tensor) -> Features:
        self.network.to(x.device, self.network.dtype)
        output = self.network.extract(round_to_256_levels(x))
        return Features(*(tensor.cpu().contiguous() for tensor in output))

    def _load_or_compute(self, x: Tensor) -> Features:
        """Loads features from the cache on disk if possible, otherwise computes and saves them.

        A file is named by the hash of the images and of everything on which their features depend. Errors of
        the disk and damaged files are ignored, because they only cost time.
        """
        levels = to_levels(x)
        key = sha256(repr((tuple(levels.shape), (*self.protocol().items(), x.device.type))).encode())
        key.update(levels.cpu().contiguous().numpy().tobytes())
        path = cache_directory() / "features" / f"{key.hexdigest()}.safetensors"
        with suppress(OSError, SafetensorError, KeyError, TypeError), safe_open(path, framework="pt") as file:
            loaded = Features(file.get_tensor("features"), file.get_tensor("logits"))
            if file.metadata()["sha256"] == digest(loaded):
                return loaded
        computed = self._compute(x)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_writer(path) as file:
                file.write(save(computed._asdict(), metadata={"sha256": digest(computed)}))
        return computed

    def protocol(self) -> ProtocolFields:
        """How features are computed from images, as entries of a protocol."""
        return {
            "extractor": self.name,
            "weights_sha256": self.network.sha256,
            "dtype": str(self.network.dtype).removeprefix("torch."),
            **self.network.preprocessing,
            "levels": 256,
            **{library: version(library) for library in ("torch", *self.network.libraries)},
        }


# Returns the same object in every call with the same network, so metrics share the object's last output.
shared_extractor = cache(CachedExtractor)


@contextmanager
def caching_features_on_disk() -> Iterator[None]:
    """Lets all extractors use the cache on disk in a block that extracts the same images in every run."""
    CachedExtractor.uses_disk = True
    try:
        yield
    finally:
        CachedExtractor.uses_disk = False


def digest(features: Features) -> str:
    """The SHA-256 of features and logits."""
    return sha256(b"".join(tensor.numpy().tobytes() for tensor in features)).hexdigest()


def to_levels(x: Tensor) -> Tensor:
    """Samples in [0, 1] as the uint8 levels of an image file.

    Raises:
        ConfigError: the samples are not floating point, not finite, or not in [0, 1].
    """
    reason = f"samples are {x.dtype}, but metrics take floating point in [0, 1]"
    require(x.is_floating_point(), reason, "divide by 255")
    low, high = float(x.min()), float(x.max())
    reason = f"samples lie from {low:.4g} to {high:.4g}, but metrics take [0, 1]"
    require(low >= 0 and high <= 1, reason, "rescale or clamp them")  # refuses NaN, too
    return (x.double() * 255).round().byte()


def round_to_256_levels(x: Tensor) -> Tensor:
    """Rounds samples in [0, 1] to the 256 levels of an image file; the result is float64 in [0, 1].

    Real images come from such files. Generated ones must be rounded as well, because metrics would otherwise
    measure the rounding (Parmar, Zhang and Zhu 2022).

    Raises:
        ConfigError: as in `to_levels`.
    """
    return to_levels(x).double() / 255


def to_unit_range(x: Tensor, value_range: ValueRange) -> Tensor:
    """Samples scaled from their value range to [0, 1], and clamped to it; without a range, as they are."""
    if value_range is None:
        return x
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)
