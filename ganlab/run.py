"""`python -m ganlab.run`: trains a game, then evaluates it. Imports torch and Lightning only to train."""

from collections.abc import Mapping, Sequence

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.training.train import CALLBACK, train


def run(cfg: DictConfig, overrides: Sequence[str] = ()) -> Mapping[str, float]:
    """Trains a game to its last step, then evaluates it.

    Returns:
        The metrics by name after the last step; empty if a signal stopped the run.

    Raises: what `train` raises.
    """
    result = train(cfg, overrides)
    if result.reason not in (None, CALLBACK) and cfg.job is not None:  # the run is a job of a sweep
        raise SystemExit(f"{result.reason} ended the sweep")
    return result.metrics


if __name__ == "__main__":
    launch("run", run)
