"""Studies as their files say: a suite lists its runs, a search lets optuna choose the next one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from omegaconf.errors import OmegaConfBaseException

from ganlab.config.saved_config import parse_plain
from ganlab.config.setting_types import describe_type, matches
from ganlab.core.errors import ConfigError, prefixing_all_keys, renaming_keys, require
from ganlab.core.validation import Count, NonEmpty, Whole
from ganlab.filesystem import read_regular_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of an arm, which names folders and pictures
# Of extras in pyproject.toml.
LIBRARIES = ("pandas", "statsmodels", "jinja2", "filelock", "joblib", "optuna", "ray")
OWN = ("seed", "run_dir", "resume", "job")  # keys that are set for each run
MAX_BYTES = 1 << 20  # the largest size of a file
# Types in the file, where they are others than those of the fields.
IN_FILE = {
    "seeds": Annotated[int, "[1, 10000]"] | NonEmpty[Whole],
    "arms": dict[str, Any],
    "published": dict[str, float | tuple[float, float]],
}


@dataclass(kw_only=True)
class Arm:
    """One configuration of a suite: what it changes in the base, and what was published of it.

    `published` has by metric a value and its +-, which may be None.
    """

    overrides: list[str] = field(default_factory=list)
    published: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Study:
    """A question, and the overrides that all of its runs share. Its fields are the keys of its file."""

    question: str
    base: list[str]

    def locate(self, file: Path, at: Callable[[str], str]) -> None:
        """Notes where the study was read; `at` returns the file and the line of a key, such as "arms.r1"."""
        self.at, self.file, self.folder = at, file, file.parent
        self.name = self.folder.resolve().name
        is_here = self.folder.is_absolute() and self.folder.is_relative_to(Path.cwd())
        shown = self.folder.relative_to(Path.cwd()) if is_here else self.folder
        self.setting = f"{self.file.stem}={shown}"  # names the study on the command line
        self.results = self.folder / "results.csv"  # the table with a row for each run


@dataclass(kw_only=True)
class Suite(Study):
    """A study of which each arm is run with each seed.

    The first of `metrics`, which are named as `monitor` takes them, answers the question. All arms are
    compared with the arm `reference`. `order` has the arms as they were published, best first, if the
    question is about their order. Arms may differ in the circumstances `ignore`.
    """

    seeds: list[int]
    metrics: NonEmpty[str]
    arms: dict[str, Arm]
    budget: str | None = None
    reference: str = ""  # if the file has none, the first arm
    order: list[str] = field(default_factory=list)
    ignore: list[Literal["device", "torch"]] = field(default_factory=list)
    source: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        require(self.arms, "is empty", "give at least one, such as `plain: {}`", "arms")
        self.seeds = list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds
        self.comparisons = len(self.arms) - 1  # all that are planned, by which p-values are corrected
        refuse_own(self.base, "base")
        self.arms = {name: self.arm(name, values, f"arms.{name}") for name, values in self.arms.items()}
        self.reference = self.reference or next(iter(self.arms))
        for key, names in {"reference": [self.reference], "order": self.order}.items():
            for name in names:
                require(name in self.arms, f"{name} is no arm", f"choose from {', '.join(self.arms)}", key)
        require(len(self.order) != 1, "has one arm", "give two, best first, or remove it", "order")

    def arm(self, name: Any, values: Any, key: str) -> Arm:
        is_name, remedy = isinstance(name, str) and NAME.fullmatch(name), "use letters, digits, dots, - and _"
        require(is_name, f"arm {name!r} names folders", remedy, key)
        arm: Arm = made(Arm, {} if values is None else values, key)
        refuse_own(arm.overrides, key)
        for metric, value in arm.published.items():
            place, known = f"{key}.published.{metric}", f"choose from {', '.join(self.metrics)}"
            require(metric in self.metrics, "is not in metrics", known, place)
            require(self.source, "has no source", "say in `source` where it stands", place)
            arm.published[metric] = tuple(value) if isinstance(value, list) else (value, None)
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

    def __post_init__(self) -> None:
        from ganlab.studies.search import distribution  # imports optuna

        self.metrics = [self.metric]
        require(self.parameters, "is empty", "name one, with its range", "parameters")
        is_after = self.prune is None or [*self.prune] == ["after"]
        require(is_after, "has other keys than after", "write prune: {after: <step>}", "prune", self.prune)
        base = {name_of(override): override for override in self.base}
        refuse_own([override for name, override in base.items() if name != "seed"], "base")
        for name, words in self.parameters.items():
            key = f"parameters.{name}"
            refuse_own([name], key)
            require(name not in base, f"stands in base too, as {base.get(name)}", "remove one of them", key)
            with prefixing_all_keys(key):
                self.parameters[name] = distribution(str(words))

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        """The overrides of ganlab.run for values of the parameters."""
        return [*self.base, *(f"{name}={chosen[name]}" for name in self.parameters)]


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
    """The study of a command with the settings `suite` and `sweep`.

    Raises:
        ConfigError: neither or both are given, or the study cannot be read.
    """
    given = [f"{key}={cfg[key]}" for key in ("suite", "sweep") if cfg[key]]
    missing = "suite is missing: give the folder of one, such as suite=experiments/<name>, or a sweep"
    require(given, missing)
    require(len(given) == 1, f"{' and '.join(given)} exclude each other", "give one of them")
    return read_suite(cfg.suite) if cfg.suite else read_search(cfg.sweep)


def read_suite(folder: str | Path) -> Suite:
    """The suite of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    return read(Suite, Path(folder) / "suite.yaml")


