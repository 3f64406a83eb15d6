"""Files: atomic writes, reads that cannot block, locks, and the user's cache directory."""

import csv
import errno
import fcntl
import os
import secrets
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO, StringIO
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, BinaryIO

from ganlab.core.errors import ConfigError


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces `path` at the end of the block; after an error, `path` is as it was before.

    Until then the new file has a random name, cut to a length that file systems allow. The file is opened in
    mode "x", which fails if the name exists. Any other mode would follow an existing link of this name.
    """
    part = path.with_name(f"{path.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replaces the text of a file."""
    with atomic_writer(path) as file:
        file.write(text.encode())


def csv_line(cells: Sequence[str | float | None]) -> str:
    """A line of a CSV file, in which the cell of None is empty."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def read_regular_file(path: Path, max_bytes: int | None = None) -> bytes:
    """The content of a regular file. Pipes and devices are refused, because they might have no end.

    Raises:
        OSError: the file cannot be read, is not a regular file, or has more than `max_bytes` bytes.
    """
    # O_NONBLOCK, because opening a pipe would wait until another process writes to it.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or (max_bytes is not None and status.st_size > max_bytes):
            raise OSError(errno.EINVAL, "it is not a regular file, or too large", str(path))
        return file.read()


@contextmanager
def config_error_if_unwritable(path: Path | str, key: str = "") -> Iterator[None]:
    """Turns an `OSError` of the block into a `ConfigError` about a file, or about the key that names it."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        if key:
            raise ConfigError(reason, "choose another", key, path) from error
        raise ConfigError(f"{path} {reason}", "free some space, or change the permissions") from error


# Descriptors of locked files that the process that started this one has handed over, by path.
handed_over: dict[Path, int] = {}


class Lock:
    """An exclusive lock on a file, held until `release` or the end of this process.

    On a file system without locks, nothing is locked. A lock that was handed over to this process is its own.

    Raises:
        ConfigError: a different process holds the lock.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path):
        # Links are not followed: a link in the run of another user could point to a file of this user.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self.path = path.absolute()
        descriptor = handed_over.pop(self.path, None)
        self.file = FileIO(os.open(path, flags, 0o644) if descriptor is None else descriptor, "r+")
        if not stat.S_ISREG(os.fstat(self.file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        holder = " ".join(self.file.read(200).decode(errors="replace").split()) or "another process"
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            remedy = "wait until it ends, or end it"
            raise ConfigError(f"{path.parent} is in use by {holder}", remedy) from None
        except OSError:
            pass  # the file system has no locks
        # A forked process, such as a worker that loads data, may outlive this one. It must not keep the lock.
        os.register_at_fork(after_in_child=self.file.close)
        since = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        self._write(f"process {os.getpid()} of {socket.gethostname()} since {since}")

    def __reduce__(self) -> Any:
        """Pickled for a process that is being started, it is handed over to the `Lock` of its path there."""
        return take_over, (self.path, DupFd(self.file.fileno()))

    def release(self) -> None:
        self._write("")
        self.file.close()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # if the disk is full, or the lock has been released
            self.file.truncate(0)
            os.pwrite(self.file.fileno(), text.encode(), 0)


def take_over(path: Path, descriptor: Any) -> None:
    handed_over[path] = descriptor.detach()


def cache_directory() -> Path:
    """The user's cache directory of ganlab: in $XDG_CACHE_HOME if it is an absolute path, or in ~/.cache."""
    xdg_cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg_cache) if os.path.isabs(xdg_cache) else Path.home() / ".cache") / "ganlab"
