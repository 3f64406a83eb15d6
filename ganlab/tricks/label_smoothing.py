from ganlab.core.schedules import Schedule, as_schedule
from ganlab.core.turn import Capability, Targets, Turn
from ganlab.tricks.base import Trick


class LabelSmoothing(Trick):
    """One-sided label smoothing (Salimans et al. 2016, section 3.4): the target of real samples is `real`.

    The best discriminator is then `real` p / (p + q). Fakes keep the target 0: a positive one would
    reward samples for staying where they are.
    """

    needs = frozenset({Capability.TARGETS})

    def __init__(self, real: float | Schedule):
        super().__init__()
        self.real = as_schedule(".real", real, "(0.5, 1)")

    def targets(self, targets: Targets, turn: Turn) -> Targets:
        return targets._replace(real=targets.real * self.real(turn.step))
