"""Studies as their files say: a suite lists its runs, a search lets optuna choose the next one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import is_integer
from ganlab.metrics.protocols import is_metric_value
from ganlab.studies.yaml_source import read_file

if TYPE_CHECKING:
    from ganlab.studies.search import Distribution

MAX_SEEDS = 10_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures
LIBRARIES = ("pandas", "statsmodels", "jinja2", "filelock", "optuna", "ray")  # of extras in pyproject.toml
MAY_IGNORE = ("device", "torch")  # circumstances that arms may differ in if the suite says so

Published = Mapping[str, tuple[float, float | None]]  # by metric: a value, and its +- if there is one


@dataclass
class ArmFile:
    """The keys of an arm in suite.yaml."""

    overrides: list[str] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)


@dataclass
class SuiteFile:
    """The keys of suite.yaml."""

    question: str = MISSING
    base: list[str] = MISSING
    seeds: Any = MISSING
    metrics: list[str] = MISSING
    arms: dict[str, ArmFile | None] = MISSING
    budget: str | None = None
    reference: str | None = None
    order: list[str] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)
    source: str | None = None
    note: str | None = None


@dataclass
class PruneFile:
    """The keys of `prune` in sweep.yaml."""

    after: int = MISSING


@dataclass
class SearchFile:
    """The keys of sweep.yaml."""

    question: str = MISSING
    base: list[str] = MISSING
    metric: str = MISSING
    trials: int = MISSING
    seed: int = MISSING
    parameters: dict[str, str] = MISSING
    prune: PruneFile | None = None


@dataclass(frozen=True)
class Arm:
    """One configuration of a suite: what it changes in the base, and what was published of it."""

    name: str
    overrides: list[str]
    published: Published


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and the overrides that all of its runs share.

    `lines` maps keys of the file to their lines: "base", "arms.r1", "parameters.trick.r1.gamma".
    """

    file: Path
    question: str
    base: list[str]
    lines: Mapping[str, int] = field(compare=False, repr=False)

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def setting(self) -> str:
        """The setting that names the study on the command line."""
        return f"{'suite' if isinstance(self, Suite) else 'sweep'}={self.folder}"

    @property
    def results(self) -> Path:
        """The table with a row for each run."""
        return self.folder / "results.csv"

    def at(self, key: str) -> str:
        """The place of a key, at the beginning of a refusal."""
        return f"{self.file}" + (f", line {self.lines[key]}" if key in self.lines else "")

    def require(self, condition: object, key: str, reason: str, remedy: str) -> None:
        """Raises `ConfigError`, which names the line of a key, unless the condition holds."""
        if not condition:
            raise ConfigError(f"{self.at(key)}: {reason}", remedy)


@dataclass(frozen=True, kw_only=True)
class Suite(Study):
    """A study of which each arm is run with each seed.

    The first of `metrics`, which are named as `monitor` takes them, answers the question. All arms are
    compared with the arm `reference`. `order` has the arms as they were published, best first, if the
    question is about their order. Arms may differ in the circumstances `ignore`.
    """

    seeds: list[int]
    metrics: list[str]
    arms: dict[str, Arm]
    budget: str | None
    reference: str
    order: list[str]
    ignore: list[str]
    source: str | None
    note: str | None

    @property
    def comparisons(self) -> int:
        """The number of planned comparisons, by which p-values are corrected from the first run on."""
        return len(self.arms) - 1


