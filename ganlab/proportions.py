"""Classes as often as others have them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def in_proportion(counts: Sequence[int], n: int) -> Tensor:
    """Classes, int64 [n], class k being counts[k] / sum of them all; in turn where all counts are equal.

    The i-th hangs not on n, and any first so many hold the classes in proportion: the j-th of class k comes
    at (j + 1/2) / counts[k], as seats are dealt by Webster's method.
    """
    share = torch.tensor(counts, dtype=torch.float64)
    enough = ((n + len(share) / 2) * share / share.sum()).ceil().long() + 1
    classes = torch.repeat_interleave(torch.arange(len(share)), enough)
    place = torch.arange(len(classes)) - (enough.cumsum(0) - enough)[classes]  # among its class
    return classes[((place + 0.5) / share[classes]).argsort(stable=True)[:n]]
