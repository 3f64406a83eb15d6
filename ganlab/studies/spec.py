"""Studies as their files say: a suite lists its runs, a search lets optuna choose the next one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import is_integer
from ganlab.metrics.protocols import is_metric_value
from ganlab.studies.yaml_source import place_of, read_file

MAX_SEEDS = 10_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures
LIBRARIES = ("pandas", "statsmodels", "jinja2", "filelock", "optuna", "ray")  # of extras in pyproject.toml
MAY_IGNORE = ("device", "torch")  # circumstances that arms may differ in if the suite says so
NOT_IN_FILE = {"omegaconf_ignore": True}

Published = Mapping[str, tuple[float, float | None]]  # by metric: a value, and its +- if there is one
Check = tuple[object, str, str, str]  # what must hold, the key of the file, the reason and the remedy


@dataclass
class Arm:
    """One configuration of a suite: what it changes in the base, and what was published of it."""

    overrides: list[str] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)  # `Published` as soon as it is read
    name: str = field(default="", metadata=NOT_IN_FILE)


@dataclass
class Prune:
    """From which step on a search ends hopeless runs."""

    after: int = MISSING


@dataclass
class Study:
    """A question, and the overrides that all of its runs share. Its fields are the keys of its file.

    `lines` maps keys of the file to their lines: "base", "arms.r1", "parameters.trick.r1.gamma".
    """

    question: str = MISSING
    base: list[str] = MISSING
    file: Path = field(default=Path(), metadata=NOT_IN_FILE)
    lines: dict[str, int] = field(default_factory=dict, metadata=NOT_IN_FILE, compare=False, repr=False)

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def setting(self) -> str:
        """The setting that names the study on the command line."""
        return f"{self.file.stem}={self.folder}"

    @property
    def results(self) -> Path:
        """The table with a row for each run."""
        return self.folder / "results.csv"

    def at(self, key: str) -> str:
        """The place of a key, at the beginning of a refusal."""
        return place_of(self.file, self.lines, key)

    def require(self, condition: object, key: str, reason: str, remedy: str) -> None:
        """Raises `ConfigError`, which names the line of a key, unless the condition holds."""
        require(condition, f"{self.at(key)}: {reason}", remedy)

    def check(self, checks: Iterable[Check]) -> None:
        """Raises the first refusal of several."""
        for condition, key, reason, remedy in checks:
            self.require(condition, key, reason, remedy)


@dataclass
class Suite(Study):
    """A study of which each arm is run with each seed.

    The first of `metrics`, which are named as `monitor` takes them, answers the question. All arms are
    compared with the arm `reference`. `order` has the arms as they were published, best first, if the
    question is about their order. Arms may differ in the circumstances `ignore`.
    """

    seeds: Any = MISSING  # a list of numbers as soon as it is read
    metrics: list[str] = MISSING
    arms: dict[str, Arm] = MISSING
    budget: str | None = None
    reference: str = ""  # if the file has none, the first arm
    order: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    source: str | None = None
    note: str | None = None

    @property
    def comparisons(self) -> int:
        """The number of planned comparisons, by which p-values are corrected from the first run on."""
        return len(self.arms) - 1


@dataclass
class Search(Study):
    """A study that searches the values of parameters for which a metric is best.

    `seed` is that of the sampler. `parameters` are texts in the file, and distributions of optuna as soon as
    it is read. Hopeless runs are ended from step `after` on; None: none is.
    """

    metric: str = MISSING
    trials: int = MISSING
    seed: int = MISSING
    parameters: dict[str, Any] = MISSING
    prune: Prune | None = None

    @property
    def after(self) -> int | None:
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


def read_study(cfg: Any) -> Study:
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
    file = Path(folder) / "suite.yaml"
    values, lines = read_file(file, Suite, "suite")
    arms = {name: Arm(**arm, name=name) for name, arm in values.pop("arms").items()}
    suite = Suite(**values, arms=arms, file=file, lines=lines)
    suite.reference = suite.reference or next(iter(arms), "")
    lists = {"metrics": suite.metrics, "order": suite.order, "ignore": suite.ignore}
    lists |= {f"arms.{name}.overrides": arm.overrides for name, arm in arms.items()}
    suite.check(checks_of_texts(suite, lists))
    suite.check(checks_of_suite(suite))
    for arm in arms.values():
        suite.check(checks_of_arm(suite, arm))
        pairs = {name: [*as_list(value), None][:2] for name, value in arm.published.items()}
        arm.published = {
            name: (float(mean), spread and float(spread)) for name, (mean, spread) in pairs.items()
        }
    suite.seeds = suite.seeds if isinstance(suite.seeds, list) else list(range(suite.seeds))
    return suite


def read_search(folder: str | Path) -> Search:
    """The search of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    file = Path(folder) / "sweep.yaml"
    values, lines = read_file(file, Search, "sweep")
    after, texts = (values.pop("prune") or {}).get("after"), values.pop("parameters")
    prune = None if after is None else Prune(after)
    search = Search(**values, parameters={}, prune=prune, file=file, lines=lines)
    search.check(checks_of_texts(search, {}))
    search.require(search.trials >= 1, "trials", f"trials={search.trials}", "give at least 1")
    search.require(search.seed >= 0, "seed", f"seed={search.seed}", "give 0 or more")
    search.require(after is None or after >= 0, "prune", f"prune.after={after}", "give 0 or more")
    search.require(texts, "parameters", "parameters is empty", "name at least one, with its range")
    from ganlab.studies.search import distribution  # imports optuna

    for name, text in texts.items():
        try:
            search.parameters[name] = distribution(str(text))
        except ValueError as error:
            remedy = "write interval(low, high), tag(log, interval(low, high)), range(...) or choice(...)"
            raise ConfigError(f"{search.at(f'parameters.{name}')}: {name}: {error}", remedy) from error
    return search


