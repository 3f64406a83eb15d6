"""The extractors of features that configs name: `inception`, and `classifier` for small grey images."""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self
from urllib.error import URLError

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ganlab.core.batch import Sample
from ganlab.core.errors import ConfigError, error_message, require
from ganlab.filesystem import read_regular_file
from ganlab.metrics.features import Features

CLASSIFIER_FOLDER = Path(__file__).parent / "weights"  # has one file for each trained classifier
INCEPTION_REMEDY = "give torch-fidelity's file, or choose another extractor, such as extractor=mnist"


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
        """A trained classifier, frozen and in evaluation mode.

        Args:
            name: that of a classifier in `ganlab/metrics/weights`, or the path of a file that ends in
                .safetensors, as `scripts/train_classifier.py` writes it.

        Raises:
            ConfigError: no classifier has this name, or the file is none.
        """
        given = Path(name).expanduser()
        path = given if given.suffix == ".safetensors" else CLASSIFIER_FOLDER / f"{name}.safetensors"
        known = sorted(file.stem for file in CLASSIFIER_FOLDER.glob("*.safetensors"))
        remedy = f"choose one of {', '.join(known)}, or give a file of scripts/train_classifier.py"
        is_known = given.is_file() if path is given else name in known
        require(is_known, "unknown classifier", remedy, "extractor", name)
        try:
            with safe_open(path, framework="pt") as file:
                architecture = json.loads(file.metadata()["architecture"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ConfigError("has no classifier", remedy, "extractor", name) from error
        with torch.device("meta"):  # draws no random weights, so the random numbers of the run do not change
            network = cls(**architecture)
        network.load_state_dict(load_file(path), assign=True)
        network.name, network.sha256 = path.stem, sha256(path.read_bytes()).hexdigest()
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


class Inception:
    """torch-fidelity's Inception v3 with the weights of TensorFlow, 2015-12-05 (Heusel et al. 2017).

    It implements `ganlab.metrics.features.Extractor`. Images of any size are resized to 299 x 299 as
    TensorFlow 1 did. The channel of a grey image is repeated three times. The weights, 96 MB, are loaded at
    the first use.

    Args:
        weights: the path of a file with torch-fidelity's weights; None: the file is downloaded once.
        layer: the layer whose output is extracted, given by its number of features. Only the last layer,
            2048, has class logits.
    """

    preprocessing: Mapping[str, str] = {"resize": "bilinear to 299x299 as TensorFlow 1", "antialias": "none"}
    libraries = ("torch-fidelity",)
    dtype = torch.float32

    def __init__(self, weights: str | None, layer: Literal[64, 192, 768, 2048]):
        self.name = "inception" if layer == 2048 else f"inception{layer}"
        self.num_features = layer
        self._path = None if weights is None else Path(weights)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file of the weights."""
        return self._loaded[1]

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Moves the network, in place."""
        self._loaded[0].to(device=device, dtype=dtype)

    def extract(self, x: Tensor) -> Features:
        """The features [N, F] and class logits [N, K = 1008] of images [N, 1 or 3, H, W] in [0, 1].

        The logits do not include the biases of the last layer. A layer before the last has K = 0 logits.

        Raises:
            ConfigError: the images do not have 1 or 3 channels, or the weights are not available.
        """
        shape, remedy = list(x.shape[1:]), "choose another extractor"
        reason = f"takes images of 1 or 3 channels, and these samples have the shape {shape}"
        require(x.ndim == 4 and shape[0] in (1, 3), reason, remedy, "extractor", self.name)
        levels = (x * 255).round().byte().expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        # TF32 is disabled, because `dtype` promises float32.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            features, *logits = self._loaded[0](levels)
        return Features(features, logits[0] if logits else features.new_empty(len(x), 0))

    @cached_property
    def _loaded(self) -> tuple[nn.Module, str]:
        """The network, loaded at the first use, and the SHA-256 of the file of its weights."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        outputs = ["2048", "logits_unbiased"] if self.num_features == 2048 else [str(self.num_features)]
        path = self._path or downloaded_weights()
        content = validated_weights(path)
        try:  # The network gets the checked bytes, because the file may have changed since the check.
            network = FeatureExtractorInceptionV3("inception", outputs, io.BytesIO(content))
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = f"not the weights of Inception: {error_message(error)}"
            raise ConfigError(reason, INCEPTION_REMEDY, "metric.weights", path) from error
        return network.to(memory_format=torch.channels_last), sha256(content).hexdigest()


# The targets of `extractor` in a config. Called again with the same arguments, they return the same object,
# which all metrics share.
classifier = cache(Classifier.load)
inception = cache(Inception)


def validated_weights(path: Path) -> bytes:
    """The bytes of a file of weights, after a check that it contains only tensors.

    torch-fidelity would unpickle any object in the file, and so run any code.

    Raises:
        ConfigError: the file cannot be read, or contains other objects.
    """
    try:
        content = read_regular_file(path)
        torch.load(io.BytesIO(content), weights_only=True, map_location="meta")
        return content
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = f"cannot be read as weights: {error_message(error)}"
        raise ConfigError(reason, INCEPTION_REMEDY, "metric.weights", path) from error


def downloaded_weights() -> Path:
    """The path of torch-fidelity's weights in torch's cache, to which they are downloaded at the first use.

    Raises:
        ConfigError: the weights cannot be downloaded.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3 as URL

    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(URL).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL, str(path), hash_prefix="6726825d", progress=False)
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: the SHA-256 has another prefix
            reason = f"the weights of Inception cannot be downloaded ({error_message(error)})"
            remedy = f"set metric.weights to a copy of {path.name}, or choose another extractor"
            raise ConfigError(reason, remedy, "extractor", "inception") from error
    return path
