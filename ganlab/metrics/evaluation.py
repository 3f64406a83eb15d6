"""The metrics of a run: reals are shown once, then any number of games are measured against them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ganlab.core.distributed import is_main_process
from ganlab.core.errors import ConfigError, Diverged
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.feature_cache import enabled
from ganlab.metrics.reference import BATCH, ReferenceSamples, fixed_subset, to_unit_range

# Opened around something long, of what is done and how much of it; called with how much more was done.
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
PIECE = 1000  # samples that are held at a time


class Evaluation:
    """Measures the samples of a game against real ones, beside the floor.

    The reference is what each metric asks for: a fixed choice of `n_real` images of a split, or all of it.
    The floor is what a fixed choice of `n` real images of the metric's anchor (all, if there are fewer)
    scores against it; there is none where these are too few for the metric. Samples are made and shown piece
    by piece, so memory does not grow with their number but for what a metric keeps. A conditional generator
    is asked for classes as often as the reference has them (Karras et al. 2020, code): any other choice would
    be measured too; in turn where the reference has no labels.

    Args:
        metrics: by their names in the config.
        n: how many samples.
        n_real: how many real images, at most, for metrics with a reference of so many; None: all.
        seed: of the samples' latents.
        watch: tells who waits how far it is.

    Raises:
        ConfigError: a metric cannot measure these data, or needs a split that they do not have.
    """

    def __init__(
        self,
        metrics: Mapping[str, SampleMetric],
        data: Data,
        n: int,
        n_real: int | None,
        seed: int,
        watch: Watch = lambda what, total: nullcontext(lambda done: None),
    ):
        if data.value_range is None:
            refuse_images(metrics)
        self.reals = ReferenceSamples(data, n_real)
        for metric in metrics.values():
            for split in metric.references:
                data.split(split, "cpu", BATCH)  # refused here, where there is none
            metric.check(data, n, self.reals.count(metric.subsampled_split or "train", limited=True))
        self.metrics = metrics
        self.data = data
        self.n = n
        self.seed = seed
        wanted = [
            m.subsampled_split for m in metrics.values() if m.subsampled_split and len(m.references) == 1
        ]
        self._asked = {split: data.proportional_labels(n, split) for split in wanted or ["train"]}
        self.classes = next(iter(self._asked.values()))
        self.watch = watch
        self.floor: dict[str, float] = {}
        self.baseline_split = {
            name: metric.baseline_split for metric in metrics.values() for name in metric.names
        }
        self.better = {name: m.more_is_better(name) for m in metrics.values() for name in m.names}
        self._floor_size: dict[Split, int] = {}
        self._protocols: dict[str, dict[str, Any]] = {}
        self._prepared = False

    def __call__(self, game: Game) -> dict[str, float]:
        """The numbers by name, on the first process; the others make their part of the samples.

        The game's weights and the default generators stay as they are.
        """
        if not self.metrics:
            return {}
        pieces = self._pieces(game)
        if not is_main_process():
            for _ in pieces:
                pass
            return {}
        device = next(game.parameters()).device
        self._prepare(device)
        with self.watch("metrics that look at the game", len(self.metrics)) as done:
            for metric in self.metrics.values():
                metric.observe_game(game, self.seed)
                done(1)
        return self.measure(pieces, device)

    def measure(self, fakes: Iterable[Tensor], device: torch.device) -> dict[str, float]:
        """The numbers by name, of samples [N, *shape] in the data's range, piece by piece."""
        self._prepare(device)
        self._show(fakes, self.metrics.values(), "samples", self.n)
        return self._found(self.metrics.values())

    def _pieces(self, game: Game) -> Iterator[Tensor]:
        """The samples; all processes must ask for each."""
        for start in range(0, self.n, PIECE):
            rows = slice(start, min(start + PIECE, self.n))
            asked = self.classes if game.generator.num_classes else None
            samples = game.sample_on_all_ranks(self.n, self.seed, rows, asked)
            if not samples.isfinite().all():
                raise Diverged(game.step, "a sample is not finite")
            yield samples

    def monitored(self, asked: str | None) -> tuple[str | None, bool]:
        """The number by which the best checkpoint is kept, and whether more of it is better.

        `asked` may leave out the end of its name; None: the first number there is.
        """
        better = self.better
        asked = asked or next(iter(better), None)
        if asked is None:
            return None, False
        meant = [name for name in better if name == asked or name.startswith((f"{asked}/", f"{asked}_"))]
        if len(meant) != 1:
            what = f"may be {' or '.join(meant)}" if meant else "is not measured"
            raise ConfigError(f"monitor={asked} {what}: choose one of {', '.join(better) or 'none'}")
        return meant[0], better[meant[0]]

    def check_game(self, game: Game) -> None:
        """Refuses a game that a metric cannot measure."""
        for metric in self.metrics.values():
            metric.check_game(game)
        asked = {None if classes is None else tuple(classes.tolist()) for classes in self._asked.values()}
        if game.generator.num_classes and len(asked) > 1:
            raise ConfigError(
                f"the splits {' and '.join(self._asked)} have classes in other proportions, and samples of "
                "a conditional game are made in one of them: measure against one split at a time"
            )

    def record(self, numbers: Mapping[str, float], game: Game) -> dict[str, dict[str, Any]]:
        """The numbers with how each was made, as plain values."""
        judging = {name for metric in self.metrics.values() if metric.needs_samples for name in metric.names}
        how = {"batch_norm": "evaluation mode"}
        records = self.records(numbers, game.step, how)
        return {
            name: {**record, **sampling(game, self.seed, self.classes)} if name in judging else record
            for name, record in records.items()
        }

    def records(
        self, numbers: Mapping[str, float], step: int | None, how: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """The numbers with how each was made; `how` the samples were."""
        return {
            name: {
                "value": value,
                "better": "higher" if self.better[name] else "lower",
                "step": step,
                **self._protocols[name],
                **how,
                **self._floor(name),
            }
            for name, value in numbers.items()
        }

    def _floor(self, name: str) -> dict[str, Any]:
        """What real images score, where that is a number of samples."""
        if name not in self.floor:
            return {}
        split = self.baseline_split[name]
        return {"floor": self.floor[name], "floor_n": self._floor_size[split], "floor_split": split}

    def _prepare(self, device: torch.device) -> None:
        """Shows the references, and measures the floor with real images as fakes; once."""
        if not self._prepared:
            self._prepared = True
            with enabled():
                self._show_reals(device)

    def _show_reals(self, device: torch.device) -> None:
        for split, limited in dict.fromkeys(
            (split, split == metric.subsampled_split)
            for metric in self.metrics.values()
            for split in metric.references
        ):
            asking = [
                metric
                for metric in self.metrics.values()
                if split in metric.references and (split == metric.subsampled_split) is limited
            ]
            total = self.reals.count(split, limited)
            self._show(self.reals.shown(split, limited, device), asking, f"real {split} images", total, split)
        for split in dict.fromkeys(metric.baseline_split for metric in self.metrics.values()):
            if split not in self.data.sources:
                continue
            self._floor_size[split] = min(self.n, len(self.data.sources[split]))
            anchored = [
                metric
                for metric in self.metrics.values()
                if metric.baseline_split == split and suffice(metric, self._floor_size[split])
            ]
            images = fixed_subset(self.data, split, self.n, device)
            self._show(images, anchored, f"real {split} images as samples", self._floor_size[split])
            self.floor |= self._found(anchored)

    def _found(self, metrics: Collection[SampleMetric]) -> dict[str, float]:
        """What the metrics say of the fakes that they were shown, which they forget."""
        numbers: dict[str, float] = {}
        with self.watch("metrics", len(metrics)) as done:
            for metric in metrics:
                found = metric.compute()
                how: dict[str, Any] = {
                    "split": "+".join(metric.references) or "none",
                    "shape": list(self.data.shape),
                    **self.reals.named(metric),
                    "torch": version("torch"),
                    **metric.protocol(),
                }
                if beside := metric.extras():
                    how["beside"] = beside
                self._protocols |= dict.fromkeys(found, how)
                numbers |= found
                metric.reset()
                done(1)
        return numbers

    def _show(
        self,
        samples: Iterable[Tensor],
        metrics: Collection[SampleMetric],
        what: str,
        total: int,
        split: Split | None = None,
    ) -> None:
        """Shows fakes, or reals of a split, batch by batch: all metrics look at one before the next.

        So those that look through the same extractor let each batch pass it once.
        """
        with self.watch(what, total) as done:
            for points in (rows for piece in samples for rows in torch.split(piece, BATCH)):
                images = (
                    None if self.data.value_range is None else to_unit_range(points, self.data.value_range)
                )
                for metric in metrics:
                    x = points if metric.input_kind == "points" or images is None else images
                    if split is None:
                        metric.update(x, real=False)
                    else:
                        metric.update_reference(x, split)
                done(len(points))


def sampling(game: Game, seed: int, classes: Tensor | None) -> dict[str, Any]:
    """How the samples of a game are made, of some classes."""
    asked = "in turn" if classes is None else "as the reference"
    threshold = getattr(game.sampler.prior, "threshold", None)
    return {
        "sampler": "+".join(game.tricks.samplers(game.generator)) or "generator",
        **({} if threshold is None else {"truncation": threshold}),
        "classes": asked if game.generator.num_classes else "none",
        "latent_seed": seed,
    }


def suffice(metric: SampleMetric, n: int) -> bool:
    """Whether a metric can measure so many samples: some splits are too small for a baseline."""
    try:
        metric.check_sample_size(n, n)
    except ConfigError:
        return False
    return True


def refuse_images(metrics: Mapping[str, SampleMetric]) -> None:
    """Refuses metrics that measure images."""
    names = [name for name, metric in metrics.items() if metric.input_kind == "images"]
    if names:
        raise ConfigError(
            f"the metrics {', '.join(names)} measure images, not these data: choose metric=none"
        )
