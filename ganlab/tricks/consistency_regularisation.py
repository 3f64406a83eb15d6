import torch
from torch import Tensor

from ganlab.augmentations.base import Augmentation, acting, images, span
from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule, as_schedule
from ganlab.core.turn import Capability, Networks, Sample, Turn, at_least_float32
from ganlab.tricks.base import Compute, Terms, Trick


class ConsistencyRegularisation(Trick):
    """bCR: a sample should be judged as the same one augmented (Zhao et al. 2021, algorithm 1).

    It also minimises lambda_real E (D(x) - D(T(x)))^2 + lambda_fake E (D(G(z)) - D(T(G(z))))^2 of its
    logits; with lambda_fake 0 this is CR (Zhang et al. 2020). Each transform of T meets each image. What is
    judged otherwise stays as it is, and the generator never sees T. Costs a pass of the discriminator for
    each lambda that is not 0.

    geometry, colour, corruption: what T does to images; null leaves one out.
    """

    needs = frozenset({Capability.DISCRIMINATOR, Capability.SCORES})

    def __init__(
        self,
        lambda_real: float | Schedule,
        lambda_fake: float | Schedule,
        geometry: Augmentation | None,
        colour: Augmentation | None,
        corruption: Augmentation | None,
        range: tuple[float, float] | None,
    ):
        super().__init__()
        self.lambda_real = as_schedule(".lambda_real", lambda_real, "[0, inf)")
        self.lambda_fake = as_schedule(".lambda_fake", lambda_fake, "[0, inf)")
        if not (self.lambda_real.maximum or self.lambda_fake.maximum):
            raise ConfigError(
                "trick.consistency_regularisation.lambda_real=0 and lambda_fake=0 would do nothing: give a "
                "positive number for one, or leave it out"
            )
        self.parts = {"geometry": geometry, "colour": colour, "corruption": corruption}
        self.range = range

    def networks(self, networks: Networks) -> Networks:
        shape = images("consistency_regularisation", networks.generator.shape)
        self.span = span("consistency_regularisation", self.range)
        self.acting = acting("consistency_regularisation", self.parts, shape)
        return networks

    def losses(self, turn: Turn, compute: Compute) -> Terms:
        terms = compute(turn)
        if turn.player == "generator":
            return terms
        return {
            **terms,
            **self._term("real", self.lambda_real, turn.real, turn),
            **self._term("fake", self.lambda_fake, turn.fake, turn),
        }

    def _term(self, kind: str, weight: Schedule, sample: Sample, turn: Turn) -> Terms:
        """One number per verdict; none where the weight is 0 throughout."""
        if not weight.maximum:
            return {}
        logits = at_least_float32(turn.judge(sample).logits)
        gap = logits - at_least_float32(turn.judge(self.augment(sample, turn)).logits)
        return {f"consistency_{kind}": weight(turn.step) * gap.square()}

    def augment(self, sample: Sample, turn: Turn) -> Sample:
        """T: every transform meets every image."""
        x: Tensor = at_least_float32(sample.x)
        for part in self.acting:
            x = part(x, torch.ones((), device=x.device), self.span, turn.random, "consistency_regularisation")
        return sample._replace(x=x)
