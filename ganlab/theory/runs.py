"""Games that figures show, trained step by step without a Trainer."""

from collections.abc import Mapping, Sequence

from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.game import Game
from ganlab.training.build import build

Overrides = Sequence[str]  # of the config of `python -m ganlab.run`
Variants = Mapping[str, Overrides]  # by the name that a figure shows


class SteppedRun:
    """A game and its data. Its steps equal those of `python -m ganlab.run` on the CPU."""

    def __init__(self, overrides: Overrides, seed: int):
        cfg = compose(*overrides, f"seed={seed}")
        check_config(cfg)
        self.data = build_data(cfg)
        self._module = build(cfg)
        self.game = self._module.game
        self._batches = iter(self.data.stream(seed, lambda: self.game.step, "cpu"))

    def game_after(self, step: int) -> Game:
        """The game after `step` steps, in evaluation mode; calls must not go back."""
        self._module.train()
        while self.game.step < step:
            self._module.play_step(next(self._batches))
        return self.game.eval()


def frame_steps(steps: int, frames: int) -> list[int]:
    """The steps that an animation shows, at most `frames` from 0 to `steps`; dense at first, then sparse."""
    return sorted({round(steps * (i / (frames - 1)) ** 2) for i in range(frames)})
