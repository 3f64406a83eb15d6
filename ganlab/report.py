"""python -m ganlab.report: writes what the results of a suite or a sweep say, with pictures. Runs nothing."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.errors import Refused


def report(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes README.md and its pictures into the folder of a suite or a sweep.

    Returns:
        The README.md.

    Raises:
        Refused: there is none such, its numbers do not compare, or the folder cannot be written.
    """
    refuse_two(cfg)
    if cfg.suite:
        from ganlab.suites import document, suite

        page, answer = document.write(suite.read(cfg.suite))
    else:
        from ganlab.sweeps import document as of_sweep
        from ganlab.sweeps import sweep

        page, answer = of_sweep.write(sweep.read(cfg.sweep))
    print(f"{answer}\n  {page}")
    return page


def refuse_two(cfg: DictConfig) -> None:
    """Refuses neither a suite nor a sweep, or both."""
    if not cfg.suite and not cfg.sweep:
        raise Refused(
            "suite is missing: give the folder of one, such as suite=experiments/<name>, or a sweep"
        )
    if cfg.suite and cfg.sweep:
        raise Refused(f"suite={cfg.suite} and sweep={cfg.sweep} exclude each other: give one of them")


def main() -> None:
    launch("report", report)


if __name__ == "__main__":
    main()
