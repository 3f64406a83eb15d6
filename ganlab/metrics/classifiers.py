"""Small classifiers of images: their features replace Inception's for small grey images."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Self

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ganlab.core.batch import Sample
from ganlab.core.errors import ConfigError, require
from ganlab.metrics.features import Features

CLASSIFIER_FOLDER = Path(__file__).parent / "weights"  # has one file for each trained classifier


class Classifier(nn.Module):
    """Three convolutions, a layer of features and a linear head, for images of at least 8 x 8 pixels.

    It implements `ganlab.metrics.features.Extractor`. Inception's features are not meaningful for small grey
    images. A classifier trained on the data set itself is the usual replacement. The names of the metrics'
    values contain the name of the classifier, as in fid/mnist_train_10k.

    Args:
        shape: the shape (C, H, W) of an image.
        num_classes: the number of classes.
        width: the number of channels after the first convolution; the others have twice as many.
        num_features: the number of features.

    Raises:
        ConfigError: the images are too small.
    """

    preprocessing: Mapping[str, str] = {"resize": "none", "antialias": "none"}
    libraries = ()
    dtype = torch.float64  # so that values do not depend on the device, TF32, autocast or the batch size

    def __init__(self, shape: Sequence[int], num_classes: int, width: int, num_features: int):
        super().__init__()
        remedy = "choose images of at least 8 x 8 pixels"
        require(min(shape[1:]) >= 8, "too small for this classifier", remedy, "data.shape", list(shape))
        self.name, self.sha256 = "untrained", ""  # `load` sets both
        self.shape, self.num_features = tuple(shape), num_features
        layers: list[nn.Module] = []
        pools = nn.MaxPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)
        channels = shape[0], width, 2 * width, 2 * width
        for num_in, num_out, pool in zip(channels[:-1], channels[1:], pools, strict=True):
            convolution = nn.Conv2d(num_in, num_out, kernel_size=3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(num_out), nn.ReLU(), pool]
        # The input of the linear layer has 2 * width channels of 2 x 2.
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * width, num_features), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(num_features, num_classes)

    @classmethod
    def load(cls, name: str) -> Self:
        """A trained classifier from `ganlab/metrics/weights`, frozen and in evaluation mode.

        Raises:
            ConfigError: no classifier has this name.
        """
        path = CLASSIFIER_FOLDER / f"{name}.safetensors"
        # A name that is not in this list is refused, so that it cannot be the path of a different file.
        known = sorted(file.stem for file in CLASSIFIER_FOLDER.glob("*.safetensors"))
        require(name in known, "unknown classifier", f"choose one of {', '.join(known)}", "extractor", name)
        with safe_open(path, framework="pt") as file:
            architecture = json.loads(file.metadata()["architecture"])
        with torch.device("meta"):  # draws no random weights, so the random numbers of the run do not change
            network = cls(**architecture)
        network.load_state_dict(load_file(path), assign=True)
        network.name, network.sha256 = name, sha256(path.read_bytes()).hexdigest()
        return network.eval().requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        """The features of images, [N, C, H, W] in [0, 1] -> [N, F]. They come from a ReLU: none is negative.

        Raises:
            ConfigError: the classifier does not take images of this shape.
        """
        shape, expected = list(x.shape[1:]), list(self.shape)
        reason = f"takes images of shape {expected}, and these samples have the shape {shape}"
        remedy = "choose an extractor for these data, or a metric without one"
        require(x.ndim == 4 and shape == expected, reason, remedy, "extractor", self.name)
        return self.body(x)

    def extract(self, x: Tensor) -> Features:
        """The features [N, F] and class logits [N, K] of images [N, C, H, W] in [0, 1]."""
        features = self.features(x)
        return Features(features, self.head(features))

    def forward(self, x: Tensor) -> Tensor:
        """The class logits of images: [N, C, H, W] in [0, 1] -> [N, K]."""
        return self.head(self.features(x))

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The most probable class: [N, C, H, W] in [0, 1] -> int64 [N]."""
        return self(x).argmax(1)


class ClassifierFeatures(nn.Module):
    """A space of objectives: a classifier's features of samples, sample -> [B, F]. No feature is negative.

    Objectives such as MMD compare samples by these features, if `objective/space` selects them. The
    classifier is frozen and always in evaluation mode.

    Args:
        extractor: the name of a classifier in `ganlab/metrics/weights`.
        shape: the shape of a sample.
        value_range: the value range of the samples; None: the data are points, which are refused.

    Raises:
        ConfigError: the classifier does not take samples of this shape.
    """

    def __init__(self, extractor: str, shape: Sequence[int], value_range: tuple[float, float] | None):
        super().__init__()
        self.classifier = Classifier.load(extractor)  # not shared with metrics, which convert it to float64
        expected, shape = list(self.classifier.shape), list(shape)
        # The dot makes the key objective.space.extractor; without a dot it would be the metrics' `extractor`.
        key, remedy = ".extractor", "change objective/space"
        reason = f"takes images of shape {expected}, and these data have the shape {shape}"
        require(shape == expected, reason, remedy, key, extractor)
        if value_range is None:
            raise ConfigError("takes images, and these data are points", remedy, key, extractor)
        self.low, self.high = value_range

    def forward(self, sample: Sample) -> Tensor:
        return self.classifier.features((sample.x - self.low) / (self.high - self.low))

    def train(self, mode: bool = True) -> Self:
        """Ignores `mode`, because the classifier always stays in evaluation mode."""
        return super().train(mode=False)
