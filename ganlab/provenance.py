"""Where a run comes from: its command, its code and the versions it ran with."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def command() -> str:
    """The command line, as one types it."""
    name = Path(sys.argv[0]).stem
    return shlex.join(
        [*(["ganlab"] if name == "ganlab" else ["python", "-m", f"ganlab.{name}"]), *sys.argv[1:]]
    )


def commit() -> str | None:
    """The commit of the checkout that runs, with a plus where it was changed; None where there is none."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
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
