from ganlab.core.schedules import Schedule, schedule
from ganlab.core.turn import Capability, Targets, Turn
from ganlab.tricks.base import Trick


class LabelSmoothing(Trick):
    """One-sided label smoothing lowers the target of real samples to `real` (Salimans et al. 2016, section 3.4).

    The optimal discriminator is then `real` p / (p + q), where p and q are the densities of data and fakes.
    Fakes keep the target 0: with a positive one, fakes far from the data would have no incentive to move.
    """

    needs = frozenset({Capability.TARGETS})

    def __init__(self, real: float | Schedule):
        super().__init__()
        self.real = schedule(".real", real, low=0.5, high=1, strict=True)

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return targets._replace(real=targets.real * self.real(turn.step))
