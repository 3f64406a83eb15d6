"""Spaces other than that of the data in which a game is played: codes, or a lower resolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ganlab.core.errors import require
from ganlab.core.validation import TwoOrMore

if TYPE_CHECKING:
    from ganlab.game import Game


@runtime_checkable
class Space(Protocol):
    """Real samples enter, [N, *data_shape] -> [N, *shape], and what the game makes leaves, differentiable.

    Conditions enter with their samples, in batches or one by one.
    """

    shape: tuple[int, ...]
    data_shape: tuple[int, ...]

    def enter(self, x: Tensor) -> Tensor: ...

    def enter_condition(self, condition: Tensor) -> Tensor: ...

    def leave(self, made: Tensor) -> Tensor: ...


def in_space(space: Space | None, conditions: Callable[[int], Tensor]) -> Callable[[int], Tensor]:
    """A function from n to conditions of the data, as one to those that enter a space."""
    return conditions if space is None else lambda n: space.enter_condition(conditions(n))


class GameReference:
    """A reference that does not make a game a submodule: copies and checkpoints leave it out."""

    def __init__(self, game: Game):
        self.game = game

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


class CodeOf(GameReference):
    """The codes [N, latent_dim] of a trained game, which must have an encoder and no classes."""

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
    """Images of a lower resolution: the means of squares of `factor` x `factor` pixels.

    Args:
        enlargement: what enlarges generated images: `nearest` repeats pixels, `bilinear` interpolates.
        shape: the shape of the data, [C, H, W].

    Raises:
        ConfigError: the data are no images, or the factor does not divide their sides.
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
