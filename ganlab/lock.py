"""The right to play a run: one process has it at a time, and none keeps it beyond its own end."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path

from ganlab.errors import Refused

WITHOUT = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # file systems that know no locks must not stop a run
HELD: set[FileIO] = set()


class Lock:
    """A file that is locked until `release`, or until this process ends in whatever way.

    Raises:
        Refused: another process has it; the message says which.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path):
        # Not through a link: by one in a stranger's run a file of one's own would be emptied.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self.file = FileIO(os.open(path, flags, 0o644), "r+")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in WITHOUT:
                holder = " ".join(self.file.read(200).decode(errors="replace").split())
                self.file.close()
                if not isinstance(error, BlockingIOError):
                    raise
                who = holder or "another process"
                raise Refused(
                    f"{path.parent} is being played by {who}: wait for its end, or end it"
                ) from None
        HELD.add(self.file)
        with suppress(OSError):  # the lock holds on a full disk, too
            self.file.truncate(0)
            who = f"process {os.getpid()} of {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
            self.file.write(who.encode())

    def release(self) -> None:
        HELD.discard(self.file)
        if not self.file.closed:
            with suppress(OSError):
                self.file.truncate(0)
            self.file.close()


def _let_go() -> None:
    """In a fork, such as one that reads data: it might outlive the process that plays."""
    for file in HELD:
        file.close()


os.register_at_fork(after_in_child=_let_go)
