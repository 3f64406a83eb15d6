"""Direct matching: the generator alone moves, towards the data as a whole."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganlab.distances import Estimator, mmd2
from ganlab.errors import Refused
from ganlab.kernels import Kernel
from ganlab.objectives.base import Objective
from ganlab.ranks import together
from ganlab.schedules import Schedule
from ganlab.turn import Player, Turn, accurate


class MMD(Objective):
    """Squared maximum mean discrepancy in pixels, or its root (Li, Swersky & Zemel 2015)."""

    players = ("generator",)
    offers = frozenset()

    def __init__(
        self, kernel: Kernel, estimator: Estimator, root: bool, weight: Mapping[Player, float | Schedule]
    ):
        super().__init__(weight)
        if estimator not in ("biased", "unbiased"):
            raise Refused(f"objective.estimator={estimator} must be biased or unbiased")
        if root and estimator == "unbiased":
            raise Refused(
                "objective.root=true needs objective.estimator=biased: an unbiased estimate can be negative"
            )
        self.kernel = kernel
        self.estimator: Estimator = estimator
        self.root = root

    def terms(self, turn: Turn) -> dict[str, Tensor]:
        made, real = together(turn.made.x.flatten(1)), together(turn.real.x.flatten(1))  # [W B, D]
        # Nearly equal sums of many kernel values are subtracted: bfloat16 would leave nothing.
        with torch.autocast(made.device.type, enabled=False):
            distance = mmd2(accurate(made), accurate(real), self.kernel, self.estimator)
        # The root has no slope at zero.
        return {"matching": distance.clamp_min(1e-12).sqrt() if self.root else distance}
