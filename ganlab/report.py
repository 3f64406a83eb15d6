"""python -m ganlab.report: writes the report of a suite or of a search, with pictures. Runs nothing."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.studies.spec import needs_studies, read_study


def report(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes README.md, page.html and pictures into the folder of a suite or a search.

    Args:
        cfg: the settings in conf/report.yaml.
        overrides: the overrides of the command line, which `launch` passes to every command; not used here.

    Returns:
        The README.md.

    Raises:
        ConfigError: there is no such study, its numbers cannot be compared, or the folder cannot be written.
    """
    with needs_studies():
        study = read_study(cfg)
        from ganlab.studies.report import write  # imports libraries that ganlab alone does not need

        page, answer = write(study)
    print(f"{answer}\n  {page}")
    return page


if __name__ == "__main__":
    launch("report", report)
