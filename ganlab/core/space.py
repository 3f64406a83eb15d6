"""Spaces in which a game is played: that of the data, codes, or a lower resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ganlab.core.errors import require
from ganlab.core.validation import TwoOrMore

if TYPE_CHECKING:
    from ganlab.game import Game


class Space:
    """Real samples enter, [N, *data_shape] -> [N, *shape], and what the game makes leaves, differentiable.

    Conditions enter with their samples, in batches or one by one. In this space, that of the data, all stay
    as they are.
    """

    def __init__(self, shape: Sequence[int]):
        self.shape = self.data_shape = tuple(shape)

    def enter(self, x: Tensor) -> Tensor:
        return x

    def enter_condition(self, condition: Tensor) -> Tensor:
        return condition

    def leave(self, made: Tensor) -> Tensor:
        return made


class GameReference:
    """A reference that does not make a game a submodule: copies and checkpoints leave it out."""

    def __init__(self, game: Game):
        self.game = game

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class CodeOf(GameReference, Space):
    """The codes [N, latent_dim] of a trained game, which must have an encoder and no conditions."""

    def __init__(self, game: Game):
        told = game.generator.condition
        reason = f"needs a game that is told no condition, and this one is told: {told and told.kind}"
        require("encoder" in game.networks, "needs a game with an encoder", "choose another", "code_of")
        require(told is None, reason, "choose another", "code_of")
        super().__init__(game)
        self.shape, self.data_shape = (game.generator.latent_dim,), game.shape

    def enter(self, x: Tensor) -> Tensor:
        return self.game.encode(x)

    def leave(self, made: Tensor) -> Tensor:
        return self.game.generate_in_eval_mode(made)


class Pooled(Space):
    """Images of a lower resolution: the means of `factor` x `factor` pixels, into which they divide.

    Args:
        enlargement: what enlarges generated images: `nearest` repeats pixels, `bilinear` interpolates.
    """

    def __init__(self, factor: TwoOrMore, enlargement: Literal["nearest", "bilinear"], shape: Sequence[int]):
        fits = len(shape) == 3 and not any(side % factor for side in shape[1:])
        reason = f"does not divide the sides of samples of shape {list(shape)}"
        require(fits, reason, "choose another, for images", ".factor", factor)
        super().__init__(shape)
        self.factor, self.enlargement = factor, enlargement
        self.shape = (shape[0], shape[1] // factor, shape[2] // factor)

    def enter(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.factor)

    def enter_condition(self, condition: Tensor) -> Tensor:
        return self.enter(condition) if condition.ndim >= 3 else condition  # only images have so many

    def leave(self, made: Tensor) -> Tensor:
        return interpolate(made, scale_factor=self.factor, mode=self.enlargement)
