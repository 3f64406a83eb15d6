from typing import Annotated

import torch
from torch import Tensor, nn

from ganlab.core.turn import Capability, Networks, Player, Sample, Turn
from ganlab.core.validation import Count
from ganlab.tricks.base import Trick


class ReplayBuffer(Trick):
    """The discriminator also judges fakes of earlier steps (Shrivastava et al. 2017, section 2.3).

    Once `size` fakes are stored, each new one is exchanged for a stored one with probability `share`;
    otherwise the new one is judged. A fake keeps its class.
    """

    # One process, because each would have a separate buffer, and only that of the first is saved.
    needs = frozenset({Capability.DISCRIMINATOR, Capability.ONE_PROCESS})
    saved_attributes = ("stored",)

    def __init__(self, size: Count, share: Annotated[float, "(0, 1]"]):
        super().__init__()
        self.size, self.share = size, share
        self.stored = 0
        # Indices, and the samples and classes that are stored there after the discriminator's update. Not
        # stored at once, because unrolled steps have no update.
        self._next: tuple[Tensor, list[Tensor]] | None = None

    def networks(self, networks: Networks) -> None:
        self.samples = nn.Buffer(torch.zeros(self.size, *networks.generator.shape))
        self.classes = nn.Buffer(torch.zeros(self.size, dtype=torch.long))

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        if self.stored < self.size:
            n = min(len(fake.x), self.size - self.stored)
            index = torch.arange(self.stored, self.stored + n, device=fake.x.device)
            self._next = index, [rows.detach()[:n] for rows in fake if rows is not None]
            return fake
        n = min(len(fake.x), self.size)  # further fakes are judged as they are
        # n different indices: those of the n largest of `size` uniform numbers. Unlike torch.randperm, this
        # does not wait for the device.
        index = turn.random.uniform("replay_buffer", self.size).topk(n).indices  # [n]
        exchanges = turn.random.uniform("replay_buffer", n) < self.share  # [n]
        pairs = zip((self.samples, self.classes), fake.detach(), strict=True)
        exchanged = [exchange(old[index], new, exchanges) for old, new in pairs if new is not None]
        self._next = index, [stored for _, stored in exchanged]
        return Sample(*(judged for judged, _ in exchanged))

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator" and self._next is not None:
            index, stored = self._next
            for buffer, rows in zip((self.samples, self.classes), stored, strict=False):  # maybe no classes
                buffer[index] = rows.to(buffer.dtype)
            self.stored = min(self.stored + len(index), self.size)
            self._next = None


def exchange(old: Tensor, new: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Exchanges rows of old [n, ...] and new [B, ...], n <= B, where a mask [n] is true: (new, old)."""
    first, rest = new[: len(old)], new[len(old) :]
    where = where.view(-1, *[1] * (new.ndim - 1))
    old = old.to(new.dtype)
    return torch.cat([torch.where(where, old, first), rest]), torch.where(where, first, old)
