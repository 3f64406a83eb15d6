"""The 8x8 handwritten digits that come with scikit-learn: the default data, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ganlab.core.validation import Count, Whole, check_declared, check_image_range
from ganlab.data.base import Data
from ganlab.data.labelled import labelled_among
from ganlab.data.sources import Choice, Memory, hold_out

TRAINING = 1437  # of the 1797


class Digits(Data):
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998).

    The last fifth is for testing. Images that are near each other in the file are alike, as by one hand: a
    test interleaved with the training images scores a fid/digits of 1.5 against them, a fifth in one piece
    4 to 9. Only the latter says how much unseen writing differs.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int,
        range: Sequence[float],
        batch_size: Count,
        validation: Whole,
        validation_choice: Choice,
        labelled: Count | None,
    ):
        from sklearn.datasets import load_digits  # a second of import that other data need not pay

        found = load_digits()
        images = torch.from_numpy(found.images)[:, None]  # [1797, 1, 8, 8], 0 to 16
        pixels = (images * 255 / 16).round().byte()
        labels = torch.from_numpy(found.target).long()
        check_declared("shape", shape, tuple(pixels.shape[1:]))
        check_declared("num_classes", num_classes, 10)
        training = hold_out(pixels[:TRAINING], labels[:TRAINING], validation, validation_choice, flip=False)
        sources = training | {"test": Memory(pixels[TRAINING:], labels[TRAINING:], flip=False)}
        super().__init__(shape, num_classes, check_image_range(range), batch_size, sources)
        self.labelled = labelled_among(sources["train"], labelled, num_classes)
