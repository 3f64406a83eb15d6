"""A user's own trick that raises in the third step."""

from collections.abc import Callable

from torch import Tensor

from ganlab.core.turn import Turn
from ganlab.tricks.base import Trick


class Breaking(Trick):
    def losses(self, turn: Turn, compute: Callable[[Turn], dict[str, Tensor]]) -> dict[str, Tensor]:
        if turn.step == 2:
            raise RuntimeError("it broke")
        return compute(turn)
