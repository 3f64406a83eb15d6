"""python -m ganlab.sample: draws samples of a run and writes one of several views of them."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import printable, require
from ganlab.filesystem import refuse_unwritable
from ganlab.visualize.options import check_options, check_output, file_name, fit_to_game


def sample(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes a view of the network that the run samples from: an image, an animation or single images.

    Returns:
        The file, or the folder of single images.

    Raises:
        ConfigError: there is no run, no readable checkpoint, or an option is out of its range.
    """
    require(cfg.run_dir is not None, "run_dir", None, "is missing", "set it to the directory of a run")
    typed = dict(override.lstrip("+~").partition("=")[::2] for override in overrides)
    check_options(cfg, typed)
    if cfg.output:
        check_output(Path(cfg.output), cfg)
    run = RunDirectory(cfg.run_dir, cfg.trust)
    names = run.config().get("class_names") or ()  # refuses a config before the slow imports
    if not cfg.output:
        run.refuse_links()
    from ganlab.config.build import as_config_errors
    from ganlab.training.build import load
    from ganlab.visualize.views import VIEWS

    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust)
    fit_to_game(cfg, game, names, typed.get("class"))
    output = Path(cfg.output) if cfg.output else run.samples / file_name(cfg, game.step, names)
    with as_config_errors():
        view = VIEWS[cfg.what](cfg, run, game, None)
    with refuse_unwritable(output, key="output"):
        view.write(output)
    label = "" if cfg["class"] is None else f", class {cfg['class']}"
    named = f" named {names[cfg['class']]}" if label and names else ""
    print(printable(f"{view.caption}{label}{named}: {output}"))
    return output


def main() -> None:
    launch("sample", sample)


if __name__ == "__main__":
    main()
