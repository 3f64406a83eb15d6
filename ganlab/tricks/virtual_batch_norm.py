import torch
from torch import Tensor, nn

from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Capability, Networks
from ganlab.core.validation import TwoOrMore
from ganlab.networks.base import Conditioned, Generator, replace_modules
from ganlab.networks.norms import BATCH_NORMS, VirtualNorm
from ganlab.tricks.base import Order, Trick


class VirtualBatchNorm(Trick):
    """Virtual batch norm in the generator (Salimans et al. 2016, section 3.5).

    Each sample is normalised by the statistics of a fixed reference batch and of itself, as if it were
    the one further row of that batch; so it depends on no other sample of its own batch, in training
    and in evaluation alike. The reference runs through the network in front of every batch: a round
    costs `size` more rows.
    """

    order = Order.REPLACE
    claims = frozenset({Capability.GENERATOR_NORM})

    def __init__(self, size: TwoOrMore):
        super().__init__()
        self.size = size

    def networks(self, networks: Networks) -> Networks:
        generator = networks.generator
        if not replace_modules(generator.body, BATCH_NORMS, lambda norm: VirtualNorm(norm, self.size)):
            raise ConfigError(
                "trick virtual_batch_norm needs a generator with batch norm: choose model=dcgan, "
                "or model.generator.batch_norm=true"
            )
        generator.latents.append(Reference(generator, self.size, networks.num_classes))
        generator.body = WithoutReference(generator.body, self.size)
        return networks


class Reference(Conditioned):
    """Puts the reference's latents, and their classes in turn, in front of a batch."""

    latent: Tensor
    classes: Tensor

    def __init__(self, generator: Generator, size: int, num_classes: int | None):
        super().__init__()
        self.register_buffer(
            "latent", generator.prior(RandomStreams(torch.initial_seed()), size, generator.latent_dim)
        )
        self.register_buffer("classes", torch.arange(size) % (num_classes or 1))

    def forward(self, latent: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
        latent = torch.cat([self.latent.to(latent.dtype), latent])
        return latent, None if condition is None else torch.cat([self.classes, condition])


class WithoutReference(Conditioned):
    """A generator's body that drops the reference's rows from what it made."""

    def __init__(self, body: nn.Module, size: int):
        super().__init__()
        self.body = body
        self.size = size

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self.body(x, condition)[self.size :]
