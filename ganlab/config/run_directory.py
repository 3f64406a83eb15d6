"""The directory of a run. Its layout is stable, so that other tools may rely on it.

config.yaml      the resolved config, which rebuilds everything without conf/; the first key is `format`
signature        signatures of config.yaml by the user's key. A signed config may build any object
metrics.csv      one row per logged step
lock             locked while a process plays the run, and names this process; empty after that
summary.json     status, steps, images, seconds, metrics with their protocol, seed, commit, versions
samples/         pictures from the same latents, named by step
checkpoints/     last.ckpt, previous.ckpt, best.ckpt: written under another name, then renamed
borrowed/        for each run whose networks this run borrows, a directory with its config and its checkpoint

This module is in config/, the lowest folder that needs it: objects are built from the config of a run.
"""

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.overrides import shell_override
from ganlab.config.saved_config import FORMAT, RESTORE_REMEDY, check_trust, signature, validated_saved_config
from ganlab.core.errors import ConfigError, error_message, require
from ganlab.filesystem import Lock, read_regular_file, write_atomically

MAX_CONFIG_BYTES, MAX_TEXT_BYTES = 1 << 20, 8 << 20  # the largest sizes of config.yaml and of other texts
# What a study notes in the summary of a run before it begins, and of one that was refused.
STUDY_ENTRIES = {"parameters", "status", "reason"}
# The entries of every checkpoint that Lightning writes.
CHECKPOINT_ENTRIES = {
    "callbacks": dict, "epoch": int, "global_step": int, "loops": dict, "lr_schedulers": list,
    "optimizer_states": list, "pytorch-lightning_version": str, "state_dict": dict,
}  # fmt: skip


