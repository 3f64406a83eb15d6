from ganlab.core.schedules import ScheduleLike, nonzero_schedule
from ganlab.tricks.base import Capability, Sample, Trick, Turn


class InstanceNoise(Trick):
    """Adds Gaussian noise to all inputs of the discriminator (Sonderby et al. 2017; Arjovsky & Bottou 2017).

    The noise makes the supports of the distributions of real and generated samples overlap. `std` is in units
    of the data, and usually falls to zero during training.
    """

    needs = frozenset({Capability.DISCRIMINATOR})

    def __init__(self, std: ScheduleLike):
        super().__init__()
        self.std = nonzero_schedule(".std", std)

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        noise = turn.random.normal("instance_noise", *sample.x.shape)
        return sample._replace(x=sample.x + self.std(turn.step) * noise)
