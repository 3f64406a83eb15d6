"""The games of the figures, trained step by step, and the densities of one-dimensional games."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganlab.config import build, checks, compose, load, prepare
from ganlab.core.errors import ConfigError
from ganlab.game import Game
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play

NUM_BINS = 240  # the number of intervals of the x axis
# To compute the density of a generator's samples, the values of its latent are divided into NUM_CELLS cells.
# The ends of the cells are the quantiles at the probabilities sigmoid(t), for t at equal distances from
# -MAX_LOGIT to MAX_LOGIT. So a probability of only 1e-7 is left out at each side.
NUM_CELLS, MAX_LOGIT = 4000, 16.0
MIN_DENSITY = 1e-4  # where both densities are lower, per unit of the data, they are not compared
Overrides = Sequence[str]  # overrides of `python -m ganlab.run`
Variants = Mapping[str, Overrides]  # for figures of several games: the name of each, and its overrides
AxisLimits = tuple[float, float]  # the left and the right end of an x axis, in the units of the data


class SteppedRun:
    """A game that is trained step by step, exactly as `python -m ganlab.run` trains it on the CPU."""

    def __init__(self, settings: Overrides, seed: int):
        cfg = compose.compose(*settings, f"seed={seed}")
        checks.check_config(cfg)
        self.data = build.build_data(cfg)
        self._module = GameModule(prepare.build_phases(cfg, load.build_run(cfg), Phase, Play))
        self.game = self._module.game
        self._batches = iter(self.data.stream(seed, lambda: self.game.run_step, "cpu"))

    def game_after(self, step: int) -> Game:
        """The game after `step` steps, in evaluation mode. Later calls must not be for earlier steps."""
        self._module.train()
        while self.game.run_step < step:
            self._module.play_step(next(self._batches))
        return self.game.eval()


def frame_steps(steps: int, frames: int) -> list[int]:
    """The steps that an animation shows: at most `frames`, from 0 to `steps`, at increasing intervals."""
    return sorted({round(steps * (i / (frames - 1)) ** 2) for i in range(frames)})


class DensityRun(SteppedRun):
    """A run of one-dimensional data with a known density p, and of a generator with one-dimensional latents.

    The densities are computed in intervals between `x_limits`.

    Raises:
        ConfigError: data or latents are not one-dimensional, or the density of the data is unknown.
    """

    def __init__(self, settings: Overrides, seed: int, x_limits: AxisLimits):
        super().__init__(settings, seed)
        data, latent_dim = self.data, self.game.generator.latent_dim
        if data.shape != (1,) or data.distribution is None or latent_dim != 1:
            reason = f"samples of shape {list(data.shape)} with {latent_dim=} have no density to draw"
            raise ConfigError(reason, "choose data=mixture_1d and model.generator.latent_dim=1", ".settings")
        self.edges = torch.linspace(*x_limits, NUM_BINS + 1, dtype=torch.float64)
        self.x = (self.edges[1:] + self.edges[:-1]) / 2  # the centres of the intervals, [NUM_BINS]
        self.log_p = data.distribution.log_prob(self.x[:, None])  # [NUM_BINS]
        self.p = self.log_p.exp()

    def q(self, step: int) -> Tensor:
        """The density q after `step` steps, [NUM_BINS]. Later calls must not be for earlier steps.

        The result is the mean density in each interval of the x axis, computed without random samples.
        Quantiles divide the values of the latent into cells of known probability. The generator maps the two
        ends of a cell to two samples, and the probability of the cell is spread evenly between them. For a
        continuous generator the result is exact in the limit of many cells.
        """
        network = self.game_after(step).presented("generator")
        levels = torch.linspace(-MAX_LOGIT, MAX_LOGIT, NUM_CELLS + 1, dtype=torch.float64).sigmoid()
        latent = network.prior(Quantiles(levels), len(levels), network.latent_dim)
        with torch.no_grad():
            x = network(latent.to(next(network.parameters()).dtype)).flatten().double()  # [NUM_CELLS + 1]
        low, high = torch.minimum(x[1:], x[:-1]), torch.maximum(x[1:], x[:-1])  # [NUM_CELLS]
        # The fraction of the probability of each cell that lies below each edge, [NUM_BINS + 1, NUM_CELLS].
        fractions = ((self.edges[:, None] - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)
        cumulative = fractions @ levels.diff()  # the probability below each edge, [NUM_BINS + 1]
        return cumulative.diff() / self.edges.diff()

    def log_ratio(self, q: Tensor) -> Tensor:
        """log(p / q), [NUM_BINS]; NaN where both densities are too low to compare."""
        return (self.log_p - q.log()).where(torch.maximum(self.p, q) > MIN_DENSITY, torch.nan)

    def total_variation(self, q: Tensor) -> float:
        """The total variation distance of p and q, in [0, 1]; exact in the limit of many intervals."""
        return float(((q - self.p).abs() * self.edges.diff()).sum() / 2)


class Quantiles:
    """A `RandomSource` that returns the quantiles at N levels in (0, 1) instead of random numbers, [N, 1]."""

    def __init__(self, levels: Tensor):
        self.levels = levels

    def normal(self, name: str, n: int, *shape: int) -> Tensor:
        return torch.special.ndtri(self.uniform(name, n, *shape))

    def uniform(self, name: str, n: int, *shape: int) -> Tensor:
        assert (n, *shape) == (len(self.levels), 1), "there are quantiles for latents of size 1 only"
        return self.levels[:, None].clone()  # a copy, because priors change what they receive in place
