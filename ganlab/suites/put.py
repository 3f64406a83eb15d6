"""A report into its folder: the page, and the pictures that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ganlab.errors import Refused
from ganlab.pictures import save

# So of a suite's as of a sweep's.
MARK = "<!-- Written by python -m ganlab.report from {source} and results.csv: changes here are lost. -->"


def put(folder: Path, source: str, text: str, pictures: Mapping[str, Image.Image | None]) -> Path:
    """Writes README.md, and the pictures by their names; one of an earlier report goes where there is none.

    Args:
        source: the file beside results.csv that the report is made from.

    Raises:
        Refused: a README.md that is not a report's lies there already, or the folder cannot be written.
    """
    page, mark = folder / "README.md", MARK.format(source=source)
    if page.is_file() and mark not in page.read_text():
        raise Refused(f"{page} is not a report's: give it another name, what it says may go into {source}")
    part = page.with_name(page.name + ".part")
    try:
        for name, image in pictures.items():
            show(folder / name, image)
        part.write_text(f"{mark}\n\n{text}")
        part.replace(page)
    except OSError as error:
        raise Refused(f"{folder} cannot be written: {error.strerror}; make room, or give rights") from error
    return page


def show(path: Path, image: Image.Image | None) -> None:
    if image is None:
        path.unlink(missing_ok=True)
    else:
        save(image, path)
