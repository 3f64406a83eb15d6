"""A report into its folder: the page, and the pictures that it shows."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ganlab.core.errors import ConfigError
from ganlab.filesystem import config_error_if_unwritable, write_atomically
from ganlab.visualize.images import save_png

# So of a suite's as of a sweep's.
MARK = "<!-- Written by python -m ganlab.report from {source} and results.csv: changes here are lost. -->"


def put(folder: Path, source: str, text: str, pictures: Mapping[str, Image.Image | None]) -> Path:
    """Writes README.md, and the pictures by their names; one of an earlier report goes where there is none.

    Args:
        source: the file beside results.csv that the report is made from.

    Raises:
        ConfigError: a README.md that is not a report's lies there already, or the folder cannot be written.
    """
    page, mark = folder / "README.md", MARK.format(source=source)
    if page.is_file() and mark not in page.read_text():
        raise ConfigError(
            f"{page} is not a report's: give it another name, what it says may go into {source}"
        )
    with config_error_if_unwritable(folder):
        for name, image in pictures.items():
            if image is None:
                (folder / name).unlink(missing_ok=True)
            else:
                save_png(image, folder / name)
        write_atomically(page, f"{mark}\n\n{text}")
    return page
