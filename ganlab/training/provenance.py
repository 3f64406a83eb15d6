"""The provenance of a run: its command, its code, and the versions of packages."""

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output

from hydra.core.hydra_config import HydraConfig

GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # of another checkout, within a git hook
PACKAGES = ("torch-ganlab", "torch", "pytorch-lightning", "torchmetrics", "numpy")


def run_command(overrides: Sequence[str]) -> str:
    """The command line of a run, quoted for a shell; in a sweep, that of the single job."""
    return shlex.join(["python", "-m", "ganlab.run", *config_dirs(), *overrides])


def config_dirs() -> list[str]:
    """The command's `--config-dir=...` of the user's own configs, which the runs it starts need, too."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def git_commit() -> str | None:
    """The hash of the commit that the package is checked out from, with a plus if files were changed.

    None if the package is not part of a checkout; it may be installed below another project's.
    """
    here = Path(__file__).resolve()
    env = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}

    def git(*words: str) -> str:
        return check_output(["git", *words], cwd=here.parent, env=env, text=True, stderr=DEVNULL).strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+")
    except (OSError, CalledProcessError):
        return None


def versions() -> dict[str, str]:
    return {"python": sys.version.split()[0], **{package: version(package) for package in PACKAGES}}
