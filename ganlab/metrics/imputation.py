"""How close generated values come to the true values that were missing."""

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.base import GENERATED, Generated, SampleMetric
from ganlab.metrics.features import ProtocolFields


class ImputationError(SampleMetric):
    """The root mean square error of the missing pixels of all test images, in units of the data; 0 is best.

    The game draws one sample for each test image, given its known pixels. A draw that is right in
    distribution has sqrt(2) times the error of the best prediction, which is the conditional mean.
    """

    references = ("test",)
    names = ("imputation_error/test",)
    higher_is_better = False
    needs_game = True

    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        has_mask = data.condition is not None and data.condition.names[-1:] == ("mask",)
        require(has_mask, "needs data with missing values", "choose data=missing_digits, or another metric")
        self._data, self._n = data, len(data.sources["test"])

    def update(self, x: Tensor, split: Split | Generated = GENERATED) -> None:
        """Does nothing, because the metric draws samples of its own."""

    def observe_game(self, game: Game, seed: int) -> None:
        x, condition = next(self._data.split("test", "cpu", self._n))
        assert condition is not None
        difference = (game.sample(self._n, seed, condition).cpu() - x).double()
        is_missing = (condition[:, -1:] <= 0).expand_as(x)
        self._value = float(difference[is_missing].square().mean().sqrt())

    def compute(self) -> dict[str, float]:
        return {self.names[0]: self._value}

    def reset(self) -> None:
        del self._value

    def protocol(self) -> ProtocolFields:
        return {"n_fake": self._n, "unit": "the range of the data", "torch": str(torch.__version__)}
