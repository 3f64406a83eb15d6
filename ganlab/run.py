"""`python -m ganlab.run`: trains a game, then evaluates it. Imports torch and Lightning only to train."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import require
from ganlab.training.resume import resumed_config


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Trains a game to the end of its budget, then evaluates it.

    Args:
        cfg: composed from conf/run.yaml.
        overrides: those of the command line; one that would have no effect is refused.

    Returns:
        The metrics by name after the last step; empty if a signal stopped the run.

    Raises:
        ConfigError: the config cannot be played; nothing was written.
        Diverged: a loss or a weight is not finite, or explodes; the last good checkpoint is kept.
        ProcessLost: another process of the run has died.
    """
    reason = "cannot be combined with resume"
    require(not (cfg.resume and cfg.init_from), "init_from", cfg.init_from, reason, "remove one of them")
    directory = None
    if cfg.resume:
        directory = RunDirectory(cfg.resume, cfg.trust)
        cfg = resumed_config(directory, cfg, overrides)
    elif cfg.init_from:
        RunDirectory(cfg.init_from, cfg.trust).config()  # refuses code that is not trusted
    # Checked here as well, because this comes before the import of torch.
    if str(cfg.data.get("_target_")).endswith(".Folder"):
        exists = Path(cfg.data.root).expanduser().is_dir()
        require(exists, "data.root", cfg.data.root, "is not a folder", "set it to a folder of images")
    from ganlab.training.lifecycle import play
    from ganlab.training.session import Session

    return play(Session(cfg, overrides, directory))


def main() -> None:
    launch("run", run)


if __name__ == "__main__":
    main()
