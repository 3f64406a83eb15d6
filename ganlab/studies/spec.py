"""Studies as their files say: a suite lists its runs, a search lets optuna choose the next one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from ganlab.core.errors import ConfigError, prefixing_all_keys, renaming_keys, require
from ganlab.core.validation import Count, NonEmpty, Whole
from ganlab.studies.yaml_source import Source, made

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures
LIBRARIES = ("pandas", "statsmodels", "jinja2", "filelock", "optuna", "ray")  # of extras in pyproject.toml
OWN = ("seed", "run_dir", "resume", "job")  # keys that are set for each run
Circumstance = Literal["device", "torch"]  # in which arms may differ if the suite says so
MAY_IGNORE = get_args(Circumstance)
# Types in the file, where they are others than those of the fields.
SEEDS = {"in_file": Annotated[int, "[1, 10000]"] | NonEmpty[Whole]}
ARMS = {"in_file": dict[str, Any]}
PUBLISHED = {"in_file": dict[str, float | tuple[float, float]]}


@dataclass(kw_only=True)
class Arm:
    """One configuration of a suite: what it changes in the base, and what was published of it.

    `published` has a value, and its +- if there is one, by metric.
    """

    name: str = field(init=False)
    overrides: list[str] = field(default_factory=list)
    published: Mapping[str, tuple[float, float | None]] = field(default_factory=dict, metadata=PUBLISHED)


@dataclass(kw_only=True)
class Study:
    """A question, and the overrides that all of its runs share. Its fields are the keys of its file."""

    question: str
    base: list[str]

    def locate(self, text: Source) -> None:
        """Notes where the study was read; `at` returns the file and the line of a key, such as "arms.r1"."""
        self.at, self.file, self.folder = text.at, text.file, text.file.parent
        self.name = self.folder.resolve().name
        self.setting = f"{self.file.stem}={self.folder}"  # names the study on the command line
        self.results = self.folder / "results.csv"  # the table with a row for each run

    def require(self, condition: object, key: str, reason: str, remedy: str) -> None:
        """Raises `ConfigError`, which names the line of a key, unless the condition holds."""
        require(condition, reason, remedy, self.at(key))


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

    def complete(self) -> None:
        """Completes what was read, or raises a `ConfigError` with the key of what contradicts the rest."""
        require(self.arms, "is empty", "give at least one, such as `plain: {}`", "arms")
        self.seeds = list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
        refuse_own(self.base, "base")
        self.arms = {name: self.arm(name, f"arms.{name}") for name in self.arms}
        self.reference = self.reference or next(iter(self.arms))
        for key, names in {"reference": [self.reference], "order": self.order}.items():
            for name in names:
                require(name in self.arms, f"{name} is no arm", f"choose from {', '.join(self.arms)}", key)
        require(len(self.order) != 1, "has one arm", "give two, best first, or remove it", "order")

    def arm(self, name: Any, key: str) -> Arm:
        is_name, remedy = isinstance(name, str) and NAME.fullmatch(name), "use letters, digits, dots, - and _"
        require(is_name, f"arm {name!r} names folders", remedy, key)
        arm: Arm = made(Arm, self.arms[name] or {}, key)
        refuse_own(arm.overrides, key)
        for metric in arm.published:
            place, known = f"{key}.published.{metric}", f"choose from {', '.join(self.metrics)}"
            require(metric in self.metrics, "is not in metrics", known, place)
            require(self.source, "has no source", "say in `source` where it stands", place)
        pairs: Any = arm.published.items()
        arm.published = {one: tuple(x) if isinstance(x, list) else (x, None) for one, x in pairs}
        arm.name = name
        return arm


@dataclass(kw_only=True)
class Search(Study):
    """A study that searches the values of parameters for which a metric is best.

    `seed` is that of the sampler. `parameters` are distributions of optuna, and texts in the file. From the
    step `prune["after"]` on, hopeless runs are ended.
    """

    metric: str
    trials: Count
    seed: Whole
    parameters: dict[str, Any]
    prune: dict[str, Whole] | None = None

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of ganlab.run for values of the parameters."""
        return [*self.base, *(f"{name}={chosen[name]}" for name in self.parameters)]

    def complete(self) -> None:
        """Completes what was read, or raises a `ConfigError` with the key of what contradicts the rest."""
        from ganlab.studies.search import distribution  # imports optuna

        require(self.parameters, "is empty", "name one, with its range", "parameters")
        is_after = self.prune is None or [*self.prune] == ["after"]
        require(is_after, "has other keys than after", "write prune: {after: <step>}", "prune", self.prune)
        refuse_own([one for one in self.base if name_of(one) != "seed"], "base")
        base = {name_of(override): override for override in self.base}
        for name, words in self.parameters.items():
            key = f"parameters.{name}"
            refuse_own([name], key)
            require(name not in base, f"stands in base too, as {base.get(name)}", "remove one of them", key)
            with prefixing_all_keys(key):
                self.parameters[name] = distribution(str(words))


def refuse_own(overrides: Iterable[str], key: str, own: Iterable[str] = OWN) -> None:
    for override in overrides:
        require(name_of(override) not in own, f"{override} is set for each run", "remove it", key)


def name_of(override: str) -> str:
    """The key of an override."""
    return override.lstrip("+~").partition("=")[0]


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
    given = [f"{key}={cfg[key]}" for key in ("suite", "sweep") if cfg[key]]
    said = f"{' and '.join(given)} exclude each other" if given else "suite is missing"
    require(len(given) == 1, said, "give one, such as suite=experiments/<name> or sweep=experiments/<name>")
    return read_suite(cfg.suite) if cfg.suite else read_search(cfg.sweep)


def read_suite(folder: str | Path) -> Suite:
    """The suite of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    return read(Suite, Path(folder) / "suite.yaml")


def read_search(folder: str | Path) -> Search:
    """The search of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    return read(Search, Path(folder) / "sweep.yaml")


def read(cls: Any, file: Path) -> Any:
    text = Source(file)
    with renaming_keys(lambda key: f"{text.at(key)}: {key}".removesuffix(": ")):
        study = made(cls, text.content)
        study.complete()
    study.locate(text)
    return study
