"""The provenance of a run: its command, its code, and the versions of packages."""

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ganlab.training.resume import leaves

# `git_commit` removes these variables, because within a git hook they name a different checkout.
GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
PACKAGES = ("torch-ganlab", "torch", "pytorch-lightning", "torchmetrics", "numpy")


def command_line(overrides: Sequence[str]) -> str:
    """The command line of a run, quoted for a shell; in a sweep, the command line of the single job."""
    return shlex.join(["python", "-m", "ganlab.run", *config_dirs(), *overrides])


def config_dirs() -> list[str]:
    """The options `--config-dir=...` of the present command, which it passes on to runs that it starts."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def hyperparameters(cfg: DictConfig) -> dict[str, Any]:
    """The settings of a run under flat keys, such as "optimizer.generator.lr", for the tables of loggers.

    Lists are texts, because a table cannot group by lists. `trick` and `metric` name what is selected.
    """
    flat = {key: str(value) if isinstance(value, list) else value for key, value in leaves(cfg, "")}
    selected = {group: ", ".join(map(str, sorted(cfg[group]))) for group in ("trick", "metric")}
    return {**flat, **selected, "commit": git_commit()}


def git_commit() -> str | None:
    """The hash of the commit that is checked out, with a plus if files were changed.

    None if the package is not part of a checkout, even if it lies in one, as an installed package may.
    """
    file = Path(__file__).resolve()
    env = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}

    def git(*words: str) -> str:
        return check_output(["git", *words], cwd=file.parent, env=env, text=True, stderr=DEVNULL).strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    except (OSError, CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    return {"python": sys.version.split()[0], **{package: version(package) for package in PACKAGES}}
