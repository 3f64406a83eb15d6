from torch import Tensor

from ganlab.augmentations import images as transforms
from ganlab.augmentations.base import Span, require_shift_of_a_pixel, validated_image_shape
from ganlab.core.batch import Sample, at_least_float32
from ganlab.core.errors import require
from ganlab.core.schedules import Schedule, ScheduleLike, as_schedule
from ganlab.core.validation import ValueRange
from ganlab.tricks.base import Capability, Networks, Trick, Turn


class DiffAugment(Trick):
    """All inputs of the discriminator are augmented, real and fake, on both turns (Zhao et al. 2020).

    The discriminator judges T(x) and T(G(z)), and the generator's gradient flows through T (figure 4 of the
    paper). Random numbers are drawn for each image whenever it is judged. The image keeps its class. A
    strength of 0 disables a transform; all strengths lie in [0, 1].

    brightness: the largest amount that is added, in units of half of the width of the data's range.
    saturation: the difference of each pixel from its grey value, the mean of its channels, is multiplied by
        a factor in [1 - saturation, 1 + saturation]. Images with one channel stay unchanged.
    contrast: the difference of each pixel from the image's mean is multiplied by a factor in
        [1 - contrast, 1 + contrast].
    translation: the largest shift along each axis, as a fraction of the side, rounded to pixels. Pixels that
        are shifted in from outside of the image have the middle value of the range.
    cutout: the side of a square that is filled with the middle value of the range, as a fraction of the
        image's side. The square's centre is uniformly distributed over the image. Pixels whose centres
        lie in the square are filled. In the released code the side and the position of the square are whole
        numbers of pixels.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.APART})

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
        """Checks the strengths and the range for the shape of the samples; changes no network."""
        shape = validated_image_shape(networks.generator.shape)
        num_channels = shape[0]
        self.span = Span.of_range(self.range)
        require_shift_of_a_pixel(self.translation.maximum, shape)
        saturation = [self.saturation] if num_channels > 1 else []  # grey images have none
        strengths = [self.brightness, self.contrast, self.translation, self.cutout, *saturation]
        has_effect = any(strength.maximum for strength in strengths)
        reason = f"has no effect: all strengths that apply to {num_channels}-channel images are 0"
        require(has_effect, reason, "set one of them, or remove the trick")

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        x, condition = at_least_float32(sample.x), sample.condition
        moves_condition = condition is not None and condition.ndim == 4  # an image

        def draw(name: str, strength: Schedule) -> Tensor:
            """Uniform numbers in [-strength, strength], [B]."""
            return strength(turn.step) * (2 * turn.random.uniform(f"diff_augment/{name}", len(x)) - 1)

        if self.brightness.maximum:
            x = x + transforms.per_image(self.span.half_width * draw("brightness", self.brightness))
        if self.saturation.maximum and x.shape[1] > 1:
            x = transforms.scale_about_mean(x, 1 + draw("saturation", self.saturation), dims=(1,))
        if self.contrast.maximum:
            x = transforms.scale_about_mean(x, 1 + draw("contrast", self.contrast), dims=(1, 2, 3))
        if self.translation.maximum:
            largest = (round(self.translation(turn.step) * side) for side in x.shape[2:])
            # The second draw continues the random stream of the first, so both shifts are independent.
            draws = (turn.random.uniform("diff_augment/translation", len(x)) for _ in range(2))
            down, right = map(transforms.uniform_integers, draws, largest)
            x = transforms.translate(x, down, right, fill=self.span.middle)
            if condition is not None and moves_condition:
                condition = transforms.translate(condition, down, right, fill=self.span.middle)
        if self.cutout.maximum:
            row, column = turn.random.uniform("diff_augment/cutout", len(x), 2).T
            side = row.new_full(row.shape, self.cutout(turn.step))
            x = transforms.fill_rectangle(x, row, column, side, fill=self.span.middle)
            if condition is not None and moves_condition:
                condition = transforms.fill_rectangle(condition, row, column, side, fill=self.span.middle)
        return sample._replace(x=x, condition=condition)
