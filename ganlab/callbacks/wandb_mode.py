"""How W&B is asked to be used, as the config and the environment say; imports nothing heavy."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from ganlab.errors import Refused

MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")  # wandb's own; the last two are old


def wanted_mode() -> str | None:
    """What WANDB_MODE and its older sister WANDB_DISABLED ask for; None: nothing."""
    disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on")
    return "disabled" if disabled else os.environ.get("WANDB_MODE") or None


def check_mode(cfg: DictConfig) -> None:
    """Refuses a mode that is none, before anything is built."""
    if "mode" not in cfg.logger.get("wandb", {}):  # another logger, or one of one's own
        return
    mode = cfg.logger.wandb.mode
    if mode not in ("auto", "online", "offline"):
        raise Refused(f"logger.wandb.mode={mode} must be auto, online or offline; logger=csv does without")
    if (asked := wanted_mode()) and asked not in MODES:
        raise Refused(
            f"WANDB_MODE={asked} must be online, offline or disabled: set one of them, or give logger=csv, "
            "which does without W&B"
        )
