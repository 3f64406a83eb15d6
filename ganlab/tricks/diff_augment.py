import torch
from torch import Tensor

from ganlab.augmentations.base import Span, image_shape, refuse_subpixel_shift
from ganlab.augmentations.images import change_contrast, cut, per_image, saturate, translate, uniform_integers
from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, ScheduleLike, as_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.core.validation import ValueRange
from ganlab.tricks.base import Trick


class DiffAugment(Trick):
    """All inputs of the discriminator are augmented, real and fake, on both turns (Zhao et al. 2020).

    The discriminator judges T(x) and T(G(z)), and the generator's gradient flows through T (figure 4 of the
    paper). Each image has its own random numbers, drawn again whenever it is judged, and keeps its class. A
    strength of 0 disables a transform; all strengths lie in [0, 1].

    brightness: largest amount that is added, in units of half of the width of the data's range.
    saturation: largest relative change of a pixel's distance from its grey value; for images with colours.
    contrast: largest relative change of the distance from the image's mean.
    translation: largest shift along each axis, as a share of the side, rounded to pixels. Pixels from outside
        the image have the middle of the range.
    cutout: side of a square that is filled with the middle of the range, as a share of the image's side. The
        square's centre is uniform in the image, also between pixels. The released code uses whole
        pixels and, for even squares, one more position beyond the edge.
    """

    needs = frozenset({Capability.DISCRIMINATOR})

    def __init__(
        self,
        brightness: ScheduleLike,
        saturation: ScheduleLike,
        contrast: ScheduleLike,
        translation: ScheduleLike,
        cutout: ScheduleLike,
        range: ValueRange,
    ):
        super().__init__()
        self.brightness = as_schedule(".brightness", brightness, "[0, 1]")
        self.saturation = as_schedule(".saturation", saturation, "[0, 1]")
        self.contrast = as_schedule(".contrast", contrast, "[0, 1]")
        self.translation = as_schedule(".translation", translation, "[0, 1]")
        self.cutout = as_schedule(".cutout", cutout, "[0, 1]")
        self.range = range

    def networks(self, networks: Networks) -> None:
        shape = image_shape(networks.generator.shape)
        self.span = Span.of_range(self.range)
        refuse_subpixel_shift(self.translation.maximum, shape)
        strengths = [self.brightness, self.contrast, self.translation, self.cutout]
        if shape[0] > 1:
            strengths.append(self.saturation)
        if not any(strength.maximum for strength in strengths):
            reason = f"has no effect: all strengths that apply to {shape[0]}-channel images are 0"
            raise ConfigError(reason, "set one of them, or remove the trick")

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        x = at_least_float32(sample.x)

        def draw(name: str, strength: Schedule) -> Tensor:
            """Uniform numbers in [-strength, strength], [B]."""
            return strength(turn.step) * (2 * turn.random.uniform(f"diff_augment/{name}", len(x)) - 1)

        if self.brightness.maximum:
            x = x + per_image(self.span.half_width * draw("brightness", self.brightness))
        if self.saturation.maximum and x.shape[1] > 1:
            x = saturate(x, 1 + draw("saturation", self.saturation))
        if self.contrast.maximum:
            x = change_contrast(x, 1 + draw("contrast", self.contrast))
        if self.translation.maximum:
            down, right = (self._shifts(turn, len(x), size) for size in x.shape[2:])
            x = translate(x, down, right, fill=self.span.middle)
        if self.cutout.maximum:
            centre = turn.random.uniform("diff_augment/cutout", len(x), 2)
            side = torch.full_like(centre[:, 0], self.cutout(turn.step))
            x = cut(x, centre, side, fill=self.span.middle)
        return sample._replace(x=x)

    def _shifts(self, turn: Turn, n: int, size: int) -> Tensor:
        """Random shifts by whole pixels along a side of `size` pixels, [n]."""
        largest = round(self.translation(turn.step) * size)
        return uniform_integers(turn.random.uniform("diff_augment/translation", n), largest)
