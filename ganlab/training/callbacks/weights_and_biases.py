"""Weights & Biases, without ever asking: online when one is logged in, else offline."""

from __future__ import annotations

import netrc
import os
import secrets
import shlex
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

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError, one_line
from ganlab.training.callbacks.wandb_mode import wanted_mode

PATIENCE = 3.0  # seconds that the server has to answer; wandb itself gives up after 100
FINISH = 300.0  # seconds for what is still to be sent at the end; wandb itself waits for ever
# Without effect: the run directory says where W&B writes and which W&B run a resume continues.
IDLE = ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_RESUME")


class Wandb(WandbLogger):
    """A W&B run beside the run directory, which a resume continues; its x-axis is the round of the game.

    Args:
        mode: auto is what WANDB_MODE says; else online with a key and a server that answers, or offline.
        project, entity, group, job_type: of W&B's run; null and empty: W&B's own.

    Raises:
        ConfigError: W&B does not take the run.
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
        refuse_settings(directory)
        chosen = chosen_mode(mode)
        if (idle := [name for name in IDLE if os.environ.get(name)]) and given_id() is None:
            print(f"{', '.join(idle)} have no effect: the W&B run and its files belong to {directory.path}")
        run_id = given_id() or directory.summary().get("wandb_run_id") or secrets.token_hex(4)
        directory.write_summary(wandb_run_id=run_id)
        settings: Any = OmegaConf.to_container(cfg, resolve=True)
        run = begin(
            mode == "auto",
            project=project or None,
            entity=entity or None,
            group=group or None,
            job_type=job_type or None,
            name=os.environ.get("WANDB_NAME") or directory.path.name,
            dir=directory.path,
            id=run_id,
            resume="allow",
            mode=chosen,
            config={**settings, "commit": directory.summary().get("commit")},
            allow_val_change=True,
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=3 * PATIENCE, finish_timeout=FINISH
            ),
        )
        run.define_metric("*", step_metric="step")
        # All parts of a resumed run in one command: wandb sends those of one run in their order.
        parts = f"{shlex.quote(str(directory.path))}/wandb/offline-run-*"
        self.whereabouts = f"offline; wandb sync {parts}" if run.offline else run.url or chosen
        super().__init__(experiment=run)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        self.experiment.log({**metrics, "step": step})

    def finalize(self, status: str) -> None:
        """Ends the W&B run, so that the next job of a sweep gets one of its own."""
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def refuse_settings(directory: RunDirectory) -> None:
    """Refuses the settings that W&B reads where one works, beside a stranger's run: they name a server."""
    for place in filter(os.path.exists, () if directory.signed else ("wandb/settings", ".wandb/settings")):
        raise ConfigError(f"{place} would tell W&B where to send your key: remove it, or give logger=csv")


def chosen_mode(mode: str) -> str:
    """The mode for W&B: what was asked for, else online where that goes."""
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # W&B would take it for a mode
    asked = wanted_mode() if mode == "auto" else mode
    return asked or ("online" if reachable() else "offline")


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
        ConfigError: the server does not take it.
    """
    try:
        return wandb.init(**settings)
    except (wandb.Error, ValueError) as error:  # the latter of a setting, by its name
        if may_stay_offline and settings["mode"] == "online":
            print(f"W&B does not take the run ({one_line(error)}): logging to W&B offline")
            wandb.teardown()  # its service still holds the id
            return begin(False, **{**settings, "mode": "offline"})
        remedy = "log in, or give logger.wandb.mode=offline" if settings["mode"] == "online" else "mend it"
        raise ConfigError(
            f"W&B refuses: {one_line(error)}; {remedy}, or logger=csv, which does without"
        ) from error
