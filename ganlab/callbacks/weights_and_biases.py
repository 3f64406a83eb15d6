"""Weights & Biases, without ever asking: online when one is logged in, else offline."""

from __future__ import annotations

import netrc
import os
import secrets
import threading
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import urlopen

import wandb
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger

from ganlab.errors import Refused
from ganlab.run_directory import RunDirectory

PATIENCE = 3.0  # seconds that the server has to answer; wandb itself gives up after 100


class Wandb(WandbLogger):
    """A W&B run beside the run directory, which a resume continues; its x-axis is the round of the game.

    Args:
        mode: auto is online when a key is known and the server answers, else offline.

    Raises:
        Refused: another mode.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline"],
        project: str,
        entity: str | None,
        group: str | None,
        job_type: str | None,
        directory: RunDirectory,
        cfg: DictConfig,
    ):
        if mode not in ("auto", "online", "offline"):
            raise Refused(
                f"logger.wandb.mode={mode} must be auto, online or offline; logger=csv does without"
            )
        if mode == "auto":
            chosen = os.environ.get("WANDB_MODE") or ("online" if reachable() else "offline")
        else:
            chosen = mode
        run_id = given_id() or directory.summary().get("wandb_run_id") or secrets.token_hex(4)
        directory.write_summary(wandb_run_id=run_id)
        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        run = begin(
            mode == "auto",
            project=project,
            entity=entity,
            group=group,
            job_type=job_type,
            name=directory.path.name,
            dir=directory.path,
            id=run_id,
            resume="allow",
            mode=chosen,
            config={**settings, "commit": directory.summary().get("commit")},
            allow_val_change=True,
            settings=wandb.Settings(silent=True, console="off", init_timeout=3 * PATIENCE),
        )
        run.define_metric("*", step_metric="step")
        super().__init__(experiment=run)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        self.experiment.log({**metrics, "step": step})

    def finalize(self, status: str) -> None:
        """Ends the W&B run, so that the next job of a sweep gets one of its own."""
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def given_id() -> str | None:
    """The id that `wandb agent` has given the run, in which its sweep looks for the metric.

    In a sweep wandb.init takes no other, and says nothing of it.
    """
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def reachable() -> bool:
    """Whether W&B may be used online: a key is known, and the server answers in time."""
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    host = urlparse(url).hostname or ""
    if not (os.environ.get("WANDB_API_KEY") or stored_key(host)):
        return False
    if not answers(url):
        print(f"{host} does not answer: logging to W&B offline")
        return False
    return True


def answers(url: str) -> bool:
    """Whether a server says anything in time, through a proxy where one is set."""
    reached = threading.Event()

    def ask() -> None:
        with suppress(OSError, HTTPException):
            with suppress(HTTPError):  # an answer, too
                urlopen(url, timeout=PATIENCE).close()
            reached.set()

    # In a thread: looking up a name, and trying all of its addresses, have limits of their own.
    attempt = threading.Thread(target=ask, daemon=True)
    attempt.start()
    attempt.join(PATIENCE)
    return reached.is_set()


def stored_key(host: str) -> bool:
    """Whether `wandb login` has left a key: it writes it to the netrc file."""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def begin(may_stay_offline: bool, **settings: Any) -> Any:
    """A W&B run; offline where the server does not take it, if it may be.

    Raises:
        Refused: the server does not take it.
    """
    try:
        return wandb.init(**settings)
    except wandb.Error as error:
        if may_stay_offline and settings["mode"] == "online":
            print(f"W&B does not take the run ({' '.join(str(error).split())}): logging to W&B offline")
            wandb.teardown()  # its service still holds the id
            return wandb.init(**{**settings, "mode": "offline"})
        reason = " ".join(str(error).split())
        raise Refused(f"W&B refuses: {reason}; log in, or give logger.wandb.mode=offline") from error
