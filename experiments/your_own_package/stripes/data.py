"""Images of stripes."""

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Stripes(Dataset):
    """Grey images [1, size, size] in [0, 1] with one bright stripe, and its direction as the class.

    Args:
        start: the number of the first image; each number has an image of its own.
    """

    classes = ("horizontal", "vertical")

    def __init__(self, n: int, size: int, start: int):
        self.n, self.size, self.start = n, size, start

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(self.start + i)
        direction, place = i % 2, int(torch.randint(self.size, (), generator=generator))
        image = 0.2 * torch.rand(1, self.size, self.size, generator=generator)
        image.select(1 + direction, place).add_(0.8)
        return image, direction
