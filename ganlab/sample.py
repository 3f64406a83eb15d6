"""python -m ganlab.sample: draws samples from a run, looks at them in several ways, and writes pictures."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError, printable
from ganlab.filesystem import refuse_unwritable
from ganlab.visualize.options import check_options, check_output, file_name, fit_to_game


def sample(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes a view of the network that the run samples: a grid or single images, or what else `what` says.

    Returns:
        The picture, or the folder of the pictures.

    Raises:
        ConfigError: no run, no readable checkpoint, or a value out of its range.
    """
    if cfg.run_dir is None:
        raise ConfigError("run_dir is missing: give the directory of a run, run_dir=outputs/...")
    typed = {key.lstrip("+~"): value for key, _, value in (text.partition("=") for text in overrides)}
    check_options(cfg, typed)
    if cfg.output:
        check_output(Path(cfg.output), cfg)
    run = RunDirectory(cfg.run_dir, cfg.trust)
    own = run.config()  # before torch is imported
    if not cfg.output:
        run.refuse_links()
    from ganlab.config.build import as_config_errors
    from ganlab.training.build import load
    from ganlab.visualize.latent import VIEWS

    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust)
    names = own.get("class_names") or ()
    fit_to_game(cfg, game, names, typed.get("class"))
    output = Path(cfg.output) if cfg.output else run.samples / file_name(cfg, game.step, names)
    with as_config_errors():
        view = VIEWS[cfg.what](cfg, run, game, None)
    with refuse_unwritable(output, "choose another output"):
        view.write(output)
    label = cfg["class"]
    called = f" named {names[label]}" if label is not None and names else ""
    print(printable(f"{view.caption}{'' if label is None else f', class {label}{called}'}: {output}"))
    return output


def main() -> None:
    launch("sample", sample)


if __name__ == "__main__":
    main()
