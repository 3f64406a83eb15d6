"""The right to play a run: one process has it at a time, and none keeps it beyond its own end."""

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path

from ganlab.errors import Refused

HELD: set[FileIO] = set()


class Lock:
    """A file that is locked until `release`, or until this process ends in whatever way.

    On a file system that knows no locks it keeps nobody out.

    Raises:
        Refused: another process has it; the message says which.
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
                raise Refused(
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
