"""Everything that the config of a run describes, built before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ganlab.config.build import as_config_errors, build_data, build_evaluations, instantiate
from ganlab.config.checks import check_config, refuse_unused_borrows, selected_nodes
from ganlab.config.load import LoadedRun, build_run, load_borrowed
from ganlab.config.phases import PhaseSettings, phase_settings
from ganlab.config.run_directory import RunDirectory, new_run_path
from ganlab.config.settings import RunNames, RunSettings, run_names, run_settings
from ganlab.config.stages import Timetable, complete_stages
from ganlab.config.views import Scene, ViewOptions, parse_views, scene_of
from ganlab.data.base import Data
from ganlab.games import RunGames
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.progress_bar import progress_bar


@dataclass(frozen=True)
class PreparedRun:
    """What the config of a run describes.

    Attributes:
        record: the config as config.yaml and the loggers get it, which is completed when the run starts.
        names: what the run consists of, to be printed.
        borrowed: the runs from which this run borrows. They hold checkpoints, and are dropped at the start.
        views: the options of the views after the last step.
        scene: what these views show besides the games.
        make_trainer: makes the Trainer from what no setting determines.
        make_loggers: by their names in the config, functions that make loggers, or loggers of Lightning.
        callbacks: those of the config, by name.
        directory: the directory of the run, which may not exist yet.
    """

    settings: RunSettings
    record: DictConfig
    names: RunNames
    data: Data
    timetable: Timetable
    games: RunGames
    phases: Sequence[PhaseSettings]
    evaluations: Mapping[str, Evaluation]
    borrowed: dict[str, LoadedRun]
    views: Sequence[ViewOptions]
    scene: Scene
    make_trainer: Any
    make_loggers: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    directory: RunDirectory


def prepare(
    cfg: DictConfig,
    overrides: Sequence[str] = (),
    directory: RunDirectory | None = None,
    play_class: type = object,
    trainer_class: type = object,
    callback_class: type = object,
) -> PreparedRun:
    """Checks the config of a run, and builds what it describes.

    Args:
        cfg: the config, from `config_to_play`; what its stages inherit is written into it.
        overrides: those of the command line; what would have no effect is refused.
        directory: that of the run to resume, if its config was read already.
        play_class, trainer_class, callback_class: the base classes of all plays, Trainers and callbacks.
    """
    with as_config_errors():
        check_config(cfg, overrides)
        complete_stages(cfg)
    data, timetable = build_data(cfg), Timetable(cfg)
    timetable.check_batches(data)
    borrowed = load_borrowed(cfg)
    games = build_run(cfg, data, borrowed)
    phases = [*phase_settings(cfg, games, play_class)]
    refuse_unused_borrows(cfg)  # after what is wrong with the borrowed runs themselves
    directory = directory or RunDirectory(cfg.resume or new_run_path(cfg))
    with as_config_errors():
        views = parse_views(cfg.views, of_images=data.value_range is not None)
    return PreparedRun(
        settings=run_settings(cfg),
        record=cfg,
        names=run_names(cfg),
        data=data,
        timetable=timetable,
        games=games,
        phases=phases,
        evaluations=build_evaluations(cfg, data, games.parts, progress_bar),
        borrowed=borrowed,
        views=views,
        scene=scene_of(cfg, directory, data),
        make_trainer=instantiate(cfg.trainer, trainer_class),
        callbacks={
            name: instantiate(node, callback_class) for name, node in selected_nodes(cfg, "callback").items()
        },
        make_loggers={str(name): instantiate(node) for name, node in cfg.logger.items()},
        directory=directory,
    )
