"""python -m ganlab.compare: a table of metric values of several runs, if their protocols agree."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganlab.cli import launch
from ganlab.core.errors import require, terminal_text
from ganlab.core.validation import format_number
from ganlab.metrics.protocols import common_values_and_remarks, read_records


def compare(cfg: DictConfig, overrides: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Prints a table of the values that all sources have, and remarks on how the sources differ.

    A source is a run, or a file that `ganlab.evaluate` wrote. The table has one column for each source.

    Returns:
        The values, by name and source.

    Raises:
        ConfigError: there are fewer than two sources, a source has no values, they have no value in common,
            or protocols differ in keys that are not in `ignore`.
    """
    # The setting `of` is the path of a source or a list of paths, as in "compare of=[run_a,run_b]".
    paths = [cfg.of] if isinstance(cfg.of, str) else list(cfg.of)
    has_distinct_paths = len(paths) > 1 and len(set(paths)) == len(paths)
    reason, remedy = "needs two or more runs or files, each once", "set 'of=[<run or file>,<run or file>]'"
    require(has_distinct_paths, reason, remedy, key="of", value=paths)
    sources = {str(path): read_records(Path(path).expanduser()) for path in paths}
    values, remarks = common_values_and_remarks(sources, set(cfg.ignore))
    table = Table("", box=None, pad_edge=False)
    steps = []  # the steps at which the values of each source were measured; usually one step
    for source, records in sources.items():
        table.add_column(Text(terminal_text(source)), justify="right", overflow="fold")
        measured_at = {str(record["step"]) for record in records.values() if record.get("step") is not None}
        steps.append(Text(terminal_text(" ".join(measured_at))))
    for name, row in values.items():
        table.add_row(Text(terminal_text(name)), *map(format_number, row.values()))
    table.add_row("step", *steps)
    console = Console()
    console.print(table, highlight=False)
    for remark in remarks:
        console.print(Text(terminal_text(remark)), soft_wrap=True)
    return values


if __name__ == "__main__":
    launch("compare", compare)
