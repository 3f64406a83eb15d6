"""Weights & Biases as a logger of a run: online after `wandb login`, otherwise offline; it never prompts."""

import netrc
import os
import secrets
import shlex
import threading
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from http.client import HTTPException
from inspect import signature
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import urlopen

from omegaconf import DictConfig
from pytorch_lightning.loggers import WandbLogger

from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError, error_message, require

# The values that WANDB_MODE may have, or None if it is not set. dryrun and run are old names of modes.
MODES = (None, "online", "offline", "disabled", "shared", "dryrun", "run")
PATIENCE = 3.0  # how many seconds the server is given to answer; by default wandb waits for 100 s
UPLOAD_TIME = 300.0  # how many seconds the upload at the end may take; by default wandb waits without limit
# Variables without effect: the run directory decides where W&B writes and which W&B run a resume continues.
IGNORED_VARIABLES = ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_RESUME")


class Wandb(WandbLogger):
    """A W&B run in the run directory, which a resume continues; its x-axis is the step of the game.

    Args:
        mode: the mode of W&B. "auto" is the mode that WANDB_MODE names. If that is not set, it is online if
            there is a key and the server answers, and otherwise offline.
        artifacts: whether checkpoints and pictures become artifacts when the run ends without an error.
        directory: the directory of the run.
        arguments: further arguments of `wandb.init`, such as project, entity, tags and notes. A value that is
            null or empty is that of the variable of W&B, or W&B's default.

    Attributes:
        view_command: the address of the W&B run, or the command that uploads it; "disabled" if
            W&B is disabled.

    Raises:
        ConfigError: W&B rejects the run, or an argument is unknown or set by ganlab.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "disabled"],
        artifacts: bool,
        directory: RunDirectory,
        **arguments: Any,
    ):
        refuse_foreign_settings(directory)
        # In a sweep of W&B, its agent gives the run an id, and wandb.init silently ignores any other id.
        sweep_run_id = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        ignored = [name for name in IGNORED_VARIABLES if os.environ.get(name)]
        if ignored and sweep_run_id is None:
            print(f"{', '.join(ignored)} have no effect: the W&B run belongs to {directory.path}")
        run_id = sweep_run_id or directory.summary().get("wandb_run_id") or secrets.token_hex(4)
        directory.write_summary(wandb_run_id=run_id)
        name = arguments.pop("name", None) or os.environ.get("WANDB_NAME") or directory.path.name
        timeouts = {"init_timeout": 3 * PATIENCE, "finish_timeout": UPLOAD_TIME}
        words = {"silent": True, "console": "off"}  # without the variables WANDB_SILENT and WANDB_CONSOLE
        quiet = {word: value for word, value in words.items() if f"WANDB_{word.upper()}" not in os.environ}
        self.directory, self.artifacts = directory, artifacts
        own = {
            "name": name, "dir": directory.path, "id": run_id, "resume": "allow", "mode": resolve_mode(mode),
            "allow_val_change": True, "settings": {**quiet, **timeouts},
        }  # fmt: skip
        refuse_unknown_arguments(arguments, own)
        given = {argument: value or None for argument, value in arguments.items()}
        run = init_run(may_fall_back_to_offline=mode == "auto", **given, **own)
        run.define_metric("*", step_metric="step")
        # One command for all parts of a resumed run, which wandb uploads in order.
        sync = f"offline; wandb sync {shlex.quote(str(directory.path))}/wandb/offline-run-*"
        # To read the address of an offline run would print a warning. A disabled run has no address.
        self.view_command = sync if run.offline else run.url or run.settings.mode
        super().__init__(experiment=run)

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:  # type: ignore[override]
        self.experiment.log({**metrics, "step": step})

    def log_alert(self, name: str, text: str, step: int) -> None:
        """Sends an alert about a finding of the health monitor."""
        self.experiment.alert(title=name, text=text)

    def finalize(self, status: str) -> None:
        """Ends the W&B run, so that the next job of a sweep starts a new one."""
        if self.artifacts and status == "success":
            self._log_artifact("model", self.directory.checkpoints)
            self._log_artifact("samples", self.directory.samples)
        self.experiment.finish(exit_code=0 if status == "success" else 1)

    def _log_artifact(self, kind: str, folder: Path) -> None:
        """Logs the files of a folder as the next version of the run's artifact of this kind."""
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self.experiment.id}", type=kind)
        for file in sorted(folder.iterdir()):
            if file.is_file() and not file.is_symlink():  # a link may lead out of somebody else's run
                artifact.add_file(str(file))
        self.experiment.log_artifact(artifact)


