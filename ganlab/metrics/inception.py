"""Inception v3 of 2015, the extractor of every published FID, KID and Inception Score."""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import cache, cached_property
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, one_line, require
from ganlab.filesystem import read_regular_file
from ganlab.metrics.feature_cache import Features

Layer = Literal[64, 192, 768, 2048]
REMEDY = "give torch-fidelity's file, or choose another extractor, such as extractor=mnist"


class Inception:
    """torch-fidelity's Inception v3 with the weights of TensorFlow, 2015-12-05 (Heusel et al. 2017).

    Images of any size are resized to 299 x 299 as TensorFlow 1 did; grey ones are repeated to three channels.
    The weights, 96 MB, are loaded at the first use.

    Args:
        weights: a file of torch-fidelity's weights; None: it is downloaded once.
        layer: which features are extracted, by their number; only the last layer, 2048, has class logits.
    """

    resize = "bilinear to 299x299 as TensorFlow 1"
    antialias = "none"
    libraries = ("torch-fidelity",)
    dtype = torch.float32

    def __init__(self, weights: str | None, layer: Layer):
        self.name = "inception" if layer == 2048 else f"inception{layer}"
        self.num_features = layer
        self._path = None if weights is None else Path(weights)

    @property
    def sha256(self) -> str:
        """The hash of the file of the weights."""
        return self._loaded[1]

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Moves the network, in place."""
        self._loaded[0].to(device=device, dtype=dtype)

    def extract(self, x: Tensor) -> Features:
        """[N, C, H, W] in [0, 1], C 1 or 3 -> features [N, F] and logits [N, 1008] without the biases.

        Raises:
            ConfigError: the images have other channels, or the weights are not available.
        """
        shape, remedy = list(x.shape[1:]), "choose another extractor"
        reason = f"takes images of 1 or 3 channels, and these samples have the shape {shape}"
        require(x.ndim == 4 and shape[0] in (1, 3), "extractor", self.name, reason, remedy)
        levels = (x * 255).round().byte().expand(-1, 3, -1, -1)
        # Without TF32: in float32, as `dtype` states.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            features, *logits = self._loaded[0](levels.contiguous(memory_format=torch.channels_last))
        return Features(features, logits[0] if logits else features[:, :0])

    @cached_property
    def _loaded(self) -> tuple[nn.Module, str]:
        """The network, and the hash of its weights."""
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        outputs = [str(self.num_features), *(["logits_unbiased"] if self.num_features == 2048 else [])]
        path = self._path or download()
        content = read_tensors(path)
        try:  # with the bytes that were checked: the file may have changed since
            network = FeatureExtractorInceptionV3("inception", outputs, io.BytesIO(content))
        except (RuntimeError, TypeError, AttributeError) as error:
            reason = f"not the weights of Inception: {one_line(error)}"
            raise ConfigError(reason, REMEDY, "metric.weights", path) from error
        return network.to(memory_format=torch.channels_last), hashlib.sha256(content).hexdigest()


@cache
def inception(weights: str | None, layer: Layer) -> Inception:
    """The Inception network of these weights and this layer: the same object in every call."""
    return Inception(weights, layer)


def read_tensors(path: Path) -> bytes:
    """The bytes of a file that holds nothing but tensors: torch-fidelity would run other objects in it.

    Raises:
        ConfigError: it cannot be read, or it holds something else.
    """
    try:
        content = read_regular_file(path)
        torch.load(io.BytesIO(content), weights_only=True, map_location="meta")
        return content
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = f"cannot be read as weights: {one_line(error)}"
        raise ConfigError(reason, REMEDY, "metric.weights", path) from error


def download() -> Path:
    """The path of torch-fidelity's own weights in torch's cache; they are downloaded if they are not there.

    Raises:
        ConfigError: they cannot be downloaded.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), "6726825d", progress=False)
        except (URLError, OSError, RuntimeError) as error:  # RuntimeError: of another hash
            reason = f"the weights of Inception cannot be downloaded ({one_line(error)})"
            remedy = f"set metric.weights to a copy of {path.name}, or choose another extractor"
            raise ConfigError(reason, remedy, "extractor", "inception") from error
    return path
