"""How the three random numbers of a sample, each uniform in [0, 1), decide its mirroring and its crop.

The first number decides whether the sample is mirrored. The second decides at which row its crop begins, and
the third at which column. Images in files and images in memory share these functions, so they are augmented
alike.
"""

import torch
from torch import Tensor

# The random numbers of a sample that is not mirrored, and is cropped in the middle.
NOT_AUGMENTED = torch.full((3,), 0.5)


def is_mirrored(random_numbers: Tensor) -> Tensor:
    """Whether each sample is mirrored, by its random numbers, [..., 3] -> [...] bool."""
    return random_numbers[..., 0] < 0.5


def crop_offset(random_number: Tensor, max_offset: Tensor) -> Tensor:
    """The first row or column of each crop, uniform in {0, ..., max_offset}.

    Args:
        random_number: the second or the third random number of each sample, [b] float32. The type is the
            same for images in files and in memory, so that both round alike.
        max_offset: the largest offset, the size of the image minus that of the crop, [b] int64.
    """
    return (random_number * (max_offset + 1)).long().minimum(max_offset)
