"""The games of the figures, trained step by step, and the densities of one-dimensional games."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.game import Game
from ganlab.training.build import build

CELLS = 4000  # intervals between the quantiles of the latent; their levels have equidistant logits
MAX_LOGIT = 16.0  # the logit of the highest level, beyond which lies 1e-7 of the probability
BINS = 240  # bins of the x axis
MIN_DENSITY = 1e-4  # per unit of the data; where p and q are lower, functions of them are not drawn
Overrides = Sequence[str]  # overrides of `python -m ganlab.run`
Variants = Mapping[str, Overrides]  # overrides by the name that a figure shows
Ends = tuple[float, float]  # the left and the right end of the x axis, in units of the data


class SteppedRun:
    """A game and its data. The steps of the game equal those of `python -m ganlab.run` on the CPU."""

    def __init__(self, overrides: Overrides, seed: int):
        cfg = compose(*overrides, f"seed={seed}")
        check_config(cfg)
        self.data = build_data(cfg)
        self._module = build(cfg)
        self.game = self._module.game
        self._batches = iter(self.data.stream(seed, lambda: self.game.step, "cpu"))

    def game_after(self, step: int) -> Game:
        """The game after `step` steps, in evaluation mode; steps must not decrease from call to call."""
        self._module.train()
        while self.game.step < step:
            self._module.play_step(next(self._batches))
        return self.game.eval()


def frame_steps(steps: int, frames: int) -> list[int]:
    """At most `frames` steps from 0 to `steps`, dense at first, for the frames of an animation."""
    return sorted({round(steps * (i / (frames - 1)) ** 2) for i in range(frames)})


class DensityRun:
    """A run on one-dimensional data with known density p, and a generator with one latent and density q.

    Args:
        reach: the ends of the interval on which the densities are computed.

    Raises:
        ConfigError: the data are not one-dimensional, their density is unknown, or there are several latents.
    """

    def __init__(self, overrides: Overrides, seed: int, reach: Ends):
        self.stepped = SteppedRun(overrides, seed)
        data, latent_dim = self.stepped.data, self.stepped.game.generator.latent_dim
        if data.shape != (1,) or data.distribution is None or latent_dim != 1:
            reason = f"samples of shape {list(data.shape)} from {latent_dim} latents have no density to draw"
            remedy = "choose data=mixture_1d and model.generator.latent_dim=1"
            raise ConfigError(reason, remedy, ".settings")
        self.edges = torch.linspace(*reach, BINS + 1, dtype=torch.float64)
        self.x = (self.edges[1:] + self.edges[:-1]) / 2  # [BINS]
        self.log_p = data.distribution.log_prob(self.x[:, None])  # [BINS]
        self.p = self.log_p.exp()

    def q(self, step: int) -> Tensor:
        """The generator's density after `step` steps, [BINS]; steps must not decrease from call to call."""
        return generated_density(self.stepped.game_after(step), self.edges)

    def apply_to_densities(self, function: Callable[[Tensor, Tensor], Tensor], q: Tensor) -> Tensor:
        """function(log p, log q) at each x, [BINS]; NaN where hardly any sample lies, real or generated."""
        return function(self.log_p, q.log()).where(torch.maximum(self.p, q) > MIN_DENSITY, torch.nan)

    def total_variation(self, q: Tensor) -> float:
        """The total variation distance of p and q, in [0, 1] up to the width of the bins."""
        return float(((q - self.p).abs() * self.edges.diff()).sum() / 2)


class Quantiles:
    """A `RandomSource` that returns quantiles in place of random numbers: levels in (0, 1), [n] -> [n, 1]."""

    def __init__(self, levels: Tensor):
        self.levels = levels

    def normal(self, name: str, n: int, *shape: int) -> Tensor:
        return torch.special.ndtri(self.uniform(name, n, *shape))

    def uniform(self, name: str, n: int, *shape: int) -> Tensor:
        assert (n, *shape) == (len(self.levels), 1), "one latent"
        return self.levels[:, None].clone()  # a copy, because priors change it in place


@torch.no_grad()
def generated_density(game: Game, edges: Tensor) -> Tensor:
    """The mean density of a game's samples in each bin, without sampling: `edges` of bins [E] -> [E - 1].

    Two neighbouring quantiles of the latent enclose a known probability, which is spread evenly between the
    two samples that are generated from them. For a continuous generator this is exact in the limit of many
    quantiles.
    """
    sampler = game.sampler
    levels = torch.linspace(-MAX_LOGIT, MAX_LOGIT, CELLS + 1, dtype=torch.float64).sigmoid()  # [CELLS + 1]
    latent = sampler.prior(Quantiles(levels), len(levels), sampler.latent_dim)
    x = sampler(latent.to(next(sampler.parameters()).dtype)).flatten().to(edges.dtype)  # [CELLS + 1]
    low, high = torch.minimum(x[1:], x[:-1]), torch.maximum(x[1:], x[:-1])  # [CELLS]
    # The fraction of each cell's probability that lies below each edge.
    below = ((edges[:, None] - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)  # [E, CELLS]
    return (below @ levels.diff()).diff() / edges.diff()
