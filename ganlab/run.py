"""`python -m ganlab.run`: trains a game, then evaluates it. Imports torch and Lightning only to train."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import require
from ganlab.training.resume import resumed_config


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Trains a game to its last step, then evaluates it.

    Returns:
        The metrics by name after the last step; empty if a signal stopped the run.

    Raises:
        ConfigError: the config cannot be played. In this case nothing is written.
        Diverged: a loss or a weight is not finite, or explodes; the last good checkpoint is kept.
        ProcessLost: another process of the run has died.
    """
    reason = "cannot be combined with resume"
    require(not (cfg.resume and cfg.init_from), reason, "remove one of them", "init_from", cfg.init_from)
    directory = RunDirectory(cfg.resume, cfg.trust) if cfg.resume else None
    if directory is not None:
        cfg = resumed_config(directory, cfg, overrides)
    elif cfg.init_from:
        RunDirectory(cfg.init_from, cfg.trust).config()  # refuses code that is not trusted
    # The data set checks its folder as well, but only after the slow import of torch.
    if str(cfg.data.get("_target_")).endswith(".Folder"):
        is_folder = Path(cfg.data.root).expanduser().is_dir()
        require(is_folder, "is not a folder", "set it to a folder of images", "data.root", cfg.data.root)
    from ganlab.training.lifecycle import play
    from ganlab.training.session import Session

    return play(Session(cfg, overrides, directory))


if __name__ == "__main__":
    launch("run", run)
