"""Networks of trained games that other games use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ganlab.core.space import GameReference
from ganlab.networks.base import evaluating

if TYPE_CHECKING:
    from ganlab.game import Game


class Borrowed(GameReference):
    """A network of a trained game as that game presents it, such as its averaged generator.

    It is called like the network and has its attributes. It is frozen, and always in evaluation mode. It is
    no submodule of the game that borrows it, which neither trains nor saves it, and whose copies share it.
    """

    def __init__(self, game: Game, name: str):
        super().__init__(game)
        self.name = name

    def __call__(self, *args: Any, **settings: Any) -> Any:
        with evaluating(self.game.presented(self.name)) as network:
            return network(*args, **settings)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "game":  # python asks for these while it unpickles the object
            raise AttributeError(name)
        return getattr(self.game.presented(self.name), name)
