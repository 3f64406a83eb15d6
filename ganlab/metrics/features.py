"""Feature extractors: their interface, and small classifiers that replace Inception for grey images."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, Self

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, require
from ganlab.metrics import feature_cache
from ganlab.metrics.base import ProtocolFields
from ganlab.metrics.feature_cache import Features

WEIGHTS = Path(__file__).parent / "weights"


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
            if feature_cache.ENABLED.get():
                facts = (*self.protocol().items(), x.device.type)
                self._last = x, feature_cache.load_or_compute(to_levels(x), facts, lambda: self._compute(x))
            else:
                self._last = x, self._compute(x)
        return self._last[1]

    def _compute(self, x: Tensor) -> Features:
        self.network.to(x.device, self.network.dtype)
        return Features(*(part.cpu().contiguous() for part in self.network.extract(eight_bit(x))))

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


@cache
def cached(extractor: Extractor) -> CachedExtractor:
    """The cached extractor of a network: the same object in every call."""
    return CachedExtractor(extractor)


@cache
def classifier(name: str) -> Classifier:
    """A trained classifier from `ganlab/metrics/weights`: the same object in every call.

    Raises:
        ConfigError: no classifier has this name.
    """
    return Classifier.load(name)


class Classifier(nn.Module):
    """Three convolutions, a layer of features and a linear head, for images of at least 8 x 8 pixels.

    Inception's features mean little on small grey images. A classifier trained on the data set itself is the
    usual replacement; its name is part of the names of the metrics that use it.
    """

    resize = antialias = "none"
    libraries = ()
    dtype = torch.float64  # values then do not depend on the device, TF32, autocast or the batch size

    def __init__(self, shape: tuple[int, int, int], num_classes: int, width: int, num_features: int):
        super().__init__()
        remedy = "choose images of at least 8 x 8 pixels"
        require(min(shape[1:]) >= 8, "data.shape", list(shape), "too small for this classifier", remedy)
        self.name = "untrained"
        self.sha256 = ""
        self.shape = shape
        self.num_features = num_features
        self.body = nn.Sequential(
            *_convolution(shape[0], width),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width),
            nn.MaxPool2d(2),
            *_convolution(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(8 * width, num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(num_features, num_classes)

    @classmethod
    def load(cls, name: str) -> Self:
        """A trained classifier from `ganlab/metrics/weights`, frozen and in evaluation mode.

        Raises:
            ConfigError: no classifier has this name.
        """
        path = WEIGHTS / f"{name}.safetensors"
        known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))  # not a path to another folder
        require(name in known, "extractor", name, "unknown classifier", f"choose one of {', '.join(known)}")
        with safe_open(path, framework="pt") as file:
            architecture = json.loads(file.metadata()["architecture"])
        architecture["shape"] = tuple(architecture["shape"])
        with torch.device("meta"):  # no weights are drawn: the run's random numbers must not be shifted
            classifier = cls(**architecture)
        classifier.load_state_dict(load_file(path), assign=True)
        classifier.name = name
        classifier.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return classifier.eval().requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """The input of the head, after its ReLU: [N, C, H, W] in [0, 1] -> [N, F], not negative.

        Raises:
            ConfigError: the images are not of the shape that the classifier was made for.
        """
        shape, own = list(x.shape[1:]), list(self.shape)
        reason = f"takes images of shape {own}, and these samples have the shape {shape}"
        remedy = "choose an extractor for these data, or a metric without one"
        require(x.ndim == 4 and shape == own, "extractor", self.name, reason, remedy)
        return self.body(x)

    def extract(self, x: Tensor) -> Features:
        """[N, C, H, W] in [0, 1] -> features [N, F] and logits [N, K]."""
        features = self.features(x)
        return Features(features, self.head(features))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: [N, C, H, W] in [0, 1] -> [N, K]."""
        return self.head(self.features(x))

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The most probable class: [N, C, H, W] in [0, 1] -> int64 [N]."""
        return self(x).argmax(1)


def to_levels(x: Tensor) -> Tensor:
    """Samples in [0, 1] as the uint8 levels of an image file.

    Raises:
        ConfigError: not floating point, or outside [0, 1], or not finite.
    """
    if not x.is_floating_point():
        raise ConfigError(
            f"samples are {x.dtype}, but metrics take floating point in [0, 1]", "divide by 255"
        )
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):  # true for NaN as well
        raise ConfigError(
            f"samples lie from {low:.4g} to {high:.4g}, but metrics take [0, 1]", "rescale or clamp them"
        )
    return (x.double() * 255).round().byte()


def eight_bit(x: Tensor) -> Tensor:
    """Samples in [0, 1] rounded to the 256 levels of an image file, in [0, 1] and float64.

    Real images come from such files. Generated ones must be rounded as well, otherwise the metric sees the
    rounding (Parmar, Zhang and Zhu 2022). Errors as in `to_levels`.
    """
    return to_levels(x).double() / 255


def to_unit_range(x: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Samples of a range in [0, 1]."""
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)


def _convolution(num_in: int, num_out: int) -> list[nn.Module]:
    return [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
