"""Studies as their files say: a suite lists its runs, a search lets optuna choose the next one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import Count, NonEmpty, Whole
from ganlab.metrics.protocols import is_metric_value
from ganlab.studies.yaml_source import Source

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures
LIBRARIES = ("pandas", "statsmodels", "jinja2", "filelock", "optuna", "ray")  # of extras in pyproject.toml
Circumstance = Literal["device", "torch"]  # in which arms may differ if the suite says so
MAY_IGNORE = get_args(Circumstance)
MAX_SEEDS = 10_000

# Fields are read as they are annotated, unless their metadata have another type; None: they are not read.
NOT_READ: dict[str, Any] = {"in_file": None}
SEEDS = {"in_file": Annotated[int, f"[1, {MAX_SEEDS}]"] | NonEmpty[Whole]}
ARMS = {"in_file": dict[str, dict[str, Any] | None]}
PRUNE = {"in_file": dict[str, Any] | None}
Published = Mapping[str, tuple[float, float | None]]  # by metric: a value, and its +- if there is one


@dataclass(kw_only=True)
class Arm:
    """One configuration of a suite: what it changes in the base, and what was published of it."""

    name: str = field(metadata=NOT_READ)
    overrides: list[str] = field(default_factory=list)
    published: Published = field(default_factory=dict, metadata={"in_file": dict[str, Any]})


@dataclass(kw_only=True)
class Study:
    """A question, and the overrides that all of its runs share. Its fields are the keys of its file."""

    text: Source = field(metadata=NOT_READ, compare=False, repr=False)
    question: str
    base: list[str]

    def __post_init__(self) -> None:
        self.file, self.folder = self.text.file, self.text.file.parent
        self.name = self.folder.resolve().name
        self.setting = f"{self.file.stem}={self.folder}"  # names the study on the command line
        self.results = self.folder / "results.csv"  # the table with a row for each run

    def at(self, key: str) -> str:
        """The place of a key, such as "arms.r1", at the beginning of a refusal."""
        return self.text.at(key)

    def require(self, condition: object, key: str, reason: str, remedy: str) -> None:
        """Raises `ConfigError`, which names the line of a key, unless the condition holds."""
        require(condition, f"{self.at(key)}: {reason}", remedy)


@dataclass(kw_only=True)
class Suite(Study):
    """A study of which each arm is run with each seed.

    The first of `metrics`, which are named as `monitor` takes them, answers the question. All arms are
    compared with the arm `reference`. `order` has the arms as they were published, best first, if the
    question is about their order. Arms may differ in the circumstances `ignore`.
    """

    seeds: list[int] = field(metadata=SEEDS)
    metrics: NonEmpty[str]
    arms: dict[str, Arm] = field(metadata=ARMS)
    budget: str | None = None
    reference: str = ""  # if the file has none, the first arm
    order: list[str] = field(default_factory=list)
    ignore: list[Circumstance] = field(default_factory=list)
    source: str | None = None
    note: str | None = None

    @property
    def comparisons(self) -> int:
        """The number of planned comparisons, by which p-values are corrected from the first run on."""
        return len(self.arms) - 1


@dataclass(kw_only=True)
class Prune:
    """From which step on a search ends hopeless runs."""

    after: Whole


@dataclass(kw_only=True)
class Search(Study):
    """A study that searches the values of parameters for which a metric is best.

    `seed` is that of the sampler. `parameters` are distributions of optuna, and texts in the file.
    """

    metric: str
    trials: Count
    seed: Whole
    parameters: dict[str, Any]
    prune: Prune | None = field(default=None, metadata=PRUNE)

    @property
    def after(self) -> int | None:
        """The step from which on hopeless runs are ended; None: none is."""
        return None if self.prune is None else self.prune.after

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of ganlab.run for values of the parameters."""
        return [*self.base, *(f"{name}={chosen[name]}" for name in self.parameters)]


@contextmanager
def needs_studies() -> Iterator[None]:
    """Turns the lack of a library of an extra into a `ConfigError`, which says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        if library not in LIBRARIES:
            raise
        extra = "ray" if library == "ray" else "studies"
        raise ConfigError(f"studies need {library}", f"run pip install 'torch-ganlab[{extra}]'") from error


def read_study(cfg: Any) -> Suite | Search:
    """The study of a command with the settings `suite` and `sweep`, of which one is given.

    Raises:
        ConfigError: neither or both are given, or the study cannot be read.
    """
    missing = "suite is missing: give the folder of one, such as suite=experiments/<name>, or a sweep"
    require(cfg.suite or cfg.sweep, missing)
    both = f"suite={cfg.suite} and sweep={cfg.sweep} exclude each other"
    require(not (cfg.suite and cfg.sweep), both, "give one of them")
    return read_suite(cfg.suite) if cfg.suite else read_search(cfg.sweep)


def read_suite(folder: str | Path) -> Suite:
    """The suite of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    text = Source(Path(folder) / "suite.yaml", "suite")
    suite = Suite(text=text, **text.read(Suite, text.content))
    if isinstance(suite.seeds, int):
        suite.seeds = list(range(suite.seeds))
    suite.arms = {name: read_arm(suite, name, arm or {}) for name, arm in suite.arms.items()}
    suite.require(suite.arms, "arms", "arms is empty", "give at least one, such as `plain: {}`")
    suite.reference = suite.reference or next(iter(suite.arms))
    for key, names in {"reference": [suite.reference], "order": suite.order}.items():
        for name in names:
            known = f"choose from {', '.join(suite.arms)}"
            suite.require(name in suite.arms, key, f"{key}: {name} is no arm", known)
    suite.require(len(suite.order) != 1, "order", "order has one arm", "give two, best first, or remove it")
    return suite


def read_arm(suite: Suite, name: str, values: Any) -> Arm:
    key, remedy = f"arms.{name}", "write it with letters, digits, dots, - and _ only"
    is_name = isinstance(name, str) and NAME.fullmatch(name)
    suite.require(is_name, key, f"arm {name!r} names folders", remedy)
    arm = Arm(name=name, **suite.text.read(Arm, values, f"{key}."))
    published, known = {}, f"choose from {', '.join(suite.metrics)}"
    for metric, value in values.get("published", {}).items():
        suite.require(metric in suite.metrics, key, f"{key}.published: {metric} is not in metrics", known)
        pair = value if isinstance(value, list) else [value]
        is_number = len(pair) in (1, 2) and all(is_metric_value(part) and part == part for part in pair)
        wrong = f"{key}.published.{metric}={value!s:.80} is no number"
        suite.require(is_number, f"{key}.published", wrong, "write a number, or [number, +-]")
        published[metric] = (float(pair[0]), float(pair[1]) if len(pair) == 2 else None)
    unsaid = f"{key} has published values without a source"
    suite.require(suite.source or not published, key, unsaid, "say in `source` where they stand")
    arm.published = published
    return arm


def read_search(folder: str | Path) -> Search:
    """The search of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    text = Source(Path(folder) / "sweep.yaml", "sweep")
    search = Search(text=text, **text.read(Search, text.content))
    if (prune := text.content.get("prune")) is not None:
        search.prune = Prune(**text.read(Prune, prune, "prune."))
    search.require(search.parameters, "parameters", "parameters is empty", "name one, with its range")
    from ganlab.studies.search import distribution  # imports optuna

    for name, words in search.parameters.items():
        try:
            search.parameters[name] = distribution(str(words))
        except ValueError as error:
            remedy = "write interval(low, high), tag(log, interval(low, high)), range(...) or choice(...)"
            raise ConfigError(f"{search.at(f'parameters.{name}')}: {name}: {error}", remedy) from error
    return search
