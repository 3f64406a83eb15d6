"""python -m ganlab.health: the page of a run's health, one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import escape_unprintable, require
from ganlab.filesystem import config_error_if_unwritable, write_atomically


def health(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes the page of a run's health, and returns its file.

    Raises:
        ConfigError: there is no run, nothing was measured in it, or the output is no .html file.
    """
    require(cfg.run_dir is not None, "is missing", "set it to the directory of a run", "run_dir", None)
    run, remedy = RunDirectory(cfg.run_dir), "give a file that ends in .html"
    run.read_config()  # refuses what is no run
    run.refuse_special_files()
    output = Path(cfg.output or run.path / "health.html")
    require(output.suffix == ".html" and not output.is_dir(), "is no page", remedy, "output", cfg.output)
    from ganlab.monitoring.page import health_page  # imports matplotlib

    with config_error_if_unwritable(output, key="output"):
        write_atomically(output, health_page(run))
    print(escape_unprintable(str(output)))
    return output


if __name__ == "__main__":
    launch("health", health)