def read_search(folder: str | Path) -> Search:
    """The search of a folder. Raises `ConfigError`, which names the line, if it cannot be understood."""
    return read(Search, Path(folder) / "sweep.yaml")


def read(cls: Any, file: Path) -> Any:
    content, lines = parsed(file)

    def at(key: str) -> str:
        while key and key not in lines:  # the nearest key around it
            key = key.rpartition(".")[0]
        return f"{file}, line {lines[key]}" if key else str(file)

    with renaming_keys(lambda key: f"{at(key)}: {key}".removesuffix(": ")):
        study = made(cls, content)
    study.locate(file, at)
    return study


def parsed(file: Path) -> tuple[Any, dict[str, int]]:
    """The content of a file, and the line of each key, such as "arms.r1.overrides".

    Raises:
        ConfigError: the file cannot be read or parsed, or is no mapping.
    """
    try:
        text = read_regular_file(file, MAX_BYTES)
        content = parse_plain(text, is_study=True)
        lines = dict(lines_of_keys(yaml.compose(text, yaml.SafeLoader)))
    except OSError as error:
        missing = f"{file.stem}={file.parent} has no {file.name} that can be read"
        raise ConfigError(missing, "give a folder with one, such as experiments/<name>") from error
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        place = f"{file}, line {mark.line + 1}" if mark else str(file)
        remedy = "write plain values, each key once, and quote what holds brackets or colons"
        raise ConfigError(f"{place}: {getattr(problem, 'reason', problem)!s:.200}", remedy) from error
    require(lines, f"{file} is no mapping", "write `key: value` lines")
    return content, lines


def lines_of_keys(node: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
        yield f"{prefix}{key.value}", key.start_mark.line + 1
        yield from lines_of_keys(child, f"{prefix}{key.value}.")


def made(cls: Any, values: Any, key: str = "") -> Any:
    """A dataclass from a mapping.

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type, is empty or stands twice.
    """
    require(isinstance(values, dict), "must be a mapping", "", key, values)
    types = get_type_hints(cls, include_extras=True)
    types |= {name: IN_FILE[name] for name in types.keys() & IN_FILE.keys()}
    for name, value in values.items():
        place, parts = f"{key}.{name}".lstrip("."), value if isinstance(value, list) else [value]
        require(name in types, "is unknown", f"choose from {', '.join(types)}", place)
        remedy = "quote texts that hold brackets or colons" if isinstance(value, list | dict) else ""
        require(matches(value, types[name]), f"must be {describe_type(types[name])}", remedy, place, value)
        is_blank = not all(str(part).strip() for part in parts)
        require(not is_blank, "is empty, or has an empty text", "write it, or leave it out", place)
        twice = next((part for part in parts if parts.count(part) > 1), "")
        require(twice == "", f"{twice} stands there twice", "remove one of them", place)
    needed = {one.name for one in fields(cls) if one.default is one.default_factory is MISSING}
    lacking = ", ".join(sorted(needed - values.keys()))
    require(not lacking, f"lacks {lacking}", "add what is missing", key)
    return cls(**values)
