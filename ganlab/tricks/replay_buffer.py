from typing import Annotated

import torch
from torch import Tensor

from ganlab.core.turn import Capability, Networks, Player, Sample, Turn
from ganlab.core.validation import Count
from ganlab.tricks.base import Trick


class ReplayBuffer(Trick):
    """The discriminator also sees fakes of earlier rounds (Shrivastava et al. 2017, section 2.3).

    Once `size` fakes are stored, each new one is, with probability `share`, exchanged for a stored
    one; otherwise it is shown itself. The class of a fake stays with it.
    """

    # Each rank would have a buffer of its own, of which only the first one's is saved.
    needs = frozenset({Capability.DISCRIMINATOR, Capability.ONE_PROCESS})
    counts = ("stored",)
    samples: Tensor
    classes: Tensor

    def __init__(self, size: Count, share: Annotated[float, "(0, 1]"]):
        super().__init__()
        self.size = size
        self.share = share
        self.stored = 0
        # Places, and what is to stand there once the discriminator has moved: a look ahead stores nothing.
        self._next: tuple[Tensor, Tensor, Tensor | None] | None = None

    def networks(self, networks: Networks) -> Networks:
        self.register_buffer("samples", torch.zeros(self.size, *networks.generator.shape))
        self.register_buffer("classes", torch.zeros(self.size, dtype=torch.long))
        return networks

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        return self._exchange(fake, turn) if self.stored == self.size else self._fill(fake)

    def after(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator" and self._next is not None:
            place, x, classes = self._next
            self.samples[place] = x.to(self.samples.dtype)
            if classes is not None:
                self.classes[place] = classes
            self.stored = min(self.stored + len(place), self.size)
            self._next = None

    def _fill(self, fake: Sample) -> Sample:
        n = min(len(fake.x), self.size - self.stored)
        place = torch.arange(self.stored, self.stored + n, device=fake.x.device)
        classes = None if fake.condition is None else fake.condition[:n]
        self._next = place, fake.x.detach()[:n], classes
        return fake

    def _exchange(self, fake: Sample, turn: Turn) -> Sample:
        n = min(len(fake.x), self.size)  # what goes beyond the buffer is shown as it is
        # The places of the n largest of `size` uniform numbers: n different ones, without a host sync.
        place = turn.random.uniform("replay_buffer", self.size).topk(n).indices  # [n]
        old = turn.random.uniform("replay_buffer", n) < self.share  # [n]
        x, kept = swapped(self.samples[place], fake.x.detach(), old)
        if fake.condition is None:
            self._next = place, kept, None
            return Sample(x)
        classes, kept_classes = swapped(self.classes[place], fake.condition, old)
        self._next = place, kept, kept_classes
        return Sample(x, classes)


def swapped(past: Tensor, new: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
    """What is shown, [B, ...], and what is stored, [n, ...]: the past where `old` [n], and the other one."""
    first, rest = new[: len(past)], new[len(past) :]
    old = old.view(-1, *[1] * (new.ndim - 1))
    shown = torch.where(old, past.to(new.dtype), first)
    return torch.cat([shown, rest]), torch.where(old, first, past.to(new.dtype))