def refuse_unknown_arguments(given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuses settings that `wandb.init` does not know, or that are `own`: those that ganlab sets."""
    import wandb

    known = sorted({*signature(wandb.init).parameters}.difference(own, ("config",)))
    for name, value in given.items():
        nearest = get_close_matches(name, known, n=1)
        remedy = f"write {nearest[0]}" if nearest else f"choose from {', '.join(known)}"
        reason = "is set by ganlab" if name in (*own, "config") else "is no argument of wandb.init"
        require(name in known, reason, remedy, f"logger.wandb.{name}", value)


def refuse_foreign_settings(directory: RunDirectory) -> None:
    """Refuses W&B's file of settings in the working directory if somebody else made the run.

    It may come with the run, and W&B would send the user's key to the server that the file names.
    """
    for path in ("wandb/settings", ".wandb/settings"):
        allowed = directory.made_by_user or not os.path.exists(path)
        require(allowed, f"{path} would tell W&B where to send your key", "remove it, or set logger=csv")


def environment_mode() -> str | None:
    """The mode set by WANDB_MODE or the older WANDB_DISABLED; None: neither is set."""
    disabled = os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on")
    return "disabled" if disabled else os.environ.get("WANDB_MODE") or None


def check_wandb_mode(cfg: DictConfig) -> None:
    """Refuses an unknown mode in the environment, before anything is built."""
    mode = environment_mode()
    allowed = "wandb" not in cfg.logger or mode in MODES
    reason, remedy = "must be online, offline or disabled", "correct it, or set logger=csv"
    require(allowed, reason, remedy, "WANDB_MODE", mode)


def resolve_mode(mode: str) -> str:
    """The mode to pass to wandb: for "auto", the mode of the environment, or online if possible."""
    if os.environ.get("WANDB_MODE") == "":
        del os.environ["WANDB_MODE"]  # W&B would take the empty text for a mode
    given = environment_mode() if mode == "auto" else mode
    return given or ("online" if is_reachable() else "offline")


def is_reachable() -> bool:
    """Whether W&B can be used online: there is a key, and the server answers in time."""
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    host = urlparse(url).hostname or ""
    has_key = bool(os.environ.get("WANDB_API_KEY"))
    with suppress(OSError, netrc.NetrcParseError):  # `wandb login` leaves a key in the netrc file
        has_key = has_key or netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    answers = has_key and server_answers(url)
    if has_key and not answers:
        print(f"{host} does not answer: logging to W&B offline")
    return answers


def server_answers(url: str) -> bool:
    """Whether a server answers in time, with any status. If the environment names a proxy, it is used."""
    reached = threading.Event()

    def request() -> None:
        with suppress(OSError, HTTPException):
            with suppress(HTTPError):  # an error status is an answer, too
                urlopen(url, timeout=PATIENCE).close()
            reached.set()

    # The timeout of urlopen does not limit the time to look up the name, and starts again for each address of
    # the server, so the request runs in a thread.
    threading.Thread(target=request, daemon=True).start()
    return reached.wait(PATIENCE)


def init_run(*, may_fall_back_to_offline: bool, **settings: Any) -> Any:
    """Starts a W&B run with the arguments of `wandb.init`; offline if that is allowed and needed.

    Raises:
        ConfigError: wandb or its server rejects the run.
    """
    import wandb  # only here: a run without W&B does not import it

    try:
        return wandb.init(**settings)
    except (wandb.Error, ValueError) as error:  # a ValueError is about a setting
        if may_fall_back_to_offline and settings["mode"] == "online":
            print(f"W&B rejects the run ({error_message(error)}): logging to W&B offline")
            wandb.teardown()  # W&B's background process still holds the id of the rejected run
            return init_run(may_fall_back_to_offline=False, **{**settings, "mode": "offline"})
        repair = "log in, or set logger.wandb.mode=offline" if settings["mode"] == "online" else "correct it"
        reason = f"W&B rejects the run: {error_message(error)}"
        raise ConfigError(reason, f"{repair}, or set logger=csv", key="logger", value="wandb") from error
