"""The optimiser of one player."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from ganlab.core.distributed import all_reduce_mean_
from ganlab.core.errors import ConfigError
from ganlab.core.players import Player
from ganlab.core.schedules import ScheduleLike, at_step, check_schedule, has_schedule, nonzero_schedule


class PlayerOptimizer:
    """The optimiser of one player, the schedules of its hyper-parameters, and the clipping of its gradient.

    Args:
        make: a `functools.partial` that makes the optimiser from the weights. Its keywords are the
            hyper-parameters, and their values may be schedules.
        clip: the maximum norm of the gradient of all weights; None: the gradient is not clipped. With
            clipping, the norm is recorded.

    Raises:
        ConfigError: the optimiser does not accept a value, or a schedule becomes negative.
    """

    def __init__(self, player: Player, weights: list[nn.Parameter], make: Any, clip: ScheduleLike | None):
        self.player, self.weights = player, weights
        self.clip = None if clip is None else nonzero_schedule(f"clip.{player}", clip)
        self.schedules = {name: value for name, value in make.keywords.items() if has_schedule(value)}
        for name, value in self.schedules.items():
            for schedule in value if isinstance(value, list) else [value]:  # `betas` is a list
                check_schedule(f"optimizer.{player}.{name}", schedule, "[0, inf]")
        try:
            self.optimizer: Optimizer = make(weights, **self._scheduled_values(step=0))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(str(error), key=f"optimizer.{player}") from error

    def _scheduled_values(self, step: int) -> dict[str, Any]:
        return {name: at_step(value, step) for name, value in self.schedules.items()}

    def update(self, step: int, scaler: GradScaler, record: Callable[[str, Tensor], None]) -> None:
        """Updates the weights by their gradients, with the scheduled values at a step of the game.

        Gradients that `scaler` has scaled to infinity or NaN leave the weights as they are.
        """
        for group in self.optimizer.param_groups:
            group.update(self._scheduled_values(step))
        all_reduce_mean_([weight.grad for weight in self.weights if weight.grad is not None])
        scaler.unscale_(self.optimizer)
        if self.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.weights, self.clip(step))
            # An overflow is no divergence: the scaler skips the step.
            record(f"{self.player}/gradient_norm", norm.nan_to_num(0, 0) if scaler.is_enabled() else norm)
        scaler.step(self.optimizer)
        torch.clear_autocast_cache()  # it holds casts of the old weights
