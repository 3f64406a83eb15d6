"""Data of two domains whose samples do not belong together."""

from collections.abc import Callable, Iterator
from typing import Any, Unpack

import torch
from torch import Tensor

from ganlab.core.errors import require
from ganlab.data.base import Data, DataSettings, check_image_settings, check_settings
from ganlab.data.composition import Composition
from ganlab.data.sources import Samples
from ganlab.data.vision import digit_sources


class Unpaired(Data):
    """Samples of a domain b, each with an independent sample of a domain a as its condition.

    Each domain has epochs of its own, so the domains may differ in size. Evaluation compares with domain b.

    Args:
        a: the domain of the conditions, without conditions of its own.
        b: the domain of the samples, without conditions of its own. Both domains have the same splits.
        reversed: whether a and b are exchanged, as the second game of a CycleGAN sees them.

    Raises:
        ConfigError: a condition would belong to its sample, or a setting contradicts a domain.
    """

    def __init__(self, a: Data, b: Data, reversed: bool, **settings: Unpack[DataSettings]):
        self.condition_domain, samples = (b, a) if reversed else (a, b)
        check_settings(settings, shape=samples.shape, range=samples.value_range)
        check_settings(settings, range=self.condition_domain.value_range)
        shape, spec = self.condition_domain.shape, settings["condition"]
        fits = spec is not None and spec.shape == shape and not spec.paired
        require(fits, f"must be unpaired and of the shape {list(shape)}", key=".condition", value=spec)
        for key in ("validation", "classes", "per_class", "share"):
            value, remedy = dict(settings).get(key), "set it of each domain, or remove it"
            require(not value, "has no effect on unpaired domains", remedy, f".{key}", value)
        super().__init__(**settings, sources=samples.sources)
        of_a = {f"a/{split}": source for split, source in a.sources.items()}
        self.fingerprint_sources = of_a | {f"b/{split}": source for split, source in b.sources.items()}

    def _prepare(self, batches: Iterator[Samples], device: torch.device) -> Iterator[Samples]:
        return ((x, None) for x, _ in super()._prepare(batches, device))


class DigitsAndNegatives(Unpaired):
    """The handwritten digits of scikit-learn: domain a is every second digit, domain b the others inverted.

    The splits are those of `Digits`, each divided between the domains. Settings that choose samples, such as
    `classes` and `validation`, act on each domain.
    """

    def __init__(self, reversed: bool, **settings: Unpack[DataSettings]):
        check_image_settings(settings, shape=(1, 8, 8), num_classes=None)
        given: dict[str, Any] = {**settings}
        choice = {key: given.pop(key) for key in given.keys() & Composition.__annotations__.keys()}

        def domain(first: int, change: Callable[[Tensor], Tensor]) -> Data:
            sources = digit_sources(change).items()
            own = {name: source.at(torch.arange(first, len(source), 2)) for name, source in sources}
            data = Data(given["shape"], None, given["range"], given["batch_size"], own, **choice)
            for source in data.sources.values():
                source.labels = None  # they only choose samples
            return data

        super().__init__(domain(0, lambda x: x), domain(1, lambda x: 255 - x), reversed, **given)
