import torch
from torch import Tensor

from ganlab.errors import Refused
from ganlab.tricks.base import Trick
from ganlab.turn import Networks, Offer, Sample, Turn


class ReplayBuffer(Trick):
    """The discriminator also sees fakes of earlier rounds (Shrivastava et al. 2017, section 2.3).

    Once `size` fakes are stored, each new one is, with probability `share`, exchanged for a stored
    one; otherwise it is shown itself. The class of a fake stays with it.
    """

    # Each rank would have a buffer of its own, of which only the first one's is saved.
    needs = frozenset({Offer.DISCRIMINATOR, Offer.ONE_PROCESS})
    samples: Tensor
    classes: Tensor

    def __init__(self, size: int, share: float):
        super().__init__()
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise Refused(f"trick.replay_buffer.size={size} must be a whole number of at least 1")
        if not 0 < share <= 1:
            raise Refused(f"trick.replay_buffer.share={share} must lie in (0, 1]")
        self.size = size
        self.share = share
        self.stored = 0

    def networks(self, networks: Networks) -> Networks:
        self.register_buffer("samples", torch.zeros(self.size, *networks.generator.shape))
        self.register_buffer("classes", torch.zeros(self.size, dtype=torch.long))
        return networks

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        return self._exchange(fake, turn) if self.stored == self.size else self._fill(fake)

    def _fill(self, fake: Sample) -> Sample:
        end = min(self.stored + len(fake.x), self.size)
        new = slice(self.stored, end)
        self.samples[new] = fake.x.detach()[: end - self.stored]
        if fake.condition is not None:
            self.classes[new] = fake.condition[: end - self.stored]
        self.stored = end
        return fake

    def _exchange(self, fake: Sample, turn: Turn) -> Sample:
        n = min(len(fake.x), self.size)  # what goes beyond the buffer is shown as it is
        # The places of the n smallest of `size` uniform numbers: n different ones, without a host sync.
        place = turn.draw.uniform("replay_buffer", self.size).topk(n).indices  # [B]
        old = turn.draw.uniform("replay_buffer", n) < self.share  # [B]
        shown = Sample(self._swap(self.samples, fake.x.detach(), place, old), fake.condition)
        if fake.condition is not None:
            shown = shown._replace(condition=self._swap(self.classes, fake.condition, place, old))
        return shown

    @staticmethod
    def _swap(stored: Tensor, new: Tensor, place: Tensor, old: Tensor) -> Tensor:
        """What is shown, [B, ...]; the new ones that are not shown take the places of the old."""
        old = old.view(-1, *[1] * (new.ndim - 1))
        first, rest = new[: len(place)], new[len(place) :]
        past = stored[place]
        stored[place] = torch.where(old, first.to(stored.dtype), past)
        return torch.cat([torch.where(old, past.to(new.dtype), first), rest])

    def get_extra_state(self) -> dict[str, int]:
        return {"stored": self.stored}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.stored = state["stored"]
