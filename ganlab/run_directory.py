"""The run directory: a contract that other tools read.

config.yaml      resolved; enough to rebuild everything without the original conf/
metrics.csv      one row per logged step
summary.json     status, steps, images, seconds, metrics with their protocol, seed, commit, versions
samples/         grids from the same latents, named by step
checkpoints/     last.ckpt, previous.ckpt, best.ckpt: written beside, then renamed
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.errors import Refused

# What the config of an older run lacks, as it was played.
ABSENT = {"compile": False, "profile": False, "initial": {}, "stages": {}, "code_of": None, "views": []}


class RunDirectory:
    """Paths of a run, and what is read from and written to them.

    Args:
        path: the directory, or one of its checkpoints, which then is the one to start from.
    """

    def __init__(self, path: str | Path):
        given = Path(path)
        at_checkpoint = given.suffix == ".ckpt"
        self.path = given.parent.parent if at_checkpoint else given
        self.start = str(given) if at_checkpoint else "last"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.metrics = self.path / "metrics.csv"

    def create(self) -> None:
        """Makes the directory.

        Raises:
            Refused: it exists and is not empty, or cannot be made.
        """
        # A kill may have left the folders, with nothing in them yet.
        if self.path.exists() and (
            not self.path.is_dir() or any(not place.is_dir() for place in self.path.rglob("*"))
        ):
            raise Refused(
                f"run_dir={self.path} exists and is not empty: resume={self.path} continues a run, "
                "or choose another run_dir"
            )
        try:
            self.make_folders()
        except OSError as error:
            raise Refused(f"run_dir={self.path} cannot be made: {error.strerror}; choose another") from error

    def make_folders(self) -> None:
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.samples.mkdir(exist_ok=True)

    def write_config(self, cfg: DictConfig) -> None:
        write_beside(self.path / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))

    def config(self) -> DictConfig:
        """The config of the run.

        Raises:
            Refused: the directory is not that of a run.
        """
        path = self.path / "config.yaml"
        if not path.is_file():
            newest = max(self.path.rglob("config.yaml"), key=os.path.getmtime, default=None)
            near = f"; the newest below it is {newest.parent}" if newest else ""
            raise Refused(
                f"{self.path} is not a run: it has no config.yaml; give the directory of a run{near}"
            )
        try:
            cfg = OmegaConf.load(path)
        except Exception as error:  # yaml raises many kinds
            raise Refused(f"{path} cannot be read: restore it, or start a new run") from error
        if not isinstance(cfg, DictConfig) or not {"model", "data", "objective"} <= set(cfg):
            raise Refused(f"{path} is not the config of a run: restore it, or start a new run")
        for name in ABSENT.keys() - cfg.keys():
            cfg[name] = ABSENT[name]
        cfg.trainer.setdefault("sync_batchnorm", False)
        if "strategy" in cfg.trainer:
            cfg.trainer.strategy.setdefault("patience", 0.5)
        for trick in cfg.get("trick", {}).values():
            if trick._target_.endswith(".CriticSteps"):
                trick.setdefault("burst", None)
            if trick._target_.endswith(".Normalisation") and trick.kind != "group":
                trick.groups = None  # a number stood there in vain
        return cfg

    def summary(self) -> dict[str, Any]:
        """What summary.json says; empty if there is none that can be read."""
        try:
            found = json.loads((self.path / "summary.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_summary(self, **values: Any) -> None:
        """Changes some entries of summary.json."""
        write_beside(self.path / "summary.json", json.dumps(self.summary() | values, indent=2) + "\n")

    @property
    def begun(self) -> bool:
        """Whether there is any checkpoint to go on from."""
        regular = (self.checkpoints / f"{name}.ckpt" for name in ("last", "previous"))
        return self.start != "last" or any(path.exists() for path in regular)

    def checkpoint(self, name: str | None = None) -> tuple[Path, dict[str, Any]]:
        """A checkpoint's path and content; for `last`, the previous one where the last is unreadable.

        Args:
            name: last, previous or best, or a path; None: the one that the directory was given with.

        Raises:
            Refused: there is none that can be read.
        """
        self.config()  # says so where this is no run at all
        name = name or self.start
        if name not in ("last", "previous", "best"):
            return Path(name), self._read(Path(name))
        names = ("last", "previous") if name == "last" else (name,)
        problems = []
        for candidate in names:
            path = self.checkpoints / f"{candidate}.ckpt"
            try:
                content = self._read(path)
            except Refused as problem:
                problems.append(str(problem))
                continue
            if problems:
                print(f"{problems[0]}; going on from {path.name}")
            return path, content
        raise Refused(f"{self.path} has no checkpoint to go on from: {'; '.join(problems)}")

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        if not path.is_file():
            raise Refused(f"{path} does not exist")
        import torch

        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds on a truncated file
            raise Refused(f"{path} is truncated or not a checkpoint") from error
        if not isinstance(content, dict) or "state_dict" not in content:
            raise Refused(f"{path} is not the checkpoint of a run")
        return content


def directory_for(cfg: DictConfig) -> Path:
    """Where a new run goes; the jobs of a sweep each have a directory of their own."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir) if cfg.job is None else Path(cfg.run_dir) / str(cfg.job)
    stem = f"outputs/{cfg.name}/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = [stem if cfg.job is None else f"{stem}_{cfg.job}"]
    while Path(names[-1]).exists():
        names.append(f"{names[0]}.{len(names)}")
    return Path(names[-1])


def write_beside(path: Path, text: str) -> None:
    """Replaces a file in one step: whoever reads it sees the old or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)
