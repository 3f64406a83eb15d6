"""Real runs to draw: games as their configs build them, played round by round without a Trainer."""

from collections.abc import Iterator, Sequence

from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.game import Game
from ganlab.training.build import build


class Run:
    """A game and its data; `overrides` are those of `python -m ganlab.run`.

    Its rounds are those of that command with the same overrides and seed, on the CPU.
    """

    def __init__(self, overrides: Sequence[str], seed: int):
        cfg = compose(*overrides, f"seed={seed}")
        check_config(cfg)
        self.data = build_data(cfg)
        self._module = build(cfg)
        self._batches = iter(self.data.stream(seed, lambda: self.game.step, "cpu"))

    @property
    def game(self) -> Game:
        return self._module.game

    def play(self, until: int) -> Game:
        """The game after `until` rounds, in evaluation mode."""
        self._module.train()
        while self.game.step < until:
            self._module.play_step(next(self._batches))
        return self.game.eval()


def schedule(steps: int, frames: int) -> Iterator[int]:
    """The rounds to draw, from 0 to `steps`: at first in quick succession, then ever more rarely."""
    rounds = {round(steps * (i / (frames - 1)) ** 2) for i in range(frames)}
    yield from sorted(rounds)
