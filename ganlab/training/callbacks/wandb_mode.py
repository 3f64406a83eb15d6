"""The mode of Weights & Biases that the environment sets. Does not import wandb."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from ganlab.core.errors import require

# dryrun and run are old names of wandb's own.
MODES = (None, "online", "offline", "disabled", "shared", "dryrun", "run")


def environment_mode() -> str | None:
    """The mode set by WANDB_MODE or the older WANDB_DISABLED; None: neither is set."""
    disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on")
    return "disabled" if disabled else os.environ.get("WANDB_MODE") or None


def check_wandb_mode(cfg: DictConfig) -> None:
    """Refuses an unknown mode, before anything is built."""
    mode = environment_mode()
    allowed = "wandb" not in cfg.logger or mode in MODES
    reason, remedy = "must be online, offline or disabled", "correct it, or set logger=csv"
    require(allowed, "WANDB_MODE", mode, reason, remedy)
