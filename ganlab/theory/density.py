"""Games on the line: the densities of their data and, without drawing samples, of what they make."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ganlab.core.errors import ConfigError
from ganlab.game import Game
from ganlab.theory.runs import Run

CELLS = 4000
TAIL = 16.0  # the outermost level has this logit: 1e-7 of the probability is left out
BINS = 240
RARE = 1e-4  # density, per unit of the data


class Line:
    """One game on the line, seen from reach[0] to reach[1] in the units of the data.

    Raises:
        ConfigError: the data are not on the line or of unknown density, or the generator has several latents.
    """

    def __init__(self, overrides: Sequence[str], seed: int, reach: tuple[float, float]):
        self.run = Run(overrides, seed)
        data, latent_dim = self.run.data, self.run.game.generator.latent_dim
        if data.shape != (1,) or data.distribution is None or latent_dim != 1:
            raise ConfigError(
                f"samples of shape {list(data.shape)} from {latent_dim} latents have no density to draw: "
                "choose data=mixture_1d and model.generator.latent_dim=1"
            )
        self.edges = torch.linspace(reach[0], reach[1], BINS + 1, dtype=torch.float64)
        self.x = (self.edges[1:] + self.edges[:-1]) / 2  # [BINS]
        self.log_true = data.distribution.log_prob(self.x[:, None])  # [BINS]
        self.true = self.log_true.exp()

    def made(self, step: int) -> Tensor:
        """The generator's density after a round, [BINS]; rounds are asked for in ascending order."""
        return generated_density(self.run.play(step), self.edges)

    def where_seen(self, made: Tensor, curve: Tensor) -> Tensor:
        """A curve [BINS] over x without those parts, NaN, where hardly a sample lies, real or made."""
        return curve.where(torch.maximum(self.true, made) > RARE, torch.nan)

    def distance(self, made: Tensor) -> float:
        """Total variation between a density and the true one, in [0, 1] up to the bins."""
        return float(((made - self.true).abs() * self.edges.diff()).sum() / 2)


class Quantiles:
    """A `RandomSource` that returns the quantiles of each distribution at given levels: [n] -> [n, 1]."""

    def __init__(self, levels: Tensor):
        self.levels = levels

    def normal(self, name: str, n: int, *shape: int) -> Tensor:
        return torch.special.ndtri(self.uniform(name, n, *shape))

    def uniform(self, name: str, n: int, *shape: int) -> Tensor:
        assert (n, *shape) == (len(self.levels), 1), "the quantiles of one number"
        return self.levels[:, None].clone()  # a prior works in place


@torch.no_grad()
def generated_density(game: Game, edges: Tensor) -> Tensor:
    """The density of the game's samples on the line, as its mean between neighbours of `edges` [E], [E - 1].

    Two neighbouring quantiles of the latent enclose a known probability, which is spread evenly between
    the two samples made of them. For a continuous generator that is exact as they draw near.
    """
    sampler = game.sampler
    levels = torch.linspace(-TAIL, TAIL, CELLS + 1, dtype=torch.float64).sigmoid()  # [CELLS + 1]
    latent = sampler.prior(Quantiles(levels), len(levels), sampler.latent_dim)
    made = sampler(latent.to(next(sampler.parameters()).dtype)).flatten().to(edges.dtype)  # [CELLS + 1]
    low, high = torch.minimum(made[1:], made[:-1]), torch.maximum(made[1:], made[:-1])  # [CELLS]
    # The share of each cell's probability that lies below an edge.
    below = ((edges[:, None] - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)  # [E, CELLS]
    return (below @ levels.diff()).diff() / edges.diff()
