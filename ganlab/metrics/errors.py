"""How well a discriminator that tells classes does it."""

from __future__ import annotations

import torch

from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.downstream import Transfer, mistaken


class Errors(Transfer):
    """How many test samples the discriminator's classes get wrong; 0 is best.

    It judges no generated sample. The network is the one that the game classifies with, in evaluation mode.
    """

    kind = "errors"
    higher_is_better = False
    needs_samples = False
    _seen = 0
    _classifier = ""

    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        if (data.num_classes or 0) < 2:
            raise ConfigError(
                "errors are those of classes: these data are unlabelled, or of one; choose others"
            )
        self._data = data

    def check_game(self, game: Game) -> None:
        _ = game.classifier
        try:
            game.classify(torch.zeros(1, *game.shape, device=next(game.parameters()).device))
        except ConfigError as error:
            raise ConfigError(
                "errors/test shows the discriminator single images, which this one does not take (trick "
                "minibatch_stddev): choose another metric, or leave the trick out"
            ) from error

    def share(self, game: Game, data: Data, seed: int) -> float:
        judge = game.discriminator
        self._classifier = "+".join(game.tricks.classifiers(judge)) if judge is not None else ""
        device = next(game.parameters()).device
        wrong, self._seen = mistaken(lambda x: game.classify(x).argmax(1), data, device)
        return float(wrong)

    def protocol(self) -> dict[str, str | int | float]:
        return {"unit": "errors", "n_test": self._seen, "classifier": self._classifier or "discriminator"}
