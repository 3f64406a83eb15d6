"""The run directory, whose layout is stable so that other tools may rely on it.

config.yaml      resolved; enough to rebuild everything without the original conf/; the first key is `format`
signature        of config.yaml by the user's own key: on this machine its targets are trusted
metrics.csv      one row per logged step
lock             locked while the run is played, with the process that plays it; otherwise empty
summary.json     status, steps, images, seconds, metrics with their protocol, seed, commit, versions
samples/         grids from the same latents, named by step
checkpoints/     last.ckpt, previous.ckpt, best.ckpt: written under another name, then renamed
"""

import errno
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.allowlist import check_trust, signature
from ganlab.config.overrides import shell_override
from ganlab.config.saved_config import FORMAT, MAX_BYTES, RESTORE, parse_saved_config, validated_saved_config
from ganlab.core.errors import UNSET, ConfigError, error_message, require
from ganlab.filesystem import Lock, read_regular_file, write_atomically

# Entries that every checkpoint of Lightning's has.
PARTS = {
    "callbacks": dict, "epoch": int, "global_step": int, "loops": dict, "lr_schedulers": list,
    "optimizer_states": list, "pytorch-lightning_version": str, "state_dict": dict,
}  # fmt: skip


class RunDirectory:
    """The files of a run: their paths, reading and writing.

    Args:
        path: of the directory, or of one of its checkpoints, which is then the default of `checkpoint`.
        trust: packages from which the run's config may build objects, in addition to ganlab.
    """

    def __init__(self, path: str | Path, trust: Iterable[str] = ()):
        given = Path(path)
        is_checkpoint = given.suffix == ".ckpt"
        self.path = given.parent.parent if is_checkpoint else given
        self.start = str(given) if is_checkpoint else "last"
        self.checkpoints = self.path / "checkpoints"
        self.samples = self.path / "samples"
        self.metrics = self.path / "metrics.csv"
        self.trust = trust
        self.written = b""  # the config as this object wrote it, which is trusted
        self.signed_by_user = (
            True  # the config; that of a new run is, unless its weights come from an unsigned run
        )
        self.created: list[Path] = []  # the directories that `create` made, innermost first
        self.existing: set[Path] | None = None  # what the directory contained before `create`
        self._lock: Lock | None = None

    def create(self) -> None:
        """Creates and locks the directory.

        Raises:
            ConfigError: it is not empty, another process uses it, or it cannot be created.
        """
        self._refuse_nonempty()
        created = [path for path in (self.path, *self.path.parents) if not os.path.exists(path)]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
            self._refuse_nonempty()  # again: another process may have finished a run in the meantime
            self.existing, self.created = set(self.path.glob("*")) - {self.path / "lock"}, created
            self.make_folders()
        except OSError as error:
            self.created = created
            self.discard()
            raise self.io_error(error, begun=False) from error

    def _refuse_nonempty(self) -> None:
        # A killed process may have left folders, a lock and partial files, but no run.
        leftovers = ("lock", "*.part")
        files = (path.relative_to(self.path) for path in self.path.rglob("*") if not path.is_dir())
        taken = os.path.isfile(self.path) or any(not any(map(file.match, leftovers)) for file in files)
        remedy = f"continue the run with {shell_override('resume', self.path)}, or choose another run_dir"
        require(not taken, "run_dir", self.path, "exists and is not empty", remedy)

    def make_folders(self) -> None:
        """Creates the folders of samples and checkpoints."""
        self.refuse_links()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.samples.mkdir(exist_ok=True)

    def refuse_links(self) -> None:
        """Refuses links out of the directory, which would be written through, and pipes and devices."""
        home = self.path.resolve()
        wandb = self.path / "wandb"  # it links to its logs elsewhere
        for path in (path for path in self.path.rglob("*") if wandb not in path.parents):
            inside = home in Path(os.path.realpath(path)).parents
            allowed = inside and (path.is_symlink() or path.is_file() or path.is_dir())
            reason = f"{path} is a link out of the run directory, or not a file"
            require(allowed, "", UNSET, reason, "remove it")

    def lock(self) -> None:
        """Keeps other processes from playing this run, until `release` or the end of this process."""
        self._lock = Lock(self.path / "lock")

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Removes everything that was made since `create`."""
        for path in set() if self.existing is None else set(self.path.glob("*")) - self.existing:
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for path in self.created:
            with suppress(OSError):  # another process may use it by now
                path.rmdir()

    def io_error(self, error: OSError, begun: bool) -> ConfigError:
        """The error to report when a file of the run cannot be written or read.

        Args:
            error: of the system.
            begun: whether any training was done that can be resumed.
        """
        cause = error.strerror or error_message(error)
        if not begun:
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
        path = self.path / "config.yaml"
        text = f"format: {FORMAT}\n{OmegaConf.to_yaml(cfg, resolve=True)}"
        if not path.exists():
            write_atomically(path, text)
        self.written = text.encode()
        if self.signed_by_user and (new := signature(self.written)):
            # Signs the old config as well: it stays if the process is killed before the last line.
            old = self._read_text("signature").split()[:1]
            write_atomically(self.path / "signature", "\n".join([new, *old]) + "\n")
        write_atomically(path, text)

    def read_config(self) -> tuple[bytes, bool]:
        """The bytes of config.yaml, and whether it was signed on this machine.

        Raises:
            ConfigError: it cannot be read.
        """
        path = self.path / "config.yaml"
        if not os.path.isfile(path):
            patterns = ("*/config.yaml", "*/*/config.yaml") if os.path.isdir(self.path) else ()
            below = [found for pattern in patterns for found in self.path.glob(pattern) if found.is_file()]
            newest = max(below, key=os.path.getmtime, default=None)
            remedy = f"give the directory of a run{f', such as {newest.parent}' if newest else ''}"
            raise ConfigError(f"{self.path} is not a run: it has no config.yaml", remedy)
        try:
            content = read_regular_file(path, MAX_BYTES)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read ({error.strerror})", RESTORE) from error
        signatures = self._read_text("signature").split()
        return content, bool(signatures) and signature(content) in signatures

    def config(self) -> DictConfig:
        """The config of the run.

        Raises:
            ConfigError: it cannot be read, or would build objects that are neither ganlab's nor trusted.
        """
        content, self.signed_by_user = self.read_config()
        path = self.path / "config.yaml"
        try:
            cfg = validated_saved_config(parse_saved_config(content), self.summary())
        except ConfigError as error:
            raise ConfigError(f"{path} {error.reason}", error.remedy) from error.__cause__
        except Exception as error:  # yaml raises many kinds
            raise ConfigError(f"{path} cannot be read", RESTORE) from error
        check_trust(cfg, self.trust, self.signed_by_user or content == self.written)
        return cfg

    def _read_text(self, name: str) -> str:
        """A small text file of the directory; empty if it cannot be read."""
        try:
            return read_regular_file(self.path / name, MAX_BYTES * 8).decode()
        except (OSError, ValueError):
            return ""

    def summary(self) -> dict[str, Any]:
        """The content of summary.json; empty if it cannot be read."""
        try:
            found = json.loads(self._read_text("summary.json"))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_summary(self, **values: Any) -> None:
        """Replaces some entries of summary.json."""
        write_atomically(self.path / "summary.json", json.dumps(self.summary() | values, indent=2) + "\n")

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        regular = (self.checkpoints / f"{name}.ckpt" for name in ("last", "previous"))
        return self.start != "last" or any(path.exists() for path in regular)

    def checkpoint(self, name: str | None = None) -> tuple[Path, dict[str, Any]]:
        """The path and the content of a checkpoint; if the last cannot be read, those of the previous one.

        Args:
            name: last, previous or best, or a path; None: the checkpoint that the object was created with.

        Raises:
            ConfigError: there is none that can be read.
        """
        self.read_config()  # a directory that is not a run is reported as such
        name = name or self.start
        if name not in ("last", "previous", "best"):
            return Path(name), read_checkpoint(Path(name))
        problems: list[str] = []
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
    """The content of a checkpoint of a run.

    Raises:
        ConfigError: it is missing or damaged, or the file is something else.
    """
    if not os.path.isfile(path):
        raise ConfigError(f"{path} does not exist")
    import torch

    try:
        with zipfile.ZipFile(path) as file:  # torch does not compress, and does not verify checksums
            parts = file.infolist()
            large = sum(part.file_size for part in parts) > path.stat().st_size  # parts that overlap
            damaged = large or any(part.compress_type for part in parts) or file.testzip()
        content: Any = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a truncated file
        raise ConfigError(f"{path} is truncated or not a checkpoint") from error
    complete = isinstance(content, dict) and all(isinstance(content.get(k), t) for k, t in PARTS.items())
    named = complete and all(isinstance(key, str) for key in content["state_dict"])
    reason = "is damaged: a checksum does not match" if damaged else "is not the checkpoint of a run"
    require(named, "", UNSET, f"{path} {reason}")
    return content


def new_run_path(cfg: DictConfig) -> Path:
    """The directory of a new run; each job of a sweep has its own."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir) if cfg.job is None else Path(cfg.run_dir) / str(cfg.job)
    stem = f"outputs/{cfg.name}/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = [stem if cfg.job is None else f"{stem}_{cfg.job}"]
    while os.path.exists(names[-1]):
        names.append(f"{names[0]}.{len(names)}")
    return Path(names[-1])


def warn_if_other_data(run: RunDirectory, data: Any) -> Any:
    """Returns the data; warns if the run was trained on other data."""
    if run.summary().get("data_sha256") not in (None, data.fingerprint()):
        print("the run was trained on other data than these", file=sys.stderr)
    return data
