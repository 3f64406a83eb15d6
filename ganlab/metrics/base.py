"""Base class of metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor

from ganlab.data.base import Data, Split
from ganlab.game import Game

ProtocolFields = dict[str, str | int | float]


class SampleMetric(ABC):
    """Base class of metrics of generated samples, most of them relative to real samples.

    `setup` comes first. Then real samples are passed to `update`, once in a run. Each evaluation passes
    generated samples to `update`, calls `compute`, and then `reset`, which keeps the real samples. A metric
    runs in one process, which passes all samples to it; it must not wait for other ranks.

    Errors are raised with keys relative to the metric, such as ".k", or without a key; `Evaluation` completes
    them to `metric.<name>.k` and `metric=<name>`.
    """

    names: tuple[str, ...]  # the keys of `compute`, such as "fid/digits_train_1k"; final after `setup`
    higher_is_better: bool
    references: tuple[Split, ...] = ("train",)  # the splits whose samples are passed to `update` as real ones
    subsampled_split: Split | None = None  # the reference that is limited to `evaluation.n_real` samples
    baseline_split: Split = "test"  # its samples, passed as generated ones, give the baseline
    input_kind: ClassVar[Literal["images", "points"]] = "images"  # images are passed in [0, 1]
    needs_game: ClassVar[bool] = False  # whether `observe_game` measures something that samples do not show
    uses_samples: ClassVar[bool] = True  # whether generated samples influence the values
    extras: Mapping[str, float] = {}  # further results of the last `compute`, such as a standard deviation

    def is_higher_better(self, name: str) -> bool:
        """Whether a higher value of this name is better."""
        return self.higher_is_better

    @abstractmethod
    def setup(self, data: Data, n_fake: int, n_real: int) -> None:
        """Checks the data and the numbers of generated and real samples, before any samples are passed.

        Raises:
            ConfigError: the metric cannot measure these data, or so few samples.
        """

    def check_sample_size(self, n_fake: int, n_real: int) -> None:  # noqa: B027, a hook
        """Checks that there are enough samples.

        Raises:
            ConfigError: the value of so few samples would mean nothing.
        """

    @abstractmethod
    def update(self, x: Tensor, split: Split | None = None) -> None:
        """Adds samples [N, *shape] on any device: images in [0, 1], points as they are.

        Args:
            split: the one of `references` that they come from; None: they are generated.

        Raises:
            ConfigError: the metric cannot measure samples of this shape, type or range.
        """

    def check_game(self, game: Game) -> None:  # noqa: B027, a hook
        """Checks that the game has what the metric measures.

        Raises:
            ConfigError: the game lacks it.
        """

    def observe_game(self, game: Game, seed: int) -> None:  # noqa: B027, a hook
        """Measures the game itself, for metrics that need more than its samples.

        Args:
            seed: of the samples' latents.
        """

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The values by name, deterministic in the samples and their order.

        Raises:
            ConfigError: too few samples were passed.
        """

    @abstractmethod
    def reset(self) -> None:
        """Drops the generated samples; the real ones are kept."""

    @abstractmethod
    def protocol(self) -> ProtocolFields:
        """How the values are computed. Values of different protocols are not comparable."""


def short_number(n: int) -> str:
    """A number in a name: 1000 as 1k."""
    return f"{n // 1000}k" if n and n % 1000 == 0 else str(n)
