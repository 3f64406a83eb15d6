import torch
from torch import Tensor

from ganlab.augmentations.base import images, span
from ganlab.augmentations.images import brighten, cut, saturate, stretch, translate
from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, as_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.tricks.base import Trick


class DiffAugment(Trick):
    """Everything the discriminator sees is augmented, real or not, on both turns (Zhao et al. 2020).

    The discriminator judges T(x) and T(G(z)) (figure 4 there), and the generator's gradient flows through T.
    Each image has its own random numbers, redrawn whenever it is judged; its class goes with it. A strength
    of 0 leaves a part out.

    brightness: largest amount that is added, in half widths of the data's range.
    saturation: largest relative change of a pixel's distance from its grey; images of one channel have none.
    contrast: largest relative change of the distance from the image's mean.
    translation: largest shift along each axis, in shares of the side, rounded to pixels; beyond the image
        lies the middle of the range.
    cutout: side of the square, in shares of the image's, that is filled with the middle of the range; its
        centre is anywhere in the image, between pixels too, where the released code has whole pixels and, for
        even squares, one place more beyond the edge.
    """

    needs = frozenset({Capability.DISCRIMINATOR})

    def __init__(
        self,
        brightness: float | Schedule,
        saturation: float | Schedule,
        contrast: float | Schedule,
        translation: float | Schedule,
        cutout: float | Schedule,
        range: tuple[float, float] | None,
    ):
        super().__init__()
        self.brightness = strength("brightness", brightness)
        self.saturation = strength("saturation", saturation)
        self.contrast = strength("contrast", contrast)
        self.translation = strength("translation", translation)
        self.cutout = strength("cutout", cutout)
        self.range = range

    def networks(self, networks: Networks) -> Networks:
        channels, *sides = images("diff_augment", networks.generator.shape)
        self.middle, self.unit = span("diff_augment", self.range)
        moves = self.translation.maximum
        if moves and not round(moves * max(sides)):
            raise ConfigError(
                f"trick.diff_augment.translation={moves:g} is less than half a pixel of {max(sides)}: "
                "give a larger one, or 0"
            )
        # On images of one channel saturation is left out, as long as there is anything else to do.
        coloured = [self.saturation] if channels > 1 else []
        parts = [self.brightness, self.contrast, self.translation, self.cutout, *coloured]
        if not any(part.maximum for part in parts):
            raise ConfigError(
                f"trick diff_augment would do nothing to images of {channels} channel(s) with "
                f"trick.diff_augment.saturation={self.saturation.maximum:g} and all else 0: "
                "give another strength, or leave it out"
            )
        return networks

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        x = self._coloured(at_least_float32(sample.x), turn)
        if self.translation.maximum:
            down, right = (self._shifts(turn, len(x), size) for size in x.shape[2:])
            x = translate(x, down, right, self.middle)
        if self.cutout.maximum:
            centre = turn.random.uniform("diff_augment/cutout", len(x), 2)
            side = torch.full_like(centre[:, 0], self.cutout(turn.step))
            x = cut(x, centre, side, self.middle)
        return sample._replace(x=x)

    def _coloured(self, x: Tensor, turn: Turn) -> Tensor:
        if self.brightness.maximum:
            x = brighten(x, self.unit * self._about_zero("brightness", turn, len(x)))
        if self.saturation.maximum and x.shape[1] > 1:
            x = saturate(x, 1 + self._about_zero("saturation", turn, len(x)))
        if self.contrast.maximum:
            x = stretch(x, 1 + self._about_zero("contrast", turn, len(x)))
        return x

    def _about_zero(self, part: str, turn: Turn, n: int) -> Tensor:
        """Uniform numbers between minus and plus a part's strength, [n]."""
        drawn = turn.random.uniform(f"diff_augment/{part}", n)
        return getattr(self, part)(turn.step) * (2 * drawn - 1)

    def _shifts(self, turn: Turn, n: int, size: int) -> Tensor:
        """Pixels, each number of them between the largest shifts as likely as any other, [n]."""
        most = round(self.translation(turn.step) * size)
        return (turn.random.uniform("diff_augment/translation", n) * (2 * most + 1)).floor() - most


def strength(part: str, value: float | Schedule) -> Schedule:
    return as_schedule(f".{part}", value, "[0, 1]")
