"""Test errors of a discriminator that classifies."""

from __future__ import annotations

import torch

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import ProtocolFields
from ganlab.metrics.downstream import DownstreamMetric, count_errors


class Errors(DownstreamMetric):
    """The number of test images that the game's own classifier gets wrong; 0 is best.

    The classifier is the discriminator, or a trick's average of it, in evaluation mode. No generated samples
    are used.
    """

    kind = "errors"
    higher_is_better = False
    uses_samples = False
    _num_test = 0
    _classifier = ""

    def num_training(self, data: Data, n_fake: int) -> int:
        return 0

    def check_game(self, game: Game) -> None:
        _ = game.classifier  # raises an error if there is none
        try:
            game.classify(torch.zeros(1, *game.shape, device=next(game.parameters()).device))
        except ConfigError as error:
            remedy = "remove trick=minibatch_stddev, or choose another metric"
            raise ConfigError("needs a discriminator of single images", remedy) from error

    def measure(self, game: Game, data: Data, seed: int) -> float:
        device, network = next(game.parameters()).device, game.discriminator
        self._classifier = "" if network is None else "+".join(game.tricks.names_of("classifier", network))
        self._num_test = len(data.sources["test"])
        return float(count_errors(lambda x: game.classify(x).argmax(1), data, device))

    def protocol(self) -> ProtocolFields:
        classifier = self._classifier or "discriminator"
        return {"unit": "errors", "n_test": self._num_test, "classifier": classifier}
