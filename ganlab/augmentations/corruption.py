"""Augmentations that remove information: noise and a cutout."""

from dataclasses import dataclass

from torch import Tensor

from ganlab.augmentations.base import Augmentation, Share, Span, UpTo2, apply_where
from ganlab.augmentations.images import cut, per_image
from ganlab.core.randomness import RandomStreams


@dataclass
class Corruption(Augmentation):
    """Additive noise and a cutout (Karras et al. 2020, appendix B).

    noise: the noise of an image has the standard deviation |s|, where s is drawn from N(0, `noise`^2), in
        units of half of the width of the data's range.
    cutout: side of a rectangle that is filled with the middle of the range, as a share of the image's sides.
    """

    noise: UpTo2
    cutout: Share

    def changes(self, shape: tuple[int, int, int]) -> bool:
        return bool(self.noise or self.cutout)

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        n = len(x)
        # The cutout is drawn from columns 1 to 3, whether or not there is noise.
        uniform = random.uniform(f"{stream}/corruption", n, 4).T
        if self.noise:
            std = random.normal(f"{stream}/corruption", n).abs() * self.noise * span.half_width
            noise = random.normal(f"{stream}/noise", *x.shape)
            x = x + per_image(apply_where(uniform[0], p, std, 0)) * noise
        if self.cutout:
            side = apply_where(uniform[1], p, uniform[1].new_full((n,), self.cutout), 0)
            x = cut(x, uniform[2:].T, side, span.middle)
        return x
