"""Files written in one step, read without waiting, and locked."""

import errno
import fcntl
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from ganlab.core.errors import ConfigError

HELD: set[FileIO] = set()


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end; nothing is left of it where an error comes first.

    The name is one that nobody knows before, and must be free: a link that lies there would be followed.
    """
    part = path.with_name(f"{path.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_regular_file(path: Path, most: int | None = None) -> bytes:
    """The bytes of a file; a pipe or a device, which may have no end, is none.

    Raises:
        OSError: it cannot be read, is no regular file, or has more than `most` bytes.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or (most is not None and found.st_size > most):
            raise OSError(errno.EINVAL, "it is no regular file, or too large", str(path))
        return file.read()


@contextmanager
def refuse_unwritable(place: Path | str, remedy: str = "make room, or give rights") -> Iterator[None]:
    """Refuses what the system would not write at a place."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{place} cannot be written: {error.strerror}; {remedy}") from error


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file of text in one step."""
    with atomic_writer(path) as file:
        file.write(text.encode())


class Lock:
    """A file that is locked until `release`, or until this process ends in whatever way.

    On a file system that knows no locks it keeps nobody out.

    Raises:
        ConfigError: another process has it; the message says which.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path):
        # Not through a link: by one in a stranger's run a file of one's own would be emptied.
        self.file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), "r+")
        if not stat.S_ISREG(os.fstat(self.file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        holder = " ".join(self.file.read(200).decode(errors="replace").split()) or "another process"
        with suppress(OSError):
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.file.close()
                raise ConfigError(
                    f"{path.parent} is being played by {holder}: wait for its end, or end it"
                ) from None
        HELD.add(self.file)
        self._write(
            f"process {os.getpid()} of {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
        )

    def release(self) -> None:
        self._write("")
        HELD.discard(self.file)
        self.file.close()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the lock holds on a full disk, too; it may have been released
            self.file.truncate(0)
            os.pwrite(self.file.fileno(), text.encode(), 0)


def _let_go() -> None:
    """In a fork, such as one that reads data: it may outlive the process that plays."""
    for file in HELD:
        file.close()


os.register_at_fork(after_in_child=_let_go)


def cache_directory() -> Path:
    """Where the user keeps what ganlab has made and may need again; a relative place counts as none."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "ganlab"
