"""Where a run comes from: its command, its code and the versions it ran with."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

if TYPE_CHECKING:
    import torch


ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # a hook names another checkout in these


def command(overrides: Sequence[str]) -> str:
    """The command line of a run, as one types it; of a sweep's job, of this one alone."""
    return shlex.join(["python", "-m", "ganlab.run", *searched(), *overrides])


def searched() -> list[str]:
    """Where the command was told to look for configs of one's own; so must the runs that it plays."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def commit() -> str | None:
    """The commit of the checkout that the package is part of, with a plus where it was changed.

    None where there is none: a package that is installed below another project's checkout is not of it.
    """

    here = Path(__file__).resolve()
    own = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}

    def git(*words: str) -> str:
        return check_output(["git", *words], cwd=here.parent, env=own, text=True, stderr=DEVNULL).strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    except (OSError, CalledProcessError):
        return None


def versions() -> dict[str, str]:
    packages = ("torch-ganlab", "torch", "pytorch-lightning", "torchmetrics", "numpy")
    return {"python": sys.version.split()[0], **{package: version(package) for package in packages}}


def device_name(device: torch.device) -> str:
    """cpu, or what a GPU calls itself."""
    import torch

    if device.type == "cpu":
        return "cpu"
    return str(torch.get_device_module(device).get_device_name(device))
