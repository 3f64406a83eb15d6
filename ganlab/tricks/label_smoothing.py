from ganlab.core.schedules import ScheduleLike, as_schedule
from ganlab.tricks.base import Capability, Targets, Trick, Turn


class LabelSmoothing(Trick):
    """One-sided label smoothing: real samples have the target `real` (Salimans et al. 2016, section 3.4).

    The optimal discriminator is then `real` * p / (p + q), where p and q are the densities of data and fakes.
    Fakes keep the target 0. With a positive target, fakes far from the data would have no incentive to move.
    """

    needs = frozenset({Capability.TARGETS})

    def __init__(self, real: ScheduleLike):
        super().__init__()
        self.real = as_schedule(".real", real, "(0.5, 1)")

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return targets._replace(real=targets.real * self.real(turn.step))
