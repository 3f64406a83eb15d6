"""Spaces in which a game is played instead of the space of the data: codes, or a lower resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ganlab.core.errors import require
from ganlab.core.validation import TwoOrMore

if TYPE_CHECKING:
    from ganlab.game import Game


class Space(Protocol):
    """A space of samples [N, *shape]. Real samples enter it, and what the game makes leaves it."""

    shape: tuple[int, ...]
    data_shape: tuple[int, ...]

    def enter(self, x: Tensor) -> Tensor:
        """Converts samples of the data, [N, *data_shape] -> [N, *shape]."""

    def enter_condition(self, condition: Tensor) -> Tensor:
        """Converts conditions of the data, [N, ...], or a single one."""

    def leave(self, made: Tensor) -> Tensor:
        """Converts what a game makes, [N, *shape] -> [N, *data_shape]; differentiable."""


class GameReference:
    """A reference that does not make a game a submodule: copies and checkpoints leave it out."""

    def __init__(self, game: Game):
        self.game = game

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class CodeOf(GameReference):
    """The codes of a trained game: its encoder encodes, [N, latent_dim], and its generator decodes.

    Raises:
        ConfigError: the game has no encoder, or its generator is told classes.
    """

    def __init__(self, game: Game):
        can_encode = "encoder" in game.networks and not game.generator.num_classes
        reason = "needs a game with an encoder and without classes"
        require(can_encode, reason, "choose another", "code_of")
        super().__init__(game)
        self.shape: tuple[int, ...] = (game.generator.latent_dim,)
        self.data_shape = game.shape

    def enter(self, x: Tensor) -> Tensor:
        return self.game.encode(x)

    def enter_condition(self, condition: Tensor) -> Tensor:
        return condition

    def leave(self, made: Tensor) -> Tensor:
        return self.game.generate_in_eval_mode(made)


class Pooled:
    """Images of a lower resolution: the means of squares of pixels.

    Args:
        factor: the side of a square.
        enlargement: how generated images are enlarged when they leave: `nearest` repeats each pixel,
            `bilinear` interpolates.
        shape: the shape of the data, [C, H, W].

    Raises:
        ConfigError: the data are no images, or their sides are no multiples of the factor.
    """

    def __init__(self, factor: TwoOrMore, enlargement: Literal["nearest", "bilinear"], shape: Sequence[int]):
        fits = len(shape) == 3 and not any(side % factor for side in shape[1:])
        reason = f"does not divide the sides of samples of shape {list(shape)}"
        require(fits, reason, "choose another, for images", ".factor", factor)
        self.factor, self.enlargement, self.data_shape = factor, enlargement, tuple(shape)
        self.shape: tuple[int, ...] = (shape[0], shape[1] // factor, shape[2] // factor)

    def enter(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, self.factor)

    def enter_condition(self, condition: Tensor) -> Tensor:
        return self.enter(condition) if condition.ndim >= 3 else condition  # only images have so many

    def leave(self, made: Tensor) -> Tensor:
        return interpolate(made, scale_factor=self.factor, mode=self.enlargement)
