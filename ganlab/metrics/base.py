"""Base class of metrics: they take real and generated samples, and return numbers with their protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from ganlab.data.base import Data, Split
from ganlab.game import Game


class SampleMetric(ABC):
    """Numbers about a sample of fakes, measured against a sample of reals where a metric needs one.

    The reals come first and are kept, so that a run which is evaluated many times shows them once. A
    metric works within one process: it must be given the whole sample, and never waits for other ranks.
    """

    names: tuple[str, ...]  # of its numbers, such as "fid/digits_train_1k"
    higher_is_better: bool
    references: tuple[Split, ...] = ("train",)  # the splits whose samples are its reals
    subsampled_split: Split | None = None  # the one of these that evaluation.n_real subsamples
    needs_samples: ClassVar[bool] = True  # it measures samples; otherwise the game itself
    baseline_split: Split = "test"  # the split whose samples, measured as if generated, give the baseline
    input_kind: ClassVar[Literal["images", "points"]] = "images"  # shown in [0, 1]; points: as they are

    def more_is_better(self, name: str) -> bool:
        """Of one of its numbers."""
        return self.higher_is_better

    @abstractmethod
    def check(self, data: Data, n_fake: int, n_real: int) -> None:
        """Learns of the data, before anything is shown, and refuses them or these numbers of samples.

        Raises:
            ConfigError: `update` or `compute` would refuse them.
        """

    def check_sample_size(self, n_fake: int, n_real: int) -> None:  # noqa: B027, a hook
        """Refuses numbers of samples that are too small for the numbers to mean anything."""

    @abstractmethod
    def update(self, x: Tensor, real: bool) -> None:
        """Takes some more samples, float [N, *shape], on any device: images in [0, 1], points as they are.

        Raises:
            ConfigError: the metric cannot measure samples of this shape, type or range.
        """

    def update_reference(self, x: Tensor, split: Split) -> None:
        """Takes some more reals of one of its `references`: for metrics that do not treat all splits alike.

        Raises:
            ConfigError: as `update`.
        """
        self.update(x, real=True)

    def check_game(self, game: Game) -> None:  # noqa: B027, a hook
        """Refuses a game that lacks what the metric measures.

        Raises:
            ConfigError: the game lacks it.
        """

    def observe_game(self, game: Game, seed: int) -> None:  # noqa: B027, a hook
        """Looks at the game whose samples it is about to judge: for metrics of more than samples.

        seed: of the samples' latents.
        """

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The numbers by name, such as "fid/digits_train_1k"; equal samples in equal order give equal ones.

        Raises:
            ConfigError: too few samples were seen.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forgets the fakes and keeps the reals."""

    @abstractmethod
    def protocol(self) -> dict[str, str | int | float]:
        """How the numbers are made, as plain Python values: numbers of unlike protocols do not compare."""

    def extras(self) -> dict[str, float]:
        """What was found beside the last numbers, such as their spread."""
        return {}
