"""The run directory, a contract that other tools may rely on.

config.yaml      resolved; enough to rebuild everything without the original conf/; the first key is `format`
signature        what the user's own key says of it: what it was made of is trusted on this machine
metrics.csv      one row per logged step
lock             locked while the run is played, and says by whom; empty otherwise
summary.json     status, steps, images, seconds, metrics with their protocol, seed, commit, versions
samples/         grids from the same latents, named by step
checkpoints/     last.ckpt, previous.ckpt, best.ckpt: written beside, then renamed
"""

import errno
import json
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.config.allowlist import LARGEST, check_trust, parsed, signature
from ganlab.config.formats import FORMAT, PARTS, of_a_run
from ganlab.config.overrides import shell_override
from ganlab.core.errors import ConfigError, one_line
from ganlab.filesystem import Lock, read_regular_file, write_atomically


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
        self.made: list[Path] = []  # folders that `create` has made: this one, then those above it
        self.kept: set[Path] | None = None  # what lay in this one before
        self._lock: Lock | None = None

    def create(self) -> None:
        """Makes the directory, and locks it.

        Raises:
            ConfigError: it exists and is not empty, is played by another process, or cannot be made.
        """
        self._refuse_taken()
        made = [place for place in (self.path, *self.path.parents) if not os.path.exists(place)]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock()
            self._refuse_taken()  # another process may have played meanwhile
            self.kept, self.made = set(self.path.glob("*")) - {self.path / "lock"}, made
            self.make_folders()
        except OSError as error:
            self.made = made
            self.discard()
            raise self.io_error(error, begun=False) from error

    def _refuse_taken(self) -> None:
        # A kill may have left folders, a lock and what was to be renamed, and nothing of a run yet.
        nothing = ("lock", "*.part")
        inside = (place.relative_to(self.path) for place in self.path.rglob("*") if not place.is_dir())
        if os.path.isfile(self.path) or any(not any(map(place.match, nothing)) for place in inside):
            raise ConfigError(
                f"run_dir={self.path} exists and is not empty: {shell_override('resume', self.path)} "
                "continues a run, or choose another run_dir"
            )

    def make_folders(self) -> None:
        self.refuse_links()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self.samples.mkdir(exist_ok=True)

    def refuse_links(self) -> None:
        """Refuses a run that would have us write elsewhere, or wait for a pipe."""
        home = self.path.resolve()
        wandb = self.path / "wandb"  # which links to its logs elsewhere
        for place in (place for place in self.path.rglob("*") if wandb not in place.parents):
            kind = place.lstat().st_mode
            leads_out = stat.S_ISLNK(kind) and home not in Path(os.path.realpath(place)).parents
            if leads_out or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
                raise ConfigError(
                    f"{place} is a link or no file, and a run writes into its own directory: remove it"
                )

    def lock(self) -> None:
        """Keeps other processes from playing this run, until `release` or the end of this one."""
        self._lock = Lock(self.path / "lock")

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def discard(self) -> None:
        """Removes what came to be since `create`: the name is free again."""
        for place in [] if self.kept is None else set(self.path.glob("*")) - self.kept:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):
                place.unlink(missing_ok=True)
        for place in self.made:
            with suppress(OSError):  # others may have come to use it
                place.rmdir()

    def io_error(self, error: OSError, begun: bool) -> ConfigError:
        """What to say of a file of the run that cannot be written or read.

        Args:
            error: of the system.
            begun: whether anything was played that is to be gone on with.
        """
        reason = error.strerror or one_line(error)
        if not begun:
            return ConfigError(
                f"run_dir={self.path} cannot be made: {reason}; make it possible, or choose another"
            )
        go_on = f"then {shell_override('resume', self.path)} goes on from the last checkpoint"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            said = f"the disk of {self.path} is full, or a quota reached ({reason}): make room"
        elif not os.path.isdir(self.path):
            said = f"{self.path} was removed or renamed while it was played: put it back"
        else:
            said = f"{error.filename or self.path}: {reason}: mend it"
        return ConfigError(f"{said}, {go_on}")

    def write_config(self, cfg: DictConfig) -> None:
        """Writes config.yaml, and signs it unless it was read from a run that was not signed."""
        path = self.path / "config.yaml"
        text = f"format: {FORMAT}\n{OmegaConf.to_yaml(cfg, resolve=True)}"
        if not path.exists():
            write_atomically(path, text)
        self.written = text.encode()
        if self.signed and (mark := signature(self.written)):
            place = self.path / "signature"  # of what is there, too, for a kill or another process in between
            write_atomically(place, "\n".join([mark, *read_text(place).split()[:1]]) + "\n")
        write_atomically(path, text)

    def read_config(self) -> tuple[bytes, bool]:
        """The bytes of config.yaml, and whether it was signed on this machine.

        Raises:
            ConfigError: the directory is not that of a run.
        """
        path = self.path / "config.yaml"
        if not os.path.isfile(path):
            patterns = ("*/config.yaml", "*/*/config.yaml") if os.path.isdir(self.path) else ()
            below = [place for pattern in patterns for place in self.path.glob(pattern) if place.is_file()]
            newest = max(below, key=os.path.getmtime, default=None)
            near = f"; the newest below it is {newest.parent}" if newest else ""
            raise ConfigError(
                f"{self.path} is not a run: it has no config.yaml; give the directory of a run{near}"
            )
        try:
            content = read_regular_file(path, LARGEST)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be read ({error.strerror}): restore it, or start a new run"
            ) from error
        marks = read_text(self.path / "signature").split()
        return content, bool(marks) and signature(content) in marks

    def config(self) -> DictConfig:
        """The config of the run, of which nothing is built but what may be.

        Raises:
            ConfigError: the directory is not that of a run; or its config names code that is neither ganlab's
                nor trusted.
        """
        content, self.signed = self.read_config()
        path = self.path / "config.yaml"
        try:
            cfg = of_a_run(parsed(content), self.summary())
        except ConfigError as refusal:
            raise ConfigError(f"{path} {refusal}") from refusal.__cause__
        except Exception as error:  # yaml raises many kinds
            raise ConfigError(f"{path} cannot be read: restore it, or start a new run") from error
        check_trust(cfg, self.trust, self.signed or content == self.written)
        return cfg

    def summary(self) -> dict[str, Any]:
        """What summary.json says; empty if there is none that can be read."""
        try:
            found = json.loads(read_text(self.path / "summary.json"))
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_summary(self, **values: Any) -> None:
        """Changes some entries of summary.json."""
        write_atomically(self.path / "summary.json", json.dumps(self.summary() | values, indent=2) + "\n")

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is any checkpoint to go on from."""
        regular = (self.checkpoints / f"{name}.ckpt" for name in ("last", "previous"))
        return self.start != "last" or any(path.exists() for path in regular)

    def checkpoint(self, name: str | None = None) -> tuple[Path, dict[str, Any]]:
        """A checkpoint's path and content; for `last`, the previous one where the last is unreadable.

        Args:
            name: last, previous or best, or a path; None: the one that the directory was given with.

        Raises:
            ConfigError: there is none that can be read.
        """
        self.read_config()  # says so where this is no run at all
        name = name or self.start
        if name not in ("last", "previous", "best"):
            return Path(name), self._read(Path(name))
        names = ("last", "previous") if name == "last" else (name,)
        problems = []
        for candidate in names:
            path = self.checkpoints / f"{candidate}.ckpt"
            try:
                content = self._read(path)
            except ConfigError as problem:
                problems.append(str(problem))
                continue
            if problems:
                print(f"{problems[0]}; going on from {path.name}")
            return path, content
        raise ConfigError(f"{self.path} has no checkpoint to go on from: {'; '.join(problems)}")

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        if not os.path.isfile(path):
            raise ConfigError(f"{path} does not exist")
        import torch

        try:
            with zipfile.ZipFile(path) as file:  # torch compresses nothing, and looks at no checksum
                parts = file.infolist()
                large = sum(part.file_size for part in parts) > path.stat().st_size  # some stand twice
                damaged = large or any(part.compress_type for part in parts) or file.testzip()
            content: Any = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds on a truncated file
            raise ConfigError(f"{path} is truncated or not a checkpoint") from error
        whole = isinstance(content, dict) and all(isinstance(content.get(k), t) for k, t in PARTS.items())
        state = content["state_dict"] if whole else None
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            what = "damaged, as a checksum in it tells" if damaged else "not the checkpoint of a run"
            raise ConfigError(f"{path} is {what}")
        return content


def new_run_path(cfg: DictConfig) -> Path:
    """Where a new run goes; the jobs of a sweep each have a directory of their own."""
    if cfg.run_dir is not None:
        return Path(cfg.run_dir) if cfg.job is None else Path(cfg.run_dir) / str(cfg.job)
    stem = f"outputs/{cfg.name}/{datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = [stem if cfg.job is None else f"{stem}_{cfg.job}"]
    while os.path.exists(names[-1]):
        names.append(f"{names[0]}.{len(names)}")
    return Path(names[-1])


def read_text(path: Path) -> str:
    """The text of a small file; empty where it is none, or cannot be read."""
    try:
        return read_regular_file(path, LARGEST * 8).decode()
    except (OSError, ValueError):
        return ""


def warn_if_other_data(run: RunDirectory, data: Any) -> Any:
    """Returns the data, after a warning if they are not those that the run was trained on."""
    if run.summary().get("data_sha256") not in (None, data.fingerprint()):
        print("these are other data than those that the run was trained on", file=sys.stderr)
    return data
