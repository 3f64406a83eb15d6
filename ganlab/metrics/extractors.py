"""The extractors of features that configs name: `inception`, and `classifier` for small grey images."""

import io
import pickle
from collections.abc import Mapping
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.filesystem import read_regular_file
from ganlab.metrics.classifiers import Classifier, ClassifierFeatures
from ganlab.metrics.features import Features

# `ClassifierFeatures` is not used in this file, but configs name it by its path here.
__all__ = ["ClassifierFeatures", "Inception", "classifier", "inception"]
INCEPTION_REMEDY = "give torch-fidelity's file, or choose another extractor, such as extractor=mnist"


class LoadedNetwork(NamedTuple):
    """A network, and the SHA-256 of the file of its weights."""

    network: nn.Module
    sha256: str


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
        return self._loaded.sha256

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Moves the network, in place."""
        self._loaded.network.to(device=device, dtype=dtype)

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
            features, *logits = self._loaded.network(levels)
        return Features(features, logits[0] if logits else features.new_empty(len(x), 0))

    @cached_property
    def _loaded(self) -> LoadedNetwork:
        """The network, loaded at the first use."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        outputs = ["2048", "logits_unbiased"] if self.num_features == 2048 else [str(self.num_features)]
        path = self._path or downloaded_weights()
        content = validated_weights(path)
        try:  # The network gets the checked bytes, because the file may have changed since the check.
            network = FeatureExtractorInceptionV3("inception", outputs, io.BytesIO(content))
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = f"not the weights of Inception: {error_message(error)}"
            raise ConfigError(reason, INCEPTION_REMEDY, "metric.weights", path) from error
        return LoadedNetwork(network.to(memory_format=torch.channels_last), sha256(content).hexdigest())


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