@dataclass(frozen=True, kw_only=True)
class Search(Study):
    """A study that searches the values of parameters for which a metric is best.

    `seed` is that of the sampler. Hopeless runs are ended from step `after` on; None: none is.
    """

    metric: str
    trials: int
    seed: int
    parameters: dict[str, Distribution]
    after: int | None

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of ganlab.run for values of the parameters."""
        return [*self.base, *(f"{name}={chosen[name]}" for name in self.parameters)]


@contextmanager
def needs_studies() -> Iterator[None]:
    """Turns the lack of a library of the extra `studies` into a `ConfigError`, which says how to install it."""
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
    found, lines = read_file(file, SuiteFile, "suite")
    arms, seeds, ignore = found.pop("arms"), found.pop("seeds"), found["ignore"]
    common = {"file": file, "lines": lines, **found, "reference": found["reference"] or next(iter(arms), "")}
    suite = Suite(**common, seeds=[], arms={name: Arm(name, [], {}) for name in arms})
    suite.require(arms, "arms", "arms is empty", "give at least one, such as `plain: {}`")
    suite.require(suite.metrics, "metrics", "metrics is empty", "name the one that answers the question")
    known = f"choose from {', '.join(arms)}"
    suite.require(suite.reference in arms, "reference", f"reference={suite.reference} is no arm", known)
    for name in suite.order:
        suite.require(name in arms, "order", f"order: {name} is no arm", known)
    suite.require(len(suite.order) != 1, "order", "order has one arm", "give two, best first, or remove it")
    for name in ignore:
        remedy = f"choose from {', '.join(MAY_IGNORE)}"
        suite.require(name in MAY_IGNORE, "ignore", f"ignore: {name} cannot be ignored", remedy)
    suite.arms.update({name: read_arm(suite, name, arm or {}) for name, arm in arms.items()})
    suite.seeds.extend(read_seeds(suite, seeds))
    return suite


def read_seeds(suite: Suite, value: Any) -> list[int]:
    is_list, most = isinstance(value, list), f"a number of at most {MAX_SEEDS:,}"
    found = value if is_list else [value]
    is_valid = found and all(is_integer(one) and one >= (0 if is_list else 1) for one in found)
    remedy = f"give {most}, or a list of whole numbers, each once"
    is_valid = is_valid and len(set(found)) == len(found) <= MAX_SEEDS and (is_list or value <= MAX_SEEDS)
    suite.require(is_valid, "seeds", f"seeds={value!s:.80} are no seeds", remedy)
    return found if is_list else list(range(value))


def read_arm(suite: Suite, name: str, arm: Mapping[str, Any]) -> Arm:
    key, published = f"arms.{name}", {}
    remedy = "write it with letters, digits, dots, - and _ only"
    suite.require(NAME.fullmatch(name), key, f"arm {name!r} names folders", remedy)
    for metric, value in (arm.get("published") or {}).items():
        pair = value if isinstance(value, list) else [value]
        is_number = [is_metric_value(part) and part == part for part in pair]
        known = f"choose from {', '.join(suite.metrics)}"
        suite.require(metric in suite.metrics, key, f"{key}.published: {metric} is not in metrics", known)
        wrong = f"{key}.published.{metric}={value!s:.80} is no number"
        remedy = "write a number, or [number, +-]"
        suite.require(len(pair) in (1, 2) and all(is_number), f"{key}.published", wrong, remedy)
        published[metric] = (float(pair[0]), float(pair[1]) if len(pair) == 2 else None)
    unsaid = f"{key} has published values without a source"
    suite.require(suite.source or not published, key, unsaid, "say in `source` where they stand")
    return Arm(name, arm.get("overrides", []), published)


def read_search(folder: str | Path) -> Search:
    """The search of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    file = Path(folder) / "sweep.yaml"
    found, lines = read_file(file, SearchFile, "sweep")
    parameters, prune = found.pop("parameters"), found.pop("prune")
    after = prune and prune["after"]
    search = Search(**found, file=file, lines=lines, parameters={}, after=after)
    search.require(search.trials >= 1, "trials", f"trials={search.trials}", "give at least 1")
    search.require(search.seed >= 0, "seed", f"seed={search.seed}", "give 0 or more")
    search.require(after is None or after >= 0, "prune", f"prune.after={after}", "give 0 or more")
    search.require(parameters, "parameters", "parameters is empty", "name at least one, with its range")
    from ganlab.studies.search import distribution  # imports optuna

    for name, text in parameters.items():
        try:
            search.parameters[name] = distribution(text)
        except ValueError as error:
            remedy = "write interval(low, high), tag(log, interval(low, high)), range(...) or choice(...)"
            raise ConfigError(f"{search.at(f'parameters.{name}')}: {name}: {error}", remedy) from error
    return search
