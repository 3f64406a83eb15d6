"""Extractors: small classifiers of grey images, whose features stand in for Inception's."""

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

from ganlab.core.errors import ConfigError
from ganlab.metrics import feature_cache
from ganlab.metrics.feature_cache import Features

WEIGHTS = Path(__file__).parent / "weights"


class Extractor(Protocol):
    """A network that turns images into features and class logits; a `Classifier`, or one's own module."""

    name: str
    sha256: str
    num_features: int
    resize: str  # what it does to the size of images, for the protocol
    antialias: str  # likewise
    libraries: tuple[str, ...]  # whose versions may change what it sees
    dtype: torch.dtype  # of its weights while it is looked through

    def extract(self, x: Tensor) -> Features:
        """Features of images [N, C, H, W] in [0, 1], float64 with 256 levels."""

    def to(self, device: torch.device, dtype: torch.dtype) -> object:
        """Moves the network, in place."""

    def __hash__(self) -> int: ...


class CachedExtractor:
    """An extractor with its last output: metrics that share one extract each batch once."""

    def __init__(self, extractor: Extractor):
        self.network = extractor
        self._last: tuple[Tensor, Features] | None = None

    @torch.no_grad()
    def extract(self, x: Tensor) -> Features:
        """Features of images [N, C, H, W] in [0, 1].

        Raises:
            ConfigError: they are of another type or range, or of a shape that the extractor does not take.
        """
        if self._last is None or self._last[0] is not x:
            self._last = x, self._kept(x) if feature_cache.ENABLED.get() else self._look(x)
        return self._last[1]

    def _look(self, x: Tensor) -> Features:
        self.network.to(x.device, self.network.dtype)
        seen = self.network.extract(eight_bit(x))
        return Features(seen.features.cpu(), seen.logits.cpu())

    def _kept(self, x: Tensor) -> Features:
        levels = (eight_bit(x) * 255).round().byte()
        path = feature_cache.path(levels, *self.protocol().items(), x.device.type)
        if (seen := feature_cache.load(path)) is None:
            seen = self._look(x)
            feature_cache.save(path, seen)
        return seen

    def protocol(self) -> dict[str, str | int | float]:
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
    """The cached extractor of a network; always the same object."""
    return CachedExtractor(extractor)


@cache
def classifier(name: str) -> Classifier:
    """A trained classifier that lies beside this file, the same one for all who ask.

    Raises:
        ConfigError: there is none of this name.
    """
    return Classifier.load(name)


class Classifier(nn.Module):
    """Three convolutions, a layer of features, a linear head; for images of at least 8 x 8 pixels.

    Inception's features mean little on small grey images. A classifier trained on the data itself is the
    usual stand-in, and the numbers made through it carry its name.
    """

    resize = antialias = "none"
    libraries = ()
    dtype = torch.float64  # numbers then do not depend on the device, TF32, autocast or the size of batches

    def __init__(self, shape: tuple[int, int, int], num_classes: int, width: int, num_features: int):
        super().__init__()
        if min(shape[1:]) < 8:
            raise ConfigError(f"classifier of images {shape}: give height and width of at least 8")
        self.name = "untrained"
        self.sha256 = ""
        self.shape = shape
        self.num_features = num_features
        self.body = nn.Sequential(
            *_stage(shape[0], width),
            nn.MaxPool2d(2),
            *_stage(width, 2 * width),
            nn.MaxPool2d(2),
            *_stage(2 * width, 2 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(8 * width, num_features),
            nn.ReLU(),
        )
        self.head = nn.Linear(num_features, num_classes)

    @classmethod
    def load(cls, name: str) -> Self:
        """A trained classifier that lies beside this file, frozen and in evaluation mode.

        Raises:
            ConfigError: there is none of this name.
        """
        path = WEIGHTS / f"{name}.safetensors"
        known = sorted(file.stem for file in WEIGHTS.glob("*.safetensors"))
        if name not in known:  # a path of elsewhere is none either
            raise ConfigError(f"extractor {name!r} is unknown: choose one of {', '.join(known)}")
        with safe_open(path, framework="pt") as file:
            architecture = json.loads(file.metadata()["architecture"])
        architecture["shape"] = tuple(architecture["shape"])
        with torch.device("meta"):  # no weights are drawn: a metric must not shift the run's random numbers
            classifier = cls(**architecture)
        classifier.load_state_dict(load_file(path), assign=True)
        classifier.name = name
        classifier.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return classifier.eval().requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """What the head sees, after its ReLU: [N, C, H, W] in [0, 1] -> [N, F], not negative.

        Raises:
            ConfigError: the images are not of the shape this classifier was made for.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ConfigError(
                f"samples of shape {tuple(x.shape)}: the classifier {self.name!r} takes (N, {wanted}); "
                "choose a metric made for this data"
            )
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
        """The likeliest class: [N, C, H, W] in [0, 1] -> int64 [N]."""
        return self(x).argmax(1)


def eight_bit(x: Tensor) -> Tensor:
    """Samples in [0, 1] as an 8-bit image file would hold them, in float64.

    Real images come from such files. Fakes must be rounded alike, or the metric sees the rounding
    (Parmar, Zhang and Zhu 2022).

    Raises:
        ConfigError: not floating point, or outside [0, 1], or not finite.
    """
    if not x.is_floating_point():
        raise ConfigError(f"samples of type {x.dtype}: metrics take floating point in [0, 1]; divide by 255")
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):  # so written, it is true of NaN too
        raise ConfigError(f"samples from {low:.4g} to {high:.4g}: metrics take [0, 1]; rescale or clamp them")
    return (x.double() * 255).round() / 255


def _stage(num_in: int, num_out: int) -> list[nn.Module]:
    return [nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]
