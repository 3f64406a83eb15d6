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

    # Only one process: each would have a buffer of its own, and only that of the first is saved.
    needs = frozenset({Capability.DISCRIMINATOR, Capability.ONE_PROCESS})
    saved_attributes = ("stored",)

    def __init__(self, size: Count, share: Annotated[float, "(0, 1]"]):
        super().__init__()
        self.size, self.share = size, share
        self.stored = 0
        # Indices, and the samples and classes to store there after the discriminator's update. Unrolled steps
        # store nothing.
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
        n = min(len(fake.x), self.size)  # fakes beyond the size of the buffer are judged as they are
        # n different indices: the largest n of `size` uniform numbers, which needs no host synchronisation.
        index = turn.random.uniform("replay_buffer", self.size).topk(n).indices  # [n]
        chosen = turn.random.uniform("replay_buffer", n) < self.share  # [n]
        pairs = zip((self.samples, self.classes), fake.detach(), strict=True)
        exchanged = [exchange(old[index], new, chosen) for old, new in pairs if new is not None]
        self._next = index, [stored for _, stored in exchanged]
        return Sample(*(judged for judged, _ in exchanged))

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator" and self._next is not None:
            index, stored = self._next
            for buffer, rows in zip((self.samples, self.classes), stored, strict=False):  # classes: if any
                buffer[index] = rows.to(buffer.dtype)
            self.stored = min(self.stored + len(index), self.size)
            self._next = None


def exchange(old: Tensor, new: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Exchanges chosen rows of old [n, ...] and new [B, ...], n <= B; returns both, the new ones first."""
    first, rest = new[: len(old)], new[len(old) :]
    chosen = chosen.view(-1, *[1] * (new.ndim - 1))
    old = old.to(new.dtype)
    return torch.cat([torch.where(chosen, old, first), rest]), torch.where(chosen, first, old)
