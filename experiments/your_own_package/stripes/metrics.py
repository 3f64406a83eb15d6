"""Two metrics: one of samples, with the interface of torchmetrics, and one of the game itself."""

import torch
from torch import Tensor
from torchmetrics import Metric

from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import GameMetric


class BrightnessGap(Metric):
    """The distance of the mean brightness of generated images from that of real images; 0 is best."""

    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(2))
        self.add_state("counts", torch.zeros(2))

    def update(self, images: Tensor, real: bool) -> None:
        self.sums[int(real)] += images.sum()
        self.counts[int(real)] += images.numel()

    def compute(self) -> Tensor:
        generated, real = self.sums / self.counts
        return (generated - real).abs()


class LatentSensitivity(GameMetric):
    """How far a small step of the latent moves an image, on average, in units of the step."""

    names = ("latent_sensitivity",)
    higher_is_better = True

    def __init__(self, step: float):
        self.step = step

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        """Nothing is needed of the data."""

    def measure(self, game: Game, seed: int) -> float:
        latents = game.latents(100, seed)
        images, moved = game.generate_in_batches(torch.cat([latents, latents + self.step]), None).chunk(2)
        return float((moved - images).flatten(1).norm(dim=1).mean() / self.step)

    def protocol(self) -> dict[str, str | int | float]:
        return {"n_fake": 100, "step": self.step}
