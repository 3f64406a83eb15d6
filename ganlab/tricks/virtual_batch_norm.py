from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.core.randomness import RandomStreams
from ganlab.core.validation import TwoOrMore
from ganlab.networks.base import Branching, Conditioned, InputTransform, replace_modules
from ganlab.networks.norms import BATCH_NORMS, VirtualNorm
from ganlab.tricks.base import Capability, Networks, Order, Trick


class VirtualBatchNorm(Trick):
    """Virtual batch norm in the generator (Salimans et al. 2016, section 3.5).

    Each sample is normalised by the statistics of a fixed reference batch extended by the sample itself. So
    a sample does not depend on the others of its batch, and training and evaluation are the same. The
    reference passes through the network with every batch, which costs `size` more samples per pass.
    """

    order = Order.REPLACE
    needs = frozenset({Capability.TRAINED_GENERATOR})
    claims = frozenset({Capability.GENERATOR_NORM})

    def __init__(self, size: TwoOrMore):
        super().__init__()
        self.size = size

    def networks(self, networks: Networks) -> None:
        generator = networks.generator
        replaced = replace_modules(generator.body, BATCH_NORMS, lambda norm: VirtualNorm(norm, self.size))
        remedy = "choose model=dcgan, or model.generator.batch_norm=true"
        require(replaced, "needs a generator with batch norm", remedy)
        # `Tricks` seeds torch's default generator for this hook, from the run's seed and the trick's name.
        reference = generator.prior(RandomStreams(torch.initial_seed()), self.size, generator.latent_dim)
        # It is the first, so that those which the network was built with append the conditions of all rows.
        generator.latent_transforms.insert(0, PrependReference(reference, networks.conditions(self.size)))
        generator.body = DropReference(generator.body, self.size)


class PrependReference(InputTransform):
    """Prepends the latents and conditions, if any, of a reference batch: [B, D] -> [size + B, D]."""

    def __init__(self, reference: Tensor, conditions: Tensor | None):
        super().__init__()
        self.latent = nn.Buffer(reference)
        self.conditions = None if conditions is None else nn.Buffer(conditions)

    def forward(self, latent: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if condition is not None and self.conditions is not None:
            condition = torch.cat([self.conditions.to(condition.dtype), condition])
        return torch.cat([self.latent.to(latent.dtype), latent]), condition


class DropReference(Branching, Conditioned):
    """A generator's body without the output of the reference batch: [size + B, ...] -> [B, *shape]."""

    def __init__(self, body: nn.Module, size: int):
        super().__init__()
        self.body, self.size = body, size

    def branches(self) -> Sequence[nn.Module]:
        return [self.body]

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self.body(x, condition)[self.size :]
