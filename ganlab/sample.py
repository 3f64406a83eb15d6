"""python -m ganlab.sample: writes a view of a trained game: a picture, an animation or single images."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.checks import typed_values
from ganlab.config.run_directory import RunDirectory
from ganlab.config.views import Scene, check_options, check_output, checked_view, file_name, view_options
from ganlab.core.errors import escape_unprintable, require
from ganlab.filesystem import config_error_if_unwritable


def sample(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Writes a view of a trained game, and returns its file, or the folder of single images.

    Raises:
        ConfigError: there is no run or no readable checkpoint, or the view cannot use an option.
    """
    require(cfg.run_dir is not None, "is missing", "set it to the directory of a run", "run_dir", None)
    typed = typed_values(overrides)
    options = view_options(cfg)
    check_options(options, typed)
    run = RunDirectory(cfg.run_dir, cfg.trust)
    config = run.config()  # read here, so that its errors are reported before the slow imports
    class_names = config.get("class_names") or ()
    if cfg.output:
        check_output(Path(cfg.output), options)
    else:
        # The view is written into the run directory. If somebody else made the run, a link in it could lead
        # the writing to a file elsewhere, and a pipe could block it.
        run.refuse_special_files()
    from ganlab.config.build import as_config_errors, build_data_of_run
    from ganlab.config.load import load
    from ganlab.data.conditions import given_conditions
    from ganlab.visualize.views import VIEWS

    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust, part=cfg.part)
    # The class is also passed as it was typed, because Hydra reads some names of classes as numbers or null.
    options = checked_view(options, game, class_names, typed.get("class"))
    output = Path(cfg.output) if cfg.output else run.samples / file_name(options, game.run_step, class_names)
    load_data = cache(lambda: build_data_of_run(run, config, cfg.root))
    with as_config_errors():  # data are built from the config, and a view may build an extractor
        if options.what != "animate":
            told = game.generator.condition
            load_part = lambda: load_data().of_part(cfg.part)  # noqa: E731
            game.conditions = given_conditions(cfg.condition, told, config.data, load_part)
        # The axes of points, and the grey levels of images without a range, span the values of the data.
        is_spanned = len(game.shape) == 1 or config.data.get("range") is None
        if options.what in ("neighbours", "reconstructions") or (options.what == "grid" and is_spanned):
            load_data()
        is_read = load_data.cache_info().currsize > 0
        reason = "has no effect: this picture reads no data"
        require(is_read or cfg.root is None, reason, "remove it", "root", cfg.root)
        view = VIEWS[options.what](options, Scene(config, run, load_data() if is_read else None), game)
    with config_error_if_unwritable(output, key="output"):
        view.write(output)
    caption, label = view.caption, options.label
    if label is not None:
        caption += f", class {label}" + (f" named {class_names[label]}" if class_names else "")
    print(escape_unprintable(f"{caption}: {output}"))
    return output


if __name__ == "__main__":
    launch("sample", sample)
