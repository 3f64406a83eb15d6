"""The Lightning module that plays the games of a run."""

import sys
from collections.abc import Iterable

from pytorch_lightning.utilities import rank_zero_only
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.config.phases import PhaseSettings
from ganlab.game import Game
from ganlab.training.module import GameModule, Phase
from ganlab.tricks.gradient_regulariser import GradientRegulariser


def build_module(phases: Iterable[PhaseSettings]) -> GameModule:
    """The module of a run, with all of its phases.

    Raises:
        ConfigError: an optimiser refuses its settings.
    """
    return GameModule([build_phase(settings) for settings in phases])


def build_phase(settings: PhaseSettings) -> Phase:
    """The phase of a run that plays a stage, or the main game."""
    if settings.compile:
        for part in settings.game.parts.values():
            part.compile()
    with settings.naming():
        return Phase(
            settings.game,
            settings.play,
            settings.make_optimizer,
            settings.clip,
            settings.seed,
            settings.name,
            settings.steps,
            settings.initialise,
        )


@rank_zero_only
def warn_of_batch_norm(game: Game) -> None:
    """Warns if a trick penalises the gradient at each sample, but batch norm couples the samples."""
    names = [name for name, trick in game.tricks.items() if isinstance(trick, GradientRegulariser)]
    layers = () if game.discriminator is None else game.discriminator.modules()
    if names and any(isinstance(layer, _BatchNorm) for layer in layers):
        reason = "the discriminator has batch norm, so the gradient at a sample depends on its whole batch"
        print(f"{', '.join(names)}: {reason}; trick=normalisation removes it", file=sys.stderr)
