"""python -m ganlab.compare: numbers of several runs side by side, where they were made alike."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.core.errors import ConfigError, for_terminal
from ganlab.core.validation import format_number
from ganlab.filesystem import read_regular_file

Records = dict[str, dict[str, Any]]


def compare(cfg: DictConfig, overrides: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Prints a table of the numbers that all of them have, a column for each.

    Returns:
        The values, by the number's name and by whose it is.

    Raises:
        ConfigError: fewer than two, one that has no numbers, none in common, or a number whose protocols
            differ in what `ignore` does not name.
    """
    places = [cfg.of] if isinstance(cfg.of, str) else list(cfg.of)
    if len(places) < 2 or len(set(places)) < len(places):
        raise ConfigError("give two or more, each once: 'of=[<run or file>,<run or file>]'")
    found = {str(place): records(Path(place).expanduser()) for place in places}
    names = [name for name in next(iter(found.values())) if all(name in each for each in found.values())]
    if not names:
        have = "; ".join(f"{place} has {', '.join(each)}" for place, each in found.items())
        raise ConfigError(f"no number is common to all: {have}; measure them alike with ganlab.evaluate")
    return table(names, found, set(cfg.ignore))


def records(place: Path) -> Records:
    """The numbers of a run's summary.json, or of a file that ganlab.evaluate wrote.

    Raises:
        ConfigError: there are none.
    """
    file = place / "summary.json" if place.is_dir() else place
    try:
        content = json.loads(read_regular_file(file, 1 << 20))
        found = content.get("metrics", {}) if place.is_dir() else content
        values = [record["value"] for record in found.values()]
        if values and {*map(type, values)} <= {int, float} and not max(map(abs, values)) > 1e308:
            return dict(found)
    except (KeyError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"of={place} cannot be read: give a run, or what ganlab.evaluate wrote") from error
    raise ConfigError(f"of={place} has no numbers: give a finished run, or what ganlab.evaluate wrote")


def table(
    names: Sequence[str], found: Mapping[str, Records], ignored: set[str]
) -> dict[str, dict[str, float]]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ganlab.metrics.protocols import differences, refuse_unlike

    shown = Table(box=None, pad_edge=False)
    shown.add_column("")
    for place in found:
        shown.add_column(Text(for_terminal(place)), justify="right", overflow="fold")
    notes = []
    values: dict[str, dict[str, float]] = {}
    for name in names:
        mine = {place: each[name] for place, each in found.items()}
        refuse_unlike(name, mine, ignored)
        values[name] = {place: float(record["value"]) for place, record in mine.items()}
        shown.add_row(Text(for_terminal(name)), *map(format_number, values[name].values()))
        first, *others = mine.items()
        for other, record in others:
            for key, (one, two) in differences(first[1], record).items():
                notes.append(f"{name}: {key} is {one} of {first[0]} and {two} of {other}")
    for place, each in found.items():
        if missing := [name for name in each if name not in names]:
            notes.append(f"not common to all: {', '.join(missing)} of {place}")
    steps = {place: {str(record.get("step")) for record in each.values()} for place, each in found.items()}
    shown.add_row("round", *(Text(for_terminal(" ".join(mine - {"None"}))) for mine in steps.values()))
    console = Console()
    console.print(shown, highlight=False)
    for note in notes:
        console.print(Text(for_terminal(note)), soft_wrap=True)
    return values


def main() -> None:
    launch("compare", compare)


if __name__ == "__main__":
    main()
