"""The scalars of a step, between the loop that records them and the callbacks that read them."""

from __future__ import annotations

import torch
from torch import Tensor

from ganlab.core.distributed import mean_over_ranks


class Recorder:
    """Holds the scalars of the latest step.

    Attributes:
        scalars: "player/term" of the losses, "player/gradient_norm", and "trick/name" of the tricks, each
            after "stage/" in a stage before the last. Tensors [] on their device: reading one waits for it.
        metrics: the metrics by name, if the step was evaluated.
    """

    def __init__(self) -> None:
        self.scalars: dict[str, Tensor] = {}
        self.metrics: dict[str, float] = {}

    def record(self, name: str, value: Tensor) -> None:
        self.scalars[name] = value.detach()

    def read(self, **more: Tensor) -> dict[str, float]:
        """All scalars, and more, as means over the processes, in a single wait for the device."""
        scalars = self.scalars | more
        return dict(zip(scalars, mean_over_ranks(torch.stack([*scalars.values()])).tolist(), strict=True))
