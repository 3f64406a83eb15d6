"""Data of two domains whose samples do not belong together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Unpack

import torch
from torch import Tensor

from ganlab.core.batch import Batch, ConditionSource, Sample
from ganlab.core.errors import require
from ganlab.core.randomness import derive_seed
from ganlab.data.base import Data, DataSettings, Device, Split, Stream, check_image_settings
from ganlab.data.sources import Samples, TensorSource
from ganlab.data.vision import digit_sources


class Unpaired(Data):
    """Samples of a domain b, each with an independent sample of a domain a as its condition.

    Each domain has epochs of its own, so the domains may differ in size. Evaluation compares with domain b.

    Args:
        a: the domain of the conditions, without conditions of its own.
        b: the domain of the samples, without conditions of its own. Both domains have the same splits.
        reversed: whether a and b are exchanged, as the second game of a CycleGAN sees them.

    Raises:
        ConfigError: a condition would belong to its sample, or differs from the samples of domain a.
    """

    def __init__(self, a: Data, b: Data, reversed: bool, **settings: Unpack[DataSettings]):
        self.a, self.b = (b, a) if reversed else (a, b)
        spec = settings["condition"]
        fits = spec is not None and spec.shape == self.a.shape and not spec.paired
        reason = f"must be unpaired and of the shape {list(self.a.shape)}"
        require(fits, reason, key=".condition", value=spec)
        for key in ("validation", "classes", "per_class", "share", "labelled"):
            value = dict(settings).get(key)
            require(not value, "has no effect on unpaired domains", "remove it", f".{key}", value)
        of_a = {f"a/{split}": source for split, source in a.sources.items()}
        of_b = {f"b/{split}": source for split, source in b.sources.items()}
        super().__init__(**settings, sources=self.b.sources)
        self.fingerprint_sources = of_a | of_b

    def check_batch_size(self, world_size: int, batch_size: int) -> None:
        for domain in (self.a, self.b):
            domain.check_batch_size(world_size, batch_size)

    def conditions(self, split: Split) -> ConditionSource:
        def first(n: int) -> Tensor:
            rows = torch.arange(n) % len(self.a.sources[split])
            return torch.cat([x for x, _ in self.a.samples_at(split, rows, "cpu", 250)])

        return ConditionSource(f"{split} split", first)

    def stream(
        self,
        seed: int,
        start: Callable[[], int],
        device: Device,
        rank: int = 0,
        world_size: int = 1,
        steps_and_batch_sizes: Sequence[tuple[int, int]] = (),
    ) -> Iterable[Batch]:
        of_a, of_b = (
            domain.stream(own_seed, start, device, rank, world_size, steps_and_batch_sizes)
            for domain, own_seed in ((self.a, derive_seed(seed, "condition")), (self.b, seed))
        )

        def begin() -> Iterator[Batch]:
            for a, b in zip(of_a, of_b, strict=True):
                yield b._replace(real=Sample(b.real.x, a.real.x))

        return Stream(begin)

    def _prepare(self, batches: Iterator[Samples], device: torch.device) -> Iterator[Samples]:
        return ((x, None) for x, _ in self.b._prepare(batches, device))


class DigitsAndNegatives(Unpaired):
    """The handwritten digits of scikit-learn: domain a is every second digit, domain b the others inverted.

    The splits are those of `Digits`, each divided between the domains.
    """

    def __init__(self, reversed: bool, **settings: Unpack[DataSettings]):
        check_image_settings(settings, shape=(1, 8, 8), num_classes=None)

        def domain(first: int, change: Callable[[Tensor], Tensor]) -> Data:
            sources = digit_sources(change).items()
            own = {name: TensorSource(source.x[first::2], None, flip=False) for name, source in sources}
            return Data(settings["shape"], None, settings["range"], settings["batch_size"], own)

        super().__init__(domain(0, lambda x: x), domain(1, lambda x: 255 - x), reversed, **settings)
