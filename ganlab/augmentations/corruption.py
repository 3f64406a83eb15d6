"""Augmentations that remove information: noise and a cutout."""

from dataclasses import dataclass

from torch import Tensor

from ganlab.augmentations.base import Augmentation, Span, UpTo1, UpTo2
from ganlab.augmentations.images import fill_rectangle, per_image
from ganlab.core.randomness import RandomStreams


@dataclass
class Corruption(Augmentation):
    """Additive noise and a cutout (Karras et al. 2020, appendix B).

    noise: the noise of each image has the standard deviation |s|, where s is drawn from a normal distribution
        with mean 0 and the standard deviation `noise`, in units of half of the width of the data's range.
    cutout: the sides of a rectangle that is filled with the middle of the range, as a fraction of the sides
        of the image.
    """

    noise: UpTo2
    cutout: UpTo1

    def has_effect(self, shape: tuple[int, int, int]) -> bool:
        return bool(self.noise or self.cutout)

    def __call__(self, x: Tensor, p: Tensor, span: Span, random: RandomStreams, stream: str) -> Tensor:
        # All four numbers are drawn even if one transform is disabled, so that the other keeps its numbers.
        u_noise, u_cutout, row, column = random.uniform(f"{stream}/corruption", len(x), 4).T
        if self.noise:
            std = random.normal(f"{stream}/corruption", len(x)).abs() * self.noise * span.half_width
            noise = random.normal(f"{stream}/noise", *x.shape)
            x = x + per_image(std * (u_noise < p)) * noise
        if self.cutout:
            x = fill_rectangle(x, row, column, self.cutout * (u_cutout < p), fill=span.middle)
        return x
