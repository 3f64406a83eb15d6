"""python -m ganlab.report: writes what the results of a suite or a sweep say, with pictures. Runs nothing."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.suites.page import refuse_two


def report(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes README.md and its pictures into the folder of a suite or a sweep.

    Args:
        cfg: the settings in conf/report.yaml.
        overrides: the overrides of the command line, which `launch` passes to every command; not used here.

    Returns:
        The README.md.

    Raises:
        ConfigError: there is no such suite or sweep, its numbers cannot be compared, or the folder cannot be
            written.
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


if __name__ == "__main__":
    launch("report", report)
