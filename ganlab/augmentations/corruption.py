"""What is lost of an image."""

from __future__ import annotations

from torch import Tensor

from ganlab.augmentations.base import Augmentation, Share, Span, UpTo2, gate
from ganlab.augmentations.images import cut, per_image
from ganlab.core.randomness import RandomStreams


class Corruption(Augmentation):
    """Noise and a cutout (Karras et al. 2020, appendix B).

    noise: standard deviation of the noise's own, which is half normal, in half widths of the data's range.
    cutout: side of a rectangle, in shares of the image's, that is filled with the middle of the range.
    """

    def __init__(self, noise: UpTo2, cutout: Share):
        self.noise = noise
        self.cutout = cutout

    def acts(self, name: str, shape: tuple[int, int, int]) -> bool:
        return bool(self.noise or self.cutout)

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, name: str) -> Tensor:
        n = len(x)
        uniform = random.uniform(f"{name}/corruption", n, 4).T
        if self.noise:
            size = random.normal(f"{name}/corruption", n).abs() * self.noise * span.unit
            noise = random.normal(f"{name}/noise", *x.shape)
            x = x + per_image(gate(uniform[0], p, size, 0)) * noise
        if self.cutout:
            side = gate(uniform[1], p, uniform[1].new_full((n,), self.cutout), 0)
            x = cut(x, uniform[2:].T, side, span.middle)
        return x
