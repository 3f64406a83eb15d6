"""Handwritten digits of 8x8 pixels, which scikit-learn ships: the default data, nothing is downloaded."""

from typing import Unpack

import torch

from ganlab.core.validation import Count, Whole
from ganlab.data.base import Data, Declared, verify_images
from ganlab.data.sources import Choice, Memory, hold_out

TRAINING = 1437  # training images, of 1797


class Digits(Data):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998).

    The last fifth is the test split. Neighbours in the file look alike, as if written by one hand: an
    interleaved test split has a fid/digits of 1.5 to the training images, and the last fifth one of 4 to 9.
    Only the latter measures generalisation to other handwriting.

    Args:
        validation: the number of training images that are held out.
        validation_choice: last, those at the end; random, the same ones in every run.
        labelled: the number of training images whose labels a semi-supervised trick may see; None: no trick
            may see them.

    Raises:
        ConfigError: a declared setting contradicts the data, or too few images are left.
    """

    def __init__(
        self,
        validation: Whole,
        validation_choice: Choice,
        labelled: Count | None,
        **declared: Unpack[Declared],
    ):
        from sklearn.datasets import load_digits  # imported here because it takes a second

        found = load_digits()
        images = torch.from_numpy(found.images)[:, None]  # [1797, 1, 8, 8], 0 to 16
        pixels = (images * 255 / 16).round().byte()
        labels = torch.from_numpy(found.target).long()
        verify_images(declared, shape=pixels.shape[1:], num_classes=10)
        training = hold_out(pixels[:TRAINING], labels[:TRAINING], validation, validation_choice, flip=False)
        test = Memory(pixels[TRAINING:], labels[TRAINING:], flip=False)
        super().__init__(**declared, sources=training | {"test": test}, labelled=labelled)
