"""python -m ganlab.run: trains, then evaluates once."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.training.resume import resumed


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Plays the game that a config describes, to the end of its budget.

    Args:
        cfg: as composed from conf/run.yaml.
        overrides: the command line, so that none of it is ignored in silence.

    Returns:
        The metrics by name, as measured after the last round; empty if a signal stopped the run.

    Raises:
        ConfigError: the config cannot be played as it is; nothing was written.
        Diverged: a term or a weight went to NaN; the last good checkpoint is kept.
    """
    if cfg.resume and cfg.init_from:
        raise ConfigError("resume and init_from exclude each other: give one of them")
    directory = RunDirectory(cfg.resume, cfg.trust) if cfg.resume else None
    if directory is not None:
        cfg = resumed(directory, cfg, overrides)
    elif cfg.init_from:
        RunDirectory(cfg.init_from, cfg.trust).config()
    if str(cfg.data.get("_target_")).endswith(".Folder") and not Path(cfg.data.root).expanduser().is_dir():
        raise ConfigError(f"data.root={cfg.data.root} is no folder: set data.root to a folder of images")
    from ganlab.training.session import Session  # torch and Lightning: --help needs neither

    return Session(cfg, overrides, directory).play()


def main() -> None:
    launch("run", run)


if __name__ == "__main__":
    main()
