"""python -m ganlab.sample: writes a view of a trained game: a picture, an animation or single images."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.checks import typed_values
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import escape_unprintable, require
from ganlab.filesystem import config_error_if_unwritable
from ganlab.visualize.options import check_options, check_output, check_size, class_number, file_name


def sample(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes a view of a trained game, and returns its file, or the folder of single images.

    Raises:
        ConfigError: there is no run or no readable checkpoint, or the view cannot use an option.
    """
    require(cfg.run_dir is not None, "is missing", "set it to the directory of a run", "run_dir", None)
    typed = typed_values(overrides)
    check_options(cfg, typed)
    run = RunDirectory(cfg.run_dir, cfg.trust)
    config = run.config()  # read here, so that its errors are reported before the slow imports
    class_names = config.get("class_names") or ()
    if cfg.output:
        check_output(Path(cfg.output), cfg)
    else:
        # The view is written into the run directory. If somebody else made the run, a link in it could lead
        # the writing to a file elsewhere, and a pipe could block it.
        run.refuse_special_files()
    from ganlab.config.build import as_config_errors, build_data_of_run
    from ganlab.data.conditions import given_conditions
    from ganlab.training.build import load
    from ganlab.visualize.views import VIEWS

    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust, part=cfg.part)
    check_size(cfg, game)
    # The class is also passed as it was typed, because Hydra reads some names of classes as numbers or null.
    cfg["class"] = class_number(cfg["class"], typed.get("class"), class_names, game.generator.num_classes)
    output = Path(cfg.output) if cfg.output else run.samples / file_name(cfg, game.run_step, class_names)
    load_data = cache(lambda: build_data_of_run(run, config, cfg.root).of_part(cfg.part))
    with as_config_errors():  # data are built from the config, and a view may build an extractor
        if cfg.what != "animate":
            told = game.generator.condition
            game.conditions = given_conditions(cfg.condition, told, config.data, load_data)
        # The axes of points, and the grey levels of images without a range, span the values of the data.
        is_spanned = len(game.shape) == 1 or config.data.get("range") is None
        if cfg.what in ("neighbours", "reconstructions") or (cfg.what == "grid" and is_spanned):
            load_data()
        is_read = load_data.cache_info().currsize > 0
        reason = "has no effect: this picture reads no data"
        require(is_read or cfg.root is None, reason, "remove it", "root", cfg.root)
        view = VIEWS[cfg.what](cfg, run, game, load_data() if is_read else None)
    with config_error_if_unwritable(output, key="output"):
        view.write(output)
    caption, label = view.caption, cfg["class"]
    if label is not None:
        caption += f", class {label}" + (f" named {class_names[label]}" if class_names else "")
    print(escape_unprintable(f"{caption}: {output}"))
    return output


if __name__ == "__main__":
    launch("sample", sample)
