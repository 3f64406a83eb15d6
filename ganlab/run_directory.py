"""The run directory: a contract that other tools read.

config.yaml      resolved; enough to rebuild everything without the original conf/
signature        what the user's own key says of it: what it was made of is trusted on this machine
metrics.csv      one row per logged step
summary.json     status, steps, images, seconds, metrics with their protocol, seed, commit, versions
samples/         grids from the same latents, named by step
checkpoints/     last.ckpt, previous.ckpt, best.ckpt: written beside, then renamed
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ganlab.errors import Refused
from ganlab.trust import LARGEST, check_trust, parsed, signature
from ganlab.writing import write_beside

# What the config of an older run lacks, as it was played.
ABSENT = {"compile": False, "profile": False, "initial": {}, "stages": {}, "code_of": None, "views": []}
PARTS = "callbacks epoch global_step loops optimizer_states pytorch-lightning_version state_dict"
GROUPS = "clip data evaluation initial logger metric model objective optimizer play stages trainer trick"


class RunDirectory:
    """Paths of a run, and what is read from and written to them.

    Args:
        path: the directory, or one of its checkpoints, which then is the one to start from.
        trust: packages from which its config may build objects, beside ganlab.
    """

    def __init__(self, path: str | Path, trust: Iterable[str] = ()):
        given = Path(path)
        at_checkpoint = given.suffix == ".ckpt"
        self.path = given.parent.parent if at_checkpoint else given
        self.start = str(given) if at_checkpoint else "last"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.metrics = self.path / "metrics.csv"
        self.trust = trust
        self.written = b""  # the config, by this object: it is of the command line
        self.signed = True  # the config; a new run is, unless its weights come from one that is not

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
        self.refuse_links()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.samples.mkdir(exist_ok=True)

    def refuse_links(self) -> None:
        """Refuses a run that would have us write elsewhere."""
        for folder in (self.path, self.checkpoints, self.samples):
            for place in folder.glob("*"):
                if place.is_symlink():
                    raise Refused(f"{place} is a link, and a run writes into its own directory: remove it")

    def write_config(self, cfg: DictConfig) -> None:
        """Writes config.yaml, and signs it unless it was read from a run that was not signed."""
        path, text = self.path / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True)
        if not path.exists():
            write_beside(path, text)
        self.written = text.encode()
        if self.signed and (mark := signature(self.written)):
            place = self.path / "signature"  # of what is there, too, for a kill or another process in between
            write_beside(place, "\n".join([mark, *words(place).split()[:1]]) + "\n")
        write_beside(path, text)

    def content(self) -> tuple[bytes, bool]:
        """The bytes of config.yaml, and whether it was signed on this machine.

        Raises:
            Refused: the directory is not that of a run.
        """
        path = self.path / "config.yaml"
        if not path.is_file():
            raise Refused(f"{self.path} is not a run: it has no config.yaml; give the directory of a run")
        if path.stat().st_size > LARGEST:
            raise Refused(f"{path} has more than {LARGEST:,} bytes: restore it, or start a new run")
        content = path.read_bytes()
        marks = words(self.path / "signature").split()
        return content, bool(marks) and signature(content) in marks

    def config(self) -> DictConfig:
        """The config of the run, of which nothing is built but what may be.

        Raises:
            Refused: the directory is not that of a run; or its config names code that is neither ganlab's
                nor trusted.
        """
        content, self.signed = self.content()
        path = self.path / "config.yaml"
        try:
            cfg: DictConfig = parsed(content)
            complete(cfg)
        except Refused as refusal:
            raise Refused(f"{path} {refusal}") from refusal.__cause__
        except Exception as error:  # yaml raises many kinds
            raise Refused(f"{path} cannot be read: restore it, or start a new run") from error
        check_trust(cfg, self.trust, self.signed or content == self.written)
        return cfg

    def summary(self) -> dict[str, Any]:
        """What summary.json says; empty if there is none that can be read."""
        try:
            found = json.loads(words(self.path / "summary.json"))
        except ValueError:
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
        self.content()  # says so where this is no run at all
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
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds on a truncated file
            raise Refused(f"{path} is truncated or not a checkpoint") from error
        whole = isinstance(content, dict) and set(PARTS.split()) <= content.keys()
        state = content["state_dict"] if whole else None
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
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


def words(path: Path) -> str:
    """The text of a small file; empty where it is none, or cannot be read."""
    try:
        return path.read_text() if path.is_file() else ""
    except (OSError, ValueError):
        return ""


def complete(cfg: DictConfig) -> None:
    """Gives the config of an older run what it lacks.

    Raises:
        Refused: a group of it is none.
    """
    remedy = "restore it, or start a new run"
    if not isinstance(cfg, DictConfig):
        raise Refused(f"is not the config of a run: {remedy}")
    for name in ABSENT.keys() - cfg.keys():
        cfg[name] = ABSENT[name]
    for name in GROUPS.split():
        if not isinstance(cfg.get(name), DictConfig):
            raise Refused(f"is not the config of a run, with {name}={cfg.get(name)}: {remedy}")
    cfg.trainer.setdefault("sync_batchnorm", False)
    if "strategy" in cfg.trainer:
        cfg.trainer.strategy.setdefault("patience", 0.5)
    for trick in filter(OmegaConf.is_dict, cfg.trick.values()):
        target = str(trick.get("_target_"))
        if target.endswith(".CriticSteps"):
            trick.setdefault("burst", None)
        if target.endswith(".Normalisation") and trick.kind != "group":
            trick.groups = None  # a number stood there in vain
