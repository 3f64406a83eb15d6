"""python -m ganlab.translate: translates a folder of images by a trained run into a folder of images."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError, escape_unprintable, require
from ganlab.filesystem import config_error_if_unwritable


def translate(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Translates images, and returns the folder of the results.

    Raises:
        ConfigError: there is no run or no image, the run translates no images, or some images could not be
            translated, each of which is printed in one line.
    """
    for key in ("run_dir", "images", "output"):
        require(cfg[key] is not None, "is missing", "give it", key, None)
    images, output = Path(cfg.images).expanduser(), Path(cfg.output)
    require(
        images.exists(), "does not exist", "set it to a folder of images, or an image", "images", cfg.images
    )
    is_free = output.is_dir() and not any(output.iterdir()) or not output.exists()
    require(is_free, "is not a new or empty folder", "choose another", "output", cfg.output)
    run = RunDirectory(cfg.run_dir, cfg.trust)
    config = run.config()  # read here, so that its errors are reported before the slow imports
    from ganlab.config.load import load
    from ganlab.metrics.progress_bar import progress_bar
    from ganlab.visualize.translation import Translator

    translator = Translator(load(cfg.run_dir, cfg.checkpoint, cfg.trust, part=cfg.part), config.data, cfg)
    files = dict(named_files(images))
    require(files, "contains no images", "add some", "images", cfg.images)
    num_refused = 0
    with config_error_if_unwritable(output, key="output"), progress_bar("images", len(files)) as advance:
        output.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            try:
                translator.write(file, output / name)
            except ConfigError as error:
                print(f"translate: {escape_unprintable(str(error))}", file=sys.stderr, flush=True)
                num_refused += 1
            advance(1)
    print(f"{len(files) - num_refused} images: {escape_unprintable(str(output))}")
    require(not num_refused, f"{num_refused} of {len(files)} images could not be translated")
    return output


def named_files(images: Path) -> Iterator[tuple[Path, Path]]:
    """The paths of the results below the output, without their endings, and the images.

    Raises:
        ConfigError: two images would have the same result.
    """
    from ganlab.data.listing import read_folder

    names: dict[Path, Path] = {}
    for file in read_folder(images, visited=set(), skipped=[]) if images.is_dir() else [images]:
        name = file.relative_to(images if images.is_dir() else images.parent).with_suffix("")
        reason = f"{names.get(name)} and {file} would have the same result"
        require(name not in names, reason, "rename one of them")
        names[name] = file
        yield name, file


if __name__ == "__main__":
    launch("translate", translate)
