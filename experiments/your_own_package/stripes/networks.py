"""Plain torch modules. They know nothing of ganlab."""

from math import prod

import torch
from torch import Tensor, nn


class Maker(nn.Module):
    """A generator: latents [B, latent_dim] -> images [B, *shape] in [-1, 1]."""

    def __init__(self, latent_dim: int, width: int, shape: list[int]):
        super().__init__()
        self.hidden, self.pixels = nn.Linear(latent_dim, width), nn.Linear(width, prod(shape))
        self.shape = shape

    def forward(self, latent: Tensor) -> Tensor:
        return self.pixels(self.hidden(latent).relu()).tanh().unflatten(1, self.shape)


class Judge(nn.Module):
    """A discriminator: images [B, *shape] -> logits [B, 1] and features [B, width]."""

    def __init__(self, width: int, shape: list[int]):
        super().__init__()
        self.hidden, self.score = nn.Linear(prod(shape), width), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.nn.functional.leaky_relu(self.hidden(x.flatten(1)), 0.2)
        return self.score(features), features