class RunDirectory:
    """The files of a run: their paths, reading and writing.

    Args:
        path: the directory, or one of its checkpoints, which the method `checkpoint` then reads by default.
        trust: packages from which the run's config may build objects, in addition to ganlab.
    """

    def __init__(self, path: str | Path, trust: Iterable[str] = ()):
        require(isinstance(path, str | os.PathLike), "must be the path of a run", key="run_dir", value=path)
        self.given = given = Path(path)
        is_checkpoint = given.suffix == ".ckpt"
        self.path = given.parent.parent if is_checkpoint else given
        self.default_checkpoint = str(given) if is_checkpoint else "last"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.borrowed = self.path / "borrowed"
        self.metrics = self.path / "metrics.csv"
        self.config_file = self.path / "config.yaml"
        self.trust = trust
        self.written_config = b""  # the config as this object wrote it, which is trusted
        # Whether this run counts as made by this user, so that its config is signed and may build any object.
        # `config` sets it to whether the signature of an existing run is valid. The caller of a new run sets
        # it to False if the run starts from the weights of an unsigned one.
        self.made_by_user = True
        self.created_directories: list[Path] = []  # the directories that `create` made, innermost first
        self.existing_paths: set[Path] | None = None  # the content of the directory before `create`
        self._lock: Lock | None = None

    def create(self) -> None:
        """Creates and locks the directory.

        Raises:
            ConfigError: the directory is not empty, or is in use by a different process.
            OSError: the directory cannot be created.
        """
        self._refuse_nonempty()
        self.created_directories = [p for p in (self.path, *self.path.parents) if not os.path.exists(p)]
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        self._refuse_nonempty()  # again, because a different process may have finished a run
        # From here on, the directory belongs to this run, and `discard` may remove what is in it.
        self.existing_paths = set(self.path.glob("*")) - {self.path / "lock"}

    def _refuse_nonempty(self) -> None:
        files = (path for path in self.path.rglob("*") if not path.is_dir())
        # What a study, or a process that was killed before its run began, may have left behind.
        noted = self.summary().keys()
        kept = ("lock", "summary.json") if noted and noted <= STUDY_ENTRIES else ("lock",)
        leftover = (p.name in kept or p.suffix == ".part" or self.borrowed in p.parents for p in files)
        is_empty = not os.path.isfile(self.path) and all(leftover)
        remedy = f"continue the run with {shell_override('resume', self.path)}, or choose another run_dir"
        require(is_empty, "exists and is not empty", remedy, "run_dir", self.path)

    def make_folders(self) -> None:
        """Creates the folders of samples and checkpoints."""
        self.refuse_special_files()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.samples.mkdir(exist_ok=True)

    def refuse_special_files(self) -> None:
        """Refuses pipes, devices and links out of the directory, by which data could leave the directory."""
        root = self.path.resolve()
        for path in self.path.rglob("*"):
            if self.path / "wandb" in path.parents:
                continue  # this folder contains links to logs elsewhere
            is_inside = root in Path(os.path.realpath(path)).parents
            is_ordinary = path.is_symlink() or path.is_file() or path.is_dir()
            if not (is_inside and is_ordinary):
                raise ConfigError(f"{path} is a link out of the run directory, or not a file", "remove it")

    def lock(self) -> None:
        """Keeps other processes from playing this run, until `release` or the end of this process."""
        self._lock = Lock(self.path / "lock")  # the constructor locks the file

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Removes everything that was created since `create`."""
        if self.existing_paths is not None:
            for path in set(self.path.glob("*")) - self.existing_paths:
                shutil.rmtree(path, ignore_errors=True)  # if it is a folder
                with suppress(OSError):
                    path.unlink(missing_ok=True)  # if it is a file
        for path in self.created_directories:
            with suppress(OSError):  # if it is not empty, a different process uses it
                path.rmdir()

    def io_error(self, error: OSError, has_trained: bool) -> ConfigError:
        """The error to report when a file of the run cannot be written or read, before or after training."""
        cause = error.strerror or error_message(error)
        if not has_trained:
            return ConfigError(f"cannot be created ({cause})", "choose another", "run_dir", self.path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason, remedy = f"the disk is full, or a quota is reached ({cause})", "make room"
        elif not os.path.isdir(self.path):
            reason, remedy = "was removed or renamed during the run", "put it back"
        else:
            reason, remedy = f"cannot write or read {error.filename or self.path} ({cause})", "repair it"
        resume = f"then continue from the last checkpoint with {shell_override('resume', self.path)}"
        return ConfigError(reason, f"{remedy}, {resume}", "run_dir", self.path)

    def write_config(self, cfg: DictConfig) -> None:
        """Writes config.yaml, and signs it unless it was read from an unsigned run."""
        text = f"format: {FORMAT}\n{OmegaConf.to_yaml(cfg, resolve=True)}"
        if not self.config_file.exists():
            # First, so that there is no signature without a config if the process dies between the two.
            write_atomically(self.config_file, text)
        self.written_config = text.encode()
        if self.made_by_user and (new_signature := signature(self.written_config)):
            # Until config.yaml is replaced below, it has its old content, whose signature is kept. It is the
            # first one in the file, unless an earlier process died between the two writes.
            old_signatures = self._read_text("signature").split()[:1]
            write_atomically(self.path / "signature", "\n".join([new_signature, *old_signatures]) + "\n")
        write_atomically(self.config_file, text)

    def read_config(self) -> tuple[bytes, bool]:
        """The content of config.yaml, not parsed, and whether this user has signed it."""
        self._refuse_other_directory()
        try:
            content = read_regular_file(self.config_file, MAX_CONFIG_BYTES)
        except OSError as error:
            reason = f"{self.config_file} cannot be read ({error.strerror})"
            raise ConfigError(reason, RESTORE_REMEDY) from error
        signatures = self._read_text("signature").split()
        return content, bool(signatures) and signature(content) in signatures

    def _refuse_other_directory(self) -> None:
        """Raises `ConfigError` if the directory is not that of a run."""
        if os.path.isfile(self.config_file):
            return
        remedy = "give the directory of a run"
        if os.path.isdir(self.path):
            configs = [*self.path.glob("*/config.yaml"), *self.path.glob("*/*/config.yaml")]
            if files := [path for path in configs if path.is_file()]:
                remedy += f", such as {max(files, key=os.path.getmtime).parent}"
        raise ConfigError(f"{self.path} is not a run: it has no config.yaml", remedy)

    def config(self) -> DictConfig:
        """The config of the run. Sets `made_by_user` to whether the config has a valid signature.

        Its `trust` is that of this object, and its `borrows` are the copies in this directory.

        Raises:
            ConfigError: the config cannot be read, or would build objects that are not allowed.
        """
        content, self.made_by_user = self.read_config()
        try:
            cfg = validated_saved_config(content, self.summary())
        except ConfigError as error:
            raise ConfigError(f"{self.config_file} {error.reason}", error.remedy) from error.__cause__
        except Exception as error:  # yaml raises many kinds
            raise ConfigError(f"{self.config_file} cannot be read", RESTORE_REMEDY) from error
        check_trust(cfg, self.trust, self.made_by_user or content == self.written_config)
        cfg.trust = list(self.trust)
        if borrows := cfg.get("borrows"):
            self.refuse_special_files()  # of which copies could be links
            cfg.borrows = {name: str(self.borrowed / str(name)) for name in borrows}
        return cfg

    def _read_text(self, name: str) -> str:
        """A small text file of the directory; empty if it cannot be read."""
        with suppress(OSError, ValueError):
            return read_regular_file(self.path / name, MAX_TEXT_BYTES).decode()
        return ""

    def summary(self) -> dict[str, Any]:
        """The content of summary.json; empty if it cannot be read."""
        summary: Any = None
        with suppress(ValueError, RecursionError):
            summary = json.loads(self._read_text("summary.json"))
        return summary if isinstance(summary, dict) else {}

    def write_summary(self, **values: Any) -> None:
        """Replaces some entries of summary.json."""
        write_atomically(self.path / "summary.json", json.dumps(self.summary() | values, indent=2) + "\n")

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from. A checkpoint that the user names counts as one."""
        paths = (self.checkpoints / f"{name}.ckpt" for name in ("last", "previous"))
        return self.default_checkpoint != "last" or any(path.exists() for path in paths)

    def checkpoint(self, name: str | None = None) -> tuple[Path, dict[str, Any]]:
        """The path and the content of a checkpoint: last, previous or best, or a path; None: the default one.

        If the last one cannot be read, it is the previous one. Raises `ConfigError` if none can be read.
        """
        self._refuse_other_directory()
        name = name or self.default_checkpoint
        if name not in ("last", "previous", "best"):
            return Path(name), read_checkpoint(Path(name))
        problems: list[str] = []  # why the checkpoints that were tried cannot be read
        for candidate in ("last", "previous") if name == "last" else (name,):
            path = self.checkpoints / f"{candidate}.ckpt"
            try:
                content = read_checkpoint(path)
            except ConfigError as error:
                problems.append(str(error))
                continue
            if problems:
                print(f"{problems[0]}; continuing from {path.name}")
            return path, content
        raise ConfigError(f"{self.path} has no checkpoint to continue from: {'; '.join(problems)}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; raises `ConfigError` if the file is missing, damaged or no checkpoint."""
    require(os.path.isfile(path), f"{path} does not exist")
    import torch  # takes seconds, and most commands read no checkpoint

    try:
        damaged = is_damaged(path)
        content: Any = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a truncated file
        raise ConfigError(f"{path} is truncated or not a checkpoint") from error
    require(not damaged, f"{path} is damaged: a checksum does not match")
    entries = content if isinstance(content, dict) else {}
    is_complete = all(isinstance(entries.get(name), cls) for name, cls in CHECKPOINT_ENTRIES.items())
    is_checkpoint = is_complete and all(isinstance(key, str) for key in entries["state_dict"])
    require(is_checkpoint, f"{path} is not the checkpoint of a run")
    return content


def is_damaged(path: Path) -> bool:
    """Whether a zip file is not as torch wrote it; torch itself does not check this when it reads a file."""
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        is_compressed = any(member.compress_type for member in members)  # torch does not compress
        # In a hostile file, members may share bytes, so that a small file expands to a huge content.
        members_overlap = sum(member.file_size for member in members) > path.stat().st_size
        return members_overlap or is_compressed or file.testzip() is not None


def new_run_path(cfg: DictConfig) -> Path:
    """The directory of a new run; each job of a sweep has its own."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir, *([] if cfg.job is None else [str(cfg.job)]))
    job = "" if cfg.job is None else f"_{cfg.job}"
    path = f"outputs/{cfg.name}/{datetime.now():%Y-%m-%d_%H-%M-%S}{job}"
    candidates = chain([path], (f"{path}.{number}" for number in count(1)))
    return Path(next(candidate for candidate in candidates if not os.path.exists(candidate)))
