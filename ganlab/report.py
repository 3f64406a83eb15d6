"""python -m ganlab.report: writes what a suite's results say, with pictures. Runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.errors import Refused


def report(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes README.md and its pictures into the folder of a suite.

    Returns:
        The README.md.

    Raises:
        Refused: there is no such suite, its numbers do not compare, or the folder cannot be written.
    """
    if not cfg.suite:
        raise Refused("suite is missing: give the folder of one, such as suite=experiments/<name>")
    from ganlab.suites.document import write
    from ganlab.suites.suite import read

    page, answer = write(read(cfg.suite))
    print(f"{answer}\n  {page}")
    return page


def main() -> None:
    launch("report", report)


if __name__ == "__main__":
    main()