def checks_of_texts(study: Study, lists: Mapping[str, list[str]]) -> Iterator[Check]:
    for key in study.lines:
        reason, remedy = f"{key} is empty", "write it, or leave it out"
        yield str(getattr(study, key, key)).strip(), key, reason, remedy
    for key, texts in {"base": study.base, **lists}.items():
        odd = [one for one in texts if not isinstance(one, str) or not one.strip() or texts.count(one) > 1]
        yield not odd, key, f"{key}: {odd[:1]!s:.80}", "write a list of texts, each once; quote them"


def checks_of_suite(suite: Suite) -> Iterator[Check]:
    known, is_list = f"choose from {', '.join(suite.arms)}", isinstance(suite.seeds, list)
    seeds, most = as_list(suite.seeds), f"a number of at most {MAX_SEEDS:,}"
    are_seeds = all(is_integer(one) and one >= (0 if is_list else 1) for one in seeds)
    few = are_seeds and (len(seeds) if is_list else suite.seeds) <= MAX_SEEDS
    reason, remedy = (
        f"seeds={suite.seeds!s:.80} are no seeds",
        f"give {most}, or a list of whole numbers, each once",
    )
    yield few and 0 < len(seeds) == len({*seeds}), "seeds", reason, remedy
    yield suite.arms, "arms", "arms is empty", "give at least one, such as `plain: {}`"
    yield suite.metrics, "metrics", "metrics is empty", "name the one that answers the question"
    yield suite.reference in suite.arms, "reference", f"reference={suite.reference} is no arm", known
    for name in suite.order:
        yield name in suite.arms, "order", f"order: {name} is no arm", known
    yield len(suite.order) != 1, "order", "order has one arm", "give two, best first, or remove it"
    for name in suite.ignore:
        remedy = f"choose from {', '.join(MAY_IGNORE)}"
        yield name in MAY_IGNORE, "ignore", f"ignore: {name} cannot be ignored", remedy


def checks_of_arm(suite: Suite, arm: Arm) -> Iterator[Check]:
    key, remedy = f"arms.{arm.name}", "write it with letters, digits, dots, - and _ only"
    yield NAME.fullmatch(arm.name), key, f"arm {arm.name!r} names folders", remedy
    for metric, value in arm.published.items():
        known, pair = f"choose from {', '.join(suite.metrics)}", as_list(value)
        yield metric in suite.metrics, key, f"{key}.published: {metric} is not in metrics", known
        is_number = len(pair) in (1, 2) and all(is_metric_value(part) and part == part for part in pair)
        wrong = f"{key}.published.{metric}={value!s:.80} is no number"
        yield is_number, f"{key}.published", wrong, "write a number, or [number, +-]"
    unsaid = f"{key} has published values without a source"
    yield suite.source or not arm.published, key, unsaid, "say in `source` where they stand"


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
