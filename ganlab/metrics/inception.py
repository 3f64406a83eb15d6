"""Inception v3 of 2015, as every published FID, KID and Inception Score looks at images."""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, one_line
from ganlab.filesystem import read_regular_file
from ganlab.metrics.feature_cache import Features

Layer = Literal[64, 192, 768, 2048]


class Inception:
    """torch-fidelity's Inception v3 with the weights of TensorFlow, 2015-12-05 (Heusel et al. 2017).

    Images of any size are resized to 299 x 299 as TensorFlow 1 did, grey ones become three equal channels.
    The network is read when it first looks at something: its weights are 96 MB.

    Args:
        weights: a file of torch-fidelity's; None: torch-fidelity's own, downloaded once.
        layer: which features are seen; the classes are seen beside the last, 2048, alone.

    """

    resize = "bilinear to 299x299 as TensorFlow 1"
    antialias = "none"
    libraries = ("torch-fidelity",)
    dtype = torch.float32

    def __init__(self, weights: str | None, layer: Layer):
        self.name = "inception" if layer == 2048 else f"inception{layer}"
        self.num_features = layer
        self._path = None if weights is None else Path(weights)
        self._network: nn.Module | None = None
        self._sha256 = ""

    @property
    def sha256(self) -> str:
        """Of the file of the weights."""
        self._read()
        return self._sha256

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Moves the network, in place."""
        self._read().to(device=device, dtype=dtype)

    def extract(self, x: Tensor) -> Features:
        """[N, C, H, W] in [0, 1], C 1 or 3 -> features [N, F] and logits [N, 1008] without the biases.

        Raises:
            ConfigError: other images, or the weights are not available.
        """
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ConfigError(
                f"samples of shape {tuple(x.shape)}: Inception takes images of 1 or 3 channels; choose "
                "another extractor"
            )
        levels = (x * 255).round().byte().expand(-1, 3, -1, -1)
        # As `dtype` says.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            features, *logits = self._read()(levels.contiguous(memory_format=torch.channels_last))
        return Features(features, logits[0] if logits else features[:, :0])

    def _read(self) -> nn.Module:
        if self._network is None:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

            wanted = [str(self.num_features), *(["logits_unbiased"] if self.num_features == 2048 else [])]
            path = self._path or downloaded()
            content = harmless(path)
            self._sha256 = hashlib.sha256(content).hexdigest()
            try:  # with what was looked at, not with what the file may be by now
                network = FeatureExtractorInceptionV3("inception", wanted, io.BytesIO(content))
            except (RuntimeError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"metric.weights={path} are not those of Inception: {one_line(error)}"
                ) from error
            self._network = network.to(memory_format=torch.channels_last)
        return self._network


@cache
def inception(weights: str | None, layer: Layer) -> Inception:
    """The same network for all who ask for it."""
    return Inception(weights, layer)


def harmless(path: Path) -> bytes:
    """The bytes of a file that holds nothing but tensors: torch-fidelity would run what else is in it.

    Raises:
        ConfigError: it cannot be read, or it holds something else.
    """
    try:
        content = read_regular_file(path)
        torch.load(io.BytesIO(content), weights_only=True, map_location="meta")
        return content
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"metric.weights={path} cannot be read as weights: {one_line(error)}") from error


def downloaded() -> Path:
    """torch-fidelity's own weights, where torch keeps what it downloads.

    Raises:
        ConfigError: they are not there, and there is no network.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rsplit("/", 1)[1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                URL_INCEPTION_V3, str(path), hash_prefix="6726825d", progress=False
            )
        except (URLError, OSError, RuntimeError) as error:  # the last of a wrong hash
            raise ConfigError(
                f"the weights of Inception cannot be downloaded ({one_line(error)}): give them as "
                f"metric.weights=<path> of {path.name}, or choose another extractor, such as extractor=mnist"
            ) from error
    return path
