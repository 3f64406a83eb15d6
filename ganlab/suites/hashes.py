"""Hashes of files, the code's among them; needs no torch."""

from hashlib import sha256
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
SIZE = 12  # hex digits of a hash that are kept


def code(package: Path = PACKAGE) -> str:
    """The hash of all Python files of this package; classes of one's own from elsewhere do not count."""
    return hashed(package, "*.py")


def hashed(folder: Path, pattern: str) -> str:
    """The hash of some files of a folder, with their names."""
    files = sorted(folder.rglob(pattern))
    return short(b"".join(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() for file in files))


def short(content: bytes) -> str:
    return sha256(content).hexdigest()[:SIZE]
