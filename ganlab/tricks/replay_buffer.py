from typing import Annotated

import torch
from torch import Tensor, nn

from ganlab.core.batch import Sample
from ganlab.core.capability import Capability
from ganlab.core.players import Networks, Player
from ganlab.core.turn import Turn
from ganlab.core.validation import Count
from ganlab.tricks.base import Trick


class ReplayBuffer(Trick):
    """The discriminator also judges fakes of earlier steps (Shrivastava et al. 2017, section 2.3).

    Once `size` fakes are stored, each new fake is exchanged for a stored fake with probability `share`: the
    stored fake is judged, and the new one is stored. Otherwise the new fake is judged. A fake keeps its
    class.
    """

    # `ONE_PROCESS`, because several processes would have a buffer each, and only the first would be saved.
    needs = frozenset({Capability.DISCRIMINATOR, Capability.ONE_PROCESS})
    saved_attributes = ("stored",)

    def __init__(self, size: Count, share: Annotated[float, "(0, 1]"]):
        super().__init__()
        self.size, self.share = size, share
        self.stored = 0  # the number of stored fakes
        # Rows of the buffers, and the samples and classes that `after_update` will store there. They are not
        # stored at once, because fakes of unrolled steps must not be stored: no update follows these steps.
        self._pending: tuple[Tensor, Tensor, Tensor] | None = None

    def networks(self, networks: Networks) -> None:
        self.samples = nn.Buffer(torch.zeros(self.size, *networks.generator.shape))
        self.classes = nn.Buffer(torch.zeros(self.size, dtype=torch.long))

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        # This hook is called on the discriminator's turn only, so fakes need no gradient to the generator.
        x = fake.x.detach()
        # Zeros take the place of classes in a game without classes. They are stored, but not used.
        classes = self.classes.new_zeros(len(x)) if fake.condition is None else fake.condition
        if self.stored < self.size:
            rows = torch.arange(self.stored, self.size, device=x.device)[: len(x)]
            self._pending = rows, x[: len(rows)], classes[: len(rows)]
            return fake
        n = min(len(x), self.size)
        # n different rows: those of the n largest of `size` uniform numbers. Unlike torch.randperm, this does
        # not wait for the device.
        rows = turn.random.uniform("replay_buffer", self.size).topk(n).indices
        exchanged = turn.random.uniform("replay_buffer", n) < self.share
        judged, samples_to_store = exchange(x, self.samples[rows].to(x.dtype), exchanged)
        judged_classes, classes_to_store = exchange(classes, self.classes[rows], exchanged)
        self._pending = rows, samples_to_store, classes_to_store
        return Sample(judged, None if fake.condition is None else judged_classes)

    def after_update(self, player: Player, networks: Networks, step: int) -> None:
        if player == "discriminator" and self._pending is not None:
            rows, samples, classes = self._pending
            self.samples[rows] = samples.to(self.samples.dtype)
            self.classes[rows] = classes
            self.stored = min(self.stored + len(rows), self.size)
            self._pending = None


def exchange(new: Tensor, stored: Tensor, exchanged: Tensor) -> tuple[Tensor, Tensor]:
    """Exchanges some of the first n rows of two batches, and returns both.

    Args:
        new: the first batch, [B, ...]. Its rows after the first n stay as they are.
        stored: the second batch, [n, ...].
        exchanged: whether each of the first n rows is exchanged, [n].
    """
    n = len(stored)
    mask = exchanged.view(-1, *[1] * (new.ndim - 1))  # [n, 1, ...]
    first = torch.where(mask, stored, new[:n])
    return torch.cat([first, new[n:]]), torch.where(mask, new[:n], stored)
