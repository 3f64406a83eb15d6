"""How close generated samples come to the real ones that belong to their conditions."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.metrics.base import Data, Game, GameMetric, ProtocolFields

CHUNK = 1000  # conditions that are answered at a time


def require_pairs(data: Data, cause: str = "needs") -> None:
    """Raises `ConfigError` unless the data are pairs of a condition and its right sample.

    Args:
        cause: the verb of the message, and why such data are needed.
    """
    is_paired = data.condition is not None and data.condition.paired
    reason = f"{cause} data in which each condition has its right sample"
    require(is_paired, reason, "choose data=paired_folder, or another metric")


def answered_conditions(data: Data, game: Game, seed: int, chunk: int) -> Iterator[tuple[Tensor, ...]]:
    """Yields samples for the test conditions, the right samples, and the conditions, on the CPU."""
    for i, (x, condition) in enumerate(data.split("test", "cpu", chunk)):
        assert condition is not None
        yield game.sample(len(x), seed + i, condition).cpu(), x, condition


class OfTestPairs(GameMetric):
    """Base class of metrics of a game's samples for the test conditions."""

    references = ("test",)
    unit = "the range of the data"

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        require_pairs(data)
        self._data, self._n = data, len(data.sources["test"])

    def check_game(self, game: Game) -> None:
        is_told, remedy = game.generator.condition is not None, "choose model=pix2pix, or another metric"
        require(is_told, "needs a generator that is told the conditions", remedy)

    def protocol(self) -> ProtocolFields:
        return {"n_fake": self._n, "unit": self.unit, "torch": str(torch.__version__)}


class PairError(OfTestPairs):
    """The mean absolute error of one sample for each test condition, in units of the data; 0 is best.

    This is the L1 term of Isola et al. 2017 (eq. 3) on test pairs.
    """

    names = ("pair_error/test",)
    higher_is_better = False

    def measure(self, game: Game, seed: int) -> float:
        answered = answered_conditions(self._data, game, seed, CHUNK)
        errors = [self.errors((sample - x).double(), condition) for sample, x, condition in answered]
        return float(torch.cat(errors).mean())

    def errors(self, difference: Tensor, condition: Tensor) -> Tensor:
        """The errors [M] whose mean counts, of differences [N, C, H, W] from the real samples."""
        return difference.abs().flatten()


class ImputationError(PairError):
    """The root mean square error of the missing pixels of all test images, in units of the data; 0 is best.

    The game draws one sample for each test image, given its known pixels. A draw that is right in
    distribution has sqrt(2) times the error of the best prediction, which is the conditional mean.
    """

    names = ("imputation_error/test",)

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        has_mask = data.condition is not None and data.condition.names[-1:] == ("mask",)
        require(has_mask, "needs data with missing values", "choose data=masked, or another metric")
        super().setup(data, n_fake, n_real)

    def measure(self, game: Game, seed: int) -> float:
        return super().measure(game, seed) ** 0.5

    def errors(self, difference: Tensor, condition: Tensor) -> Tensor:
        is_missing = (condition[:, -1:] <= 0).expand_as(difference)
        return difference[is_missing].square()


class InputSensitivity(OfTestPairs):
    """How much samples of the test conditions depend on the condition and on the noise, and differ from it.

    Each value is a mean absolute difference, relative to that of real samples x with conditions c:

        input_sensitivity: |G(c, z) - G(c', z)| / |x - x'|; near 0 if the condition is ignored
        noise_sensitivity: |G(c, z) - G(c, z')| / |x - x'|; near 0 if the noise is ignored, or there is none
        input_change:      |G(c, z) - c| / |x - c|; near 0 if the condition is copied

    c' is the condition of the previous test sample, and x' that sample. Of a condition with further channels,
    such as a mask, only those of samples count.
    """

    names = ("input_sensitivity/test", "noise_sensitivity/test", "input_change/test")
    unit = "the difference of real samples"
    higher_is_better = True

    def measure(self, game: Game, seed: int) -> list[float]:
        sums = torch.zeros(5, dtype=torch.float64)
        for i, (x, condition) in enumerate(self._data.split("test", "cpu", CHUNK)):
            assert condition is not None
            told, n = condition[:, : x.shape[1]], len(x)
            sample = game.sample(n, seed + 2 * i, condition).cpu()
            of_other_input = game.sample(n, seed + 2 * i, condition.roll(1, 0)).cpu()
            of_other_noise = game.sample(n, seed + 2 * i + 1, condition).cpu()
            of_sample = [(sample - other).abs() for other in (of_other_input, of_other_noise, told)]
            of_real = [(x - other).abs() for other in (x.roll(1, 0), told)]
            sums += torch.stack([difference.double().mean() * n for difference in of_sample + of_real])
        return (sums[:3] / sums[[3, 3, 4]]).tolist()
