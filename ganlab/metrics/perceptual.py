"""The perceptual distance of generated samples to the real ones that belong to their conditions."""

import io
import pickle
from hashlib import sha256
from pathlib import Path

import torch
from torchmetrics.functional.image.lpips import _LPIPS

from ganlab.core.errors import ConfigError, error_message, require
from ganlab.filesystem import read_regular_file
from ganlab.metrics.base import Data, Game, ProtocolFields
from ganlab.metrics.features import to_unit_range
from ganlab.metrics.paired import OfTestPairs, answered_conditions

BATCH = 50  # pairs that are compared at a time
SMALLEST = 63  # pixels of a side, below which nothing is left of an image in the last layers of AlexNet


class LPIPS(OfTestPairs):
    """The mean perceptual distance of one sample for each test condition, by AlexNet; 0 is best.

    It is the weighted square distance of normalised features (Zhang et al. 2018, equation 1), with the
    weights of version 0.1, which torchmetrics contains.

    Args:
        weights: torchvision's file of AlexNet, alexnet-owt-7be5be79.pth.

    Raises:
        ConfigError: the file cannot be read, or has other weights; the data are not images of 3 channels and
            at least 63 x 63 pixels.
    """

    names = ("lpips/test",)
    higher_is_better = False

    def __init__(self, weights: str):
        self.network = _LPIPS(net="alex", pnet_rand=True)
        try:
            content = read_regular_file(Path(weights))
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            for part in self.network.net.children():
                part.load_state_dict({name: state[f"features.{name}"] for name in part.state_dict()})
        except (OSError, RuntimeError, EOFError, LookupError, TypeError, pickle.UnpicklingError) as error:
            reason = f"is no file of AlexNet's weights: {error_message(error)}"
            raise ConfigError(
                reason, "give torchvision's, alexnet-owt-7be5be79.pth", ".weights", weights
            ) from error
        self.sha256 = sha256(content).hexdigest()[:16]

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        super().setup(data, n_fake, n_real)
        fits = data.shape[0] == 3 and min(data.shape[1:]) >= SMALLEST
        reason = f"needs images of 3 channels and {SMALLEST} x {SMALLEST} pixels, not {list(data.shape)}"
        require(fits, reason, "choose another metric")

    def measure(self, game: Game, seed: int) -> float:
        distances = []
        for *pair, _ in answered_conditions(self._data, game, seed, BATCH):
            samples, real = (to_unit_range(x, self._data.value_range) for x in pair)
            distances.append(self.network(samples, real, normalize=True).flatten())
        return float(torch.cat(distances).double().mean())

    def protocol(self) -> ProtocolFields:
        return {"n_fake": self._n, "weights": self.sha256, "torch": str(torch.__version__)}
