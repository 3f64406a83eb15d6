"""Evaluation of games: the metrics of samples that a game generates, and records of the values."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from ganlab.core.distributed import is_main_process
from ganlab.core.errors import ConfigError, Diverged, require
from ganlab.core.players import path
from ganlab.game import Game
from ganlab.metrics.metric_set import MetricSet, completing_error_keys
from ganlab.metrics.protocols import MetricRecords

CHUNK = 1000  # samples that are generated at a time


class Evaluation(MetricSet):
    """A set of metrics that generates the samples of a game, measures them, and makes records of the values.

    Samples are generated and passed to the metrics in chunks, so only metrics that store samples need more
    memory for more samples. A conditional generator is given classes in the proportions of the reference, as
    in the code of Karras et al. 2020. Otherwise metrics would also measure the difference in proportions. If
    the data have no labels, the generator is given all classes in turn.

    The arguments are those of `MetricSet`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.higher_is_better: dict[str, bool] = {}  # by the name of a value, not of a metric
        for metric in self.metrics.values():
            self.higher_is_better |= metric.higher_is_better_by_name()
        # The splits in whose proportions the metrics want the classes of generated samples.
        splits = [metric.class_split for metric in self.metrics.values() if metric.class_split] or ["train"]
        self._classes_by_split = {split: self.data.proportional_labels(self.n, split) for split in splits}
        # The classes [n] of the samples of a conditional game; None: the data have no labels. The first split
        # stands for all, because `check_game` refuses conditional games if the splits give different classes.
        self.classes = self._classes_by_split[splits[0]]

    def __call__(self, game: Game) -> dict[str, float]:
        """The values by name on the main process; {} on the other processes, which only generate samples.

        The game's weights and torch's default generators stay as they are.
        """
        if not self.metrics:
            return {}
        samples = self._generate(game)
        if not is_main_process():
            deque(samples, maxlen=0)  # generates the part of this process, and stores nothing
            return {}
        return self.measure(samples, next(game.parameters()).device, game)

    def check_game(self, game: Game) -> None:
        """Checks that all metrics can measure a game.

        Raises:
            ConfigError: a metric cannot measure it.
        """
        for name, metric in self.metrics.items():
            with completing_error_keys(name):
                metric.check_game(game)
        distinct = {None if y is None else tuple(y.tolist()) for y in self._classes_by_split.values()}
        if game.generator.num_classes and len(distinct) > 1:
            splits = " and ".join(self._classes_by_split)
            reason = f"the splits {splits} have different proportions of classes"
            raise ConfigError(reason, "compare a conditional game with one split at a time")

    def monitored_value(self, name: str | None) -> tuple[str | None, bool]:
        """The name of the value that selects the best checkpoint, and whether higher is better.

        Args:
            name: the name of the value, or its beginning; None: the first value, if there is one.

        Raises:
            ConfigError: no name begins like this, or several do.
        """
        names = list(self.higher_is_better)  # the names of all values
        if name is None:
            return (names[0], self.higher_is_better[names[0]]) if names else (None, False)
        matches = [full for full in names if full == name or full.startswith((f"{name}/", f"{name}_"))]
        reason = f"may be {' or '.join(matches)}" if matches else "is not measured"
        require(len(matches) == 1, reason, f"choose one of {', '.join(names) or 'none'}", "monitor", name)
        return matches[0], self.higher_is_better[matches[0]]

    def records(self, values: Mapping[str, float], game: Game | None = None) -> MetricRecords:
        """The records of values: the values with their protocols and floors, in plain Python types.

        Args:
            values: the values by name.
            game: the game whose samples were measured; None: images from files.
        """
        depends_on_sampling = {name: m.depends_on_sampling for m in self.metrics.values() for name in m.names}
        draws_itself = {name for m in self.metrics.values() if m.needs_game for name in m.names}
        return {
            name: {
                "value": value,
                "better": "higher" if self.higher_is_better[name] else "lower",
                "step": None if game is None else game.run_step,
                **self.protocols[name],
                **self._origin(game, depends_on_sampling[name], name in draws_itself),
                **self.floors.get(name, {}),
            }
            for name, value in values.items()
        }

    def _origin(self, game: Game | None, depends_on_sampling: bool, draws_itself: bool) -> dict[str, Any]:
        """What a record says about the origin of the samples: a game, or files if `game` is None.

        Args:
            depends_on_sampling: see `SampleMetric`.
            draws_itself: whether the metric draws samples of conditions that it chooses itself.
        """
        if game is None:
            return {"sampler": "images from files"}
        origin: dict[str, Any] = {"batch_norm": "evaluation mode"}
        if depends_on_sampling:
            tricks = game.tricks.tricks_that_replace("generator", game.generator)
            origin["sampler"] = "+".join(tricks) or "generator"
            prior = game.presented("generator").prior
            threshold = getattr(prior, "threshold", None)  # only a truncated prior has a threshold
            if threshold is not None:
                origin["truncation"] = threshold
            classes = "in turn" if self.classes is None else "as the reference"
            origin["classes"] = classes if game.generator.num_classes else "none"
            if game.conditions is not None and not draws_itself:
                origin["conditions"] = game.conditions.name
                origin["classes"] = "none"
            origin["latent_seed"] = self.seed
        return origin

    def _generate(self, game: Game) -> Iterator[Tensor]:
        """Yields the samples in chunks; all processes must iterate over them."""
        is_told_classes = game.generator.num_classes and game.conditions is None
        classes = self.classes if is_told_classes else None
        for start in range(0, self.n, CHUNK):
            rows = slice(start, min(start + CHUNK, self.n))
            samples = game.sample_on_all_processes(self.n, seed=self.seed, rows=rows, conditions=classes)
            if not samples.isfinite().all():
                raise Diverged(game.run_step, "a sample is not finite")
            yield samples


def records_of_parts(evaluations: Mapping[str, Evaluation], games: Mapping[str, Game]) -> MetricRecords:
    """Measures the parts of a composite of games, or a game alone; the records by the names of the values.

    The values of the first part have their usual names, those of others begin with the name of the part.

    Args:
        evaluations: the metrics of each part, by its name.
        games: the parts by name.
    """
    records: MetricRecords = {}
    for i, (name, game) in enumerate(games.items()):
        own = evaluations[name].records(evaluations[name](game), game)
        records |= {path(name if i else "", value): record for value, record in own.items()}
    return records
