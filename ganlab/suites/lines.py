"""Files of lines that grow at their end, each line whole or not at all, by any number of processes."""

import fcntl
import os
from pathlib import Path

from ganlab.filesystem import config_error_if_unwritable


def read(path: Path) -> tuple[bytes, bytes]:
    """The whole lines, and a half-written one behind them; neither where there is no file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # until it is closed, against other machines too that share it
            return split(file.read())
    except FileNotFoundError:
        return b"", b""


def append(path: Path, lines: str, first: str = "") -> bool:
    """Adds lines at the end, behind a first one where there is none; whether a half-written one was cut off.

    The lines are on the disk when this returns, and were written at once: a kill leaves them whole, torn at
    the end of the file, or absent.

    Raises:
        ConfigError: the file cannot be written.
    """
    with config_error_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            whole, torn = split(file.read())
            if torn:
                file.truncate(len(whole))
            file.write((lines if whole else first + lines).encode())
            os.fsync(file.fileno())
    return bool(torn)


def split(content: bytes) -> tuple[bytes, bytes]:
    """The whole lines, and what follows the last of them."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]
