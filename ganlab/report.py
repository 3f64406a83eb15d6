"""python -m ganlab.report: writes the report of a suite or of a search, with pictures. Runs nothing."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.studies.spec import needs_studies, read_study


def report(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes README.md, page.html and pictures into the folder of a suite or a search; returns README.md.

    The settings are those in conf/report.yaml; the overrides, which `launch` passes, are not used. Raises
    `ConfigError` if there is no such study, if its numbers do not compare, or if the folder is not writable.
    """
    with needs_studies():
        study = read_study(cfg)
        from ganlab.studies.report import write  # imports libraries that ganlab alone does not need

        page, answer = write(study)
    print(f"{answer}\n  {page}")
    return page


if __name__ == "__main__":
    launch("report", report)
