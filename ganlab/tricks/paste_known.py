from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganlab.core.errors import require
from ganlab.networks.base import Branching, Conditioned
from ganlab.networks.incomplete import is_incomplete, known_and_mask
from ganlab.tricks.base import Capability, Networks, Order, Trick


class PasteKnown(Trick):
    """The known pixels of an incomplete image are pasted into the generator's output (Yeh et al. 2017).

    They come back bit for bit, in training and afterwards, so that all losses are about the missing pixels.
    """

    order = Order.REPLACE
    needs = frozenset({Capability.TRAINED_GENERATOR})
    needs_mask: ClassVar[bool] = True

    def networks(self, networks: Networks) -> None:
        reason = "needs data whose condition is known pixels and a last channel with the name mask"
        require(is_incomplete(networks), reason, "choose data=masked, or remove the trick")
        networks.generator.body = Pasted(networks.generator.body)


class Pasted(Branching, Conditioned):
    """The body of a generator, whose output is replaced where the condition has known pixels."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def branches(self) -> Sequence[nn.Module]:
        return [self.body]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        known, mask = known_and_mask(condition)
        return torch.where(mask, known, self.body(x, condition))
