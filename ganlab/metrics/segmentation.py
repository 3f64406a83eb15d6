"""The FCN-score: whether a segmenter finds, in generated photos, the label maps from which they were made."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganlab.core.errors import ConfigError, require
from ganlab.metrics.base import Data, Game, ProtocolFields
from ganlab.metrics.features import to_unit_range
from ganlab.metrics.paired import CHUNK, OfTestPairs, answered_conditions

DILATIONS = (1, 1, 2, 4, 8, 1)  # of the convolutions of a segmenter
BATCH = 16


class Segmenter(nn.Module):
    """A segmenter of photos into the classes of label maps: [B, C, H, W] in [0, 1] -> logits [B, K, H, W].

    Args:
        channels: the number of channels of photos.
        colours: the colours of the classes in label maps, K lists of the same number of values in [0, 1].
        width: the number of channels of the hidden layers.
    """

    def __init__(self, channels: int, colours: list[list[float]], width: int):
        super().__init__()
        self.architecture = {"channels": channels, "colours": colours, "width": width}
        self.sha256 = ""  # of its file; `load` sets it
        self.colours = torch.tensor(colours)
        layers: list[nn.Module] = []
        for inputs, dilation in zip((channels, *[width] * 5), DILATIONS, strict=True):
            convolution = nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, len(colours), 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """The most probable class of each pixel: [N, C, H, W] -> int64 [N, H, W]."""
        return torch.cat([self(part).argmax(1) for part in x.split(BATCH)])

    def classes(self, maps: Tensor) -> Tensor:
        """The class of each pixel of label maps, that of the nearest colour: [N, C, H, W] -> [N, H, W]."""
        pixels = (x.flatten(1).T for x in maps)
        return torch.stack([torch.cdist(x, self.colours).argmin(1) for x in pixels]).view(-1, *maps.shape[2:])

    def save(self, path: Path) -> None:
        save_file(self.state_dict(), path, metadata={"architecture": json.dumps(self.architecture)})

    @classmethod
    def load(cls, path: str) -> Self:
        """A trained segmenter in evaluation mode; raises `ConfigError` if the file is none."""
        try:
            if not Path(path).is_file():  # a pipe would be waited for
                raise FileNotFoundError
            with safe_open(path, framework="pt") as file:
                segmenter = cls(**json.loads(file.metadata()["architecture"]))
            segmenter.load_state_dict(load_file(path))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            remedy = "give a file that scripts/segmenter.py has written"
            raise ConfigError("is no segmenter", remedy, ".segmenter", path) from error
        segmenter.sha256 = sha256(Path(path).read_bytes()).hexdigest()
        return segmenter.eval()


class FCNScore(OfTestPairs):
    """How well a segmenter finds the test label maps in photos made of them (Isola et al. 2017, section 4.2).

    The values are the share of right pixels, its mean over the classes, and the mean intersection over union;
    1 is best. The floors are the values of the real photos, which are a ceiling. The values of an answer that
    is the most frequent class everywhere are in `extras`.

    Args:
        segmenter: a file that `scripts/segmenter.py` has written.
    """

    names = ("fcn_pixels/test", "fcn_classes/test", "fcn_iou/test")
    higher_is_better = True

    def __init__(self, segmenter: str):
        self.segmenter = Segmenter.load(segmenter)

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        super().setup(data, n_fake, n_real)
        assert data.condition is not None
        given = [data.shape[0], data.condition.shape[0]]
        known = [self.segmenter.architecture["channels"], self.segmenter.colours.shape[1]]
        require(given == known, f"was trained on images of {known} channels, not {given}", key=".segmenter")
        photos, maps = (torch.cat(part) for part in zip(*data.split("test", "cpu", CHUNK), strict=True))
        self._right = self.segmenter.classes(self._unit(maps))
        most_frequent = torch.full_like(self._right, int(self._right.flatten().mode().values))
        origin = {"floor_n": len(photos), "floor_split": "test"}
        ceiling = zip(self.names, self._scores(self.segmenter.predict(self._unit(photos))), strict=True)
        self.own_floors = {name: {"floor": value, **origin} for name, value in ceiling}
        trivial = zip(self.names, self._scores(most_frequent), strict=True)
        self.extras = {f"most_frequent_class_{name}": value for name, value in trivial}

    def measure(self, game: Game, seed: int) -> tuple[float, ...]:
        answered = answered_conditions(self._data, game, seed, CHUNK)
        made = torch.cat([sample for sample, *_ in answered])
        return self._scores(self.segmenter.predict(self._unit(made)))

    def _unit(self, x: Tensor) -> Tensor:
        return to_unit_range(x, self._data.value_range).float()

    def _scores(self, found: Tensor) -> tuple[float, float, float]:
        return segmentation_scores(found, self._right, len(self.segmenter.colours))

    def protocol(self) -> ProtocolFields:
        return {"n_fake": self._n, "segmenter": self.segmenter.sha256[:16], "torch": str(torch.__version__)}


def segmentation_scores(found: Tensor, right: Tensor, num_classes: int) -> tuple[float, float, float]:
    """The share of right pixels, its mean over the classes that occur, and mean intersection over union."""
    confusion = torch.bincount((right * num_classes + found).flatten(), minlength=num_classes**2)
    confusion = confusion.view(num_classes, num_classes).double()
    hits, of_class, of_found = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    recall, iou = hits / of_class, hits / (of_class + of_found - hits)
    occurs = of_class > 0
    return float(hits.sum() / confusion.sum()), float(recall[occurs].mean()), float(iou[occurs].mean())
