from typing import Annotated

import torch
from torch import Tensor

from ganlab.core.validation import Count
from ganlab.tricks.base import Capability, Networks, Player, Sample, Trick, Turn


class ReplayBuffer(Trick):
    """The discriminator also judges fakes of earlier steps (Shrivastava et al. 2017, section 2.3).

    Once `size` fakes are stored, each new fake is exchanged for a stored fake with probability `share`: the
    stored fake is judged, and the new one is stored. Otherwise the new fake is judged. A fake keeps its
    condition and its latent.
    """

    # `ONE_PROCESS`, because several processes would have a buffer each, and only the first would be saved.
    needs = frozenset({Capability.DISCRIMINATOR, Capability.APART, Capability.ONE_PROCESS})
    saved_attributes = ("stored",)

    def __init__(self, size: Count, share: Annotated[float, "(0, 1]"]):
        super().__init__()
        self.size, self.share = size, share
        self.stored = 0  # the number of stored fakes
        # Rows of the buffers, with the fakes that `after_update` will store there. They are not stored at
        # once, because fakes of unrolled steps must not be stored: no update follows these steps.
        self._pending: tuple[Tensor, dict[str, Tensor]] | None = None

    def networks(self, networks: Networks) -> None:
        # The buffers have the names of the fields of a `Sample`: x, condition and code.
        for field, blank in parts_of(networks.blank(self.size)).items():
            self.register_buffer(field, blank)

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        # This hook is called on the discriminator's turn only, so fakes need no gradient to the generator.
        new = parts_of(fake.detach())
        if self.stored < self.size:
            rows = torch.arange(self.stored, self.size, device=fake.x.device)[: len(fake.x)]
            self._pending = rows, {field: part[: len(rows)] for field, part in new.items()}
            return fake
        n = min(len(fake.x), self.size)
        # n different rows: those of the n largest of `size` uniform numbers. Unlike torch.randperm, this does
        # not wait for the device.
        rows = turn.random.uniform("replay_buffer", self.size).topk(n).indices
        exchanged = turn.random.uniform("replay_buffer", n) < self.share
        judged, to_store = {}, {}
        for field, part in new.items():
            stored = self.get_buffer(field)[rows].to(part.dtype)
            mask = exchanged.view(-1, *[1] * (part.ndim - 1))  # [n, 1, ...]
            judged[field] = torch.cat([torch.where(mask, stored, part[:n]), part[n:]])
            to_store[field] = torch.where(mask, part[:n], stored)
        self._pending = rows, to_store
        return Sample(**judged)

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator" and self._pending is not None:
            rows, parts = self._pending
            for field, part in parts.items():
                buffer = self.get_buffer(field)
                buffer[rows] = part.to(buffer.dtype)
            self.stored = min(self.stored + len(rows), self.size)
            self._pending = None


def parts_of(sample: Sample) -> dict[str, Tensor]:
    """The samples, conditions and codes of a `Sample` by the name of their field, as far as there are any."""
    return {field: part for field, part in sample._asdict().items() if part is not None}
