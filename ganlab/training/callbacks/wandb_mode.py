"""How W&B is to be used, as the config and the environment say; imports nothing heavy."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from ganlab.core.errors import ConfigError

# The last two are wandb's old ones.
MODES = (None, "online", "offline", "disabled", "shared", "dryrun", "run")


def wanted_mode() -> str | None:
    """What WANDB_MODE and its older sister WANDB_DISABLED ask for; None: nothing."""
    disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on")
    return "disabled" if disabled else os.environ.get("WANDB_MODE") or None


def check_mode(cfg: DictConfig) -> None:
    """Refuses a mode that W&B does not know, before anything is built."""
    asked = wanted_mode()
    if "wandb" in cfg.logger and asked not in MODES:
        raise ConfigError(
            f"WANDB_MODE={asked} must be online, offline or disabled; logger=csv does without W&B"
        )
