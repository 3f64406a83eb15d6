"""Files written in one step: whoever reads one sees the old or the new one, whole."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ganlab.errors import Refused


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
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


def regular(path: Path, most: int | None = None) -> bytes:
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
def writing(place: Path | str, remedy: str = "make room, or give rights") -> Iterator[None]:
    """Refuses what the system would not write at a place."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{place} cannot be written: {error.strerror}; {remedy}") from error


def write_beside(path: Path, text: str) -> None:
    """Replaces a file of text in one step."""
    with replacing(path) as file:
        file.write(text.encode())
