"""The directory of a run. Its layout is stable, so that other tools may rely on it.

config.yaml      the resolved config, which rebuilds everything without conf/; the first key is `format`
signature        signatures of config.yaml by the user's key. A signed config may build any object
metrics.csv      one row per logged step
lock             locked while a process plays the run, and names this process; empty after that
summary.json     status, steps, images, seconds, metrics with their protocol, seed, commit, versions
samples/         pictures from the same latents, named by step
checkpoints/     last.ckpt, previous.ckpt, best.ckpt: written under another name, then renamed

This module is in config/, because commands that use a run first build objects from its config.yaml.
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

from ganlab.config.allowlist import check_trust, signature
from ganlab.config.overrides import shell_override
from ganlab.config.saved_config import FORMAT, RESTORE, parse_saved_config, validated_saved_config
from ganlab.core.errors import ConfigError, error_message, require
from ganlab.filesystem import Lock, read_regular_file, write_atomically

MAX_CONFIG_BYTES, MAX_TEXT_BYTES = 1 << 20, 8 << 20  # the largest sizes of config.yaml and of other texts
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
        given = Path(path)
        is_checkpoint = given.suffix == ".ckpt"
        self.path = given.parent.parent if is_checkpoint else given
        self.default_checkpoint = str(given) if is_checkpoint else "last"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.metrics = self.path / "metrics.csv"
        self.config_file = self.path / "config.yaml"
        self.trust = trust
        self.written_config = b""  # the config as this object wrote it, which is trusted
        # Whether this run counts as made by this user. If true, `write_config` signs the config, and the
        # config may build any object. There are three cases:
        # - an existing run: the method `config` sets the value to whether the config has a valid signature;
        # - a new run that starts from the weights of an unsigned run: the caller sets the value to False;
        # - any other new run: the value stays True.
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
        paths = (self.path, *self.path.parents)
        self.created_directories = [path for path in paths if not os.path.exists(path)]
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        self._refuse_nonempty()  # again, because a different process may have finished a run
        # From here on, the directory belongs to this run, and `discard` may remove what is in it.
        self.existing_paths = set(self.path.glob("*")) - {self.path / "lock"}

    def _refuse_nonempty(self) -> None:
        is_empty = not os.path.isfile(self.path) and all(map(is_leftover, self.path.rglob("*")))
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
        # The folder wandb is left out, because it contains links to logs elsewhere.
        for path in (path for path in self.path.rglob("*") if self.path / "wandb" not in path.parents):
            is_inside = root in Path(os.path.realpath(path)).parents
            if not is_inside or not (path.is_symlink() or path.is_file() or path.is_dir()):
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
        """The error to report when a file of the run cannot be written or read.

        Args:
            error: the error of the system.
            has_trained: whether there is any training to resume.
        """
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
            # In a new run, the config is written before its signature. If the process dies between the two,
            # there is no signature without a config.
            write_atomically(self.config_file, text)
        self.written_config = text.encode()
        if self.made_by_user and (new_signature := signature(self.written_config)):
            # The signatures are written before the config, which is replaced at the end of this method. Until
            # then, config.yaml has its old content, so the signature of that content is kept. It is the first
            # one in the file, unless a process died between the two writes.
            old_signatures = self._read_text("signature").split()[:1]
            write_atomically(self.path / "signature", "\n".join([new_signature, *old_signatures]) + "\n")
        write_atomically(self.config_file, text)

    def read_config(self) -> tuple[bytes, bool]:
        """The content of config.yaml as bytes, and whether this user has signed it.

        The content is not parsed here; the method `config` parses and checks it.

        Raises:
            ConfigError: the file cannot be read.
        """
        if not os.path.isfile(self.config_file):
            patterns = ("*/config.yaml", "*/*/config.yaml") if os.path.isdir(self.path) else ()
            below = [file for pattern in patterns for file in self.path.glob(pattern) if file.is_file()]
            newest = max(below, key=os.path.getmtime, default=None)
            remedy = f"give the directory of a run{f', such as {newest.parent}' if newest else ''}"
            raise ConfigError(f"{self.path} is not a run: it has no config.yaml", remedy)
        try:
            content = read_regular_file(self.config_file, MAX_CONFIG_BYTES)
        except OSError as error:
            raise ConfigError(f"{self.config_file} cannot be read ({error.strerror})", RESTORE) from error
        signatures = self._read_text("signature").split()
        return content, bool(signatures) and signature(content) in signatures

    def config(self) -> DictConfig:
        """The config of the run. Sets `made_by_user` to whether the config has a valid signature.

        Raises:
            ConfigError: the config cannot be read, or would build objects that are not allowed.
        """
        content, self.made_by_user = self.read_config()
        try:
            cfg = validated_saved_config(parse_saved_config(content), self.summary())
        except ConfigError as error:
            raise ConfigError(f"{self.config_file} {error.reason}", error.remedy) from error.__cause__
        except Exception as error:  # yaml raises many kinds
            raise ConfigError(f"{self.config_file} cannot be read", RESTORE) from error
        check_trust(cfg, self.trust, self.made_by_user or content == self.written_config)
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
        """The path and the content of a checkpoint; of the previous one if the last one cannot be read.

        Args:
            name: last, previous or best, or a path; None: the default checkpoint.

        Raises:
            ConfigError: no such checkpoint can be read.
        """
        self.read_config()  # a directory that is not a run is reported as such
        name = name or self.default_checkpoint
        if name not in ("last", "previous", "best"):
            return Path(name), read_checkpoint(Path(name))
        problems: list[str] = []
        for candidate in ("last", "previous") if name == "last" else (name,):
            path = self.checkpoints / f"{candidate}.ckpt"
            try:
                content = read_checkpoint(path)
                if problems:
                    print(f"{problems[0]}; continuing from {path.name}")
                return path, content
            except ConfigError as error:
                problems.append(str(error))
        raise ConfigError(f"{self.path} has no checkpoint to continue from: {'; '.join(problems)}")


def is_leftover(path: Path) -> bool:
    """Whether a path may have been left behind by a process that was killed before its run began."""
    return path.is_dir() or path.name == "lock" or path.name.endswith(".part")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of a run.

    Raises:
        ConfigError: the file is missing, damaged, or no checkpoint.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"{path} does not exist")
    import torch  # here, because it takes seconds and most commands read no checkpoint

    try:
        with zipfile.ZipFile(path) as file:  # torch neither compresses members nor verifies checksums
            members = file.infolist()
            # In a hostile file, members may share bytes, so that a small file expands to a huge content.
            members_overlap = sum(member.file_size for member in members) > path.stat().st_size
            is_damaged = members_overlap or any(member.compress_type for member in members) or file.testzip()
        content: Any = None if is_damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a truncated file
        raise ConfigError(f"{path} is truncated or not a checkpoint") from error
    entries = content if isinstance(content, dict) else {}
    is_complete = all(isinstance(entries.get(name), cls) for name, cls in CHECKPOINT_ENTRIES.items())
    if not is_complete or not all(isinstance(key, str) for key in entries["state_dict"]):
        reason = "is damaged: a checksum does not match" if is_damaged else "is not the checkpoint of a run"
        raise ConfigError(f"{path} {reason}")
    return content


def new_run_path(cfg: DictConfig) -> Path:
    """The directory of a new run; each job of a sweep has its own."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir) if cfg.job is None else Path(cfg.run_dir) / str(cfg.job)
    stem = f"outputs/{cfg.name}/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    stem = stem if cfg.job is None else f"{stem}_{cfg.job}"
    candidates = chain([stem], (f"{stem}.{number}" for number in count(1)))
    return Path(next(path for path in candidates if not os.path.exists(path)))
