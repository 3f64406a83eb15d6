"""Metrics of a saved run, or of a folder of images, as `python -m ganlab.evaluate` reports them.

This module needs torch, so `ganlab.evaluate` imports it only after it has checked its options.
"""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.build import (
    build_data,
    build_data_of_run,
    build_evaluation,
    build_evaluations,
    instantiate_group,
)
from ganlab.config.checks import refuse_unused_weights
from ganlab.config.compose import CONF, compose
from ganlab.config.load import find_device, load_run
from ganlab.config.run_directory import RunDirectory
from ganlab.config.views import class_number
from ganlab.core.batch import ConditionSource
from ganlab.core.errors import require
from ganlab.data.base import Data
from ganlab.data.conditions import given_conditions
from ganlab.data.folder import EvaluationFolder
from ganlab.game import Game
from ganlab.metrics.evaluation import Evaluation, records_of_parts
from ganlab.metrics.protocols import MetricRecords


def measure_run(cfg: DictConfig, typed_class: str | None = None) -> MetricRecords:
    """Measures the samples of a run against its data, with the settings of `ganlab.evaluate`.

    Args:
        typed_class: the setting `class` as the user typed it, see `class_number`.
    """
    run = load_run(RunDirectory(cfg.run_dir, cfg.trust), cfg.checkpoint)
    games, run_cfg = run.games.to(find_device(cfg.device)).eval().parts, run.cfg
    with open_dict(run_cfg):
        run_cfg.evaluation = OmegaConf.create(OmegaConf.to_container(cfg.evaluation, resolve=True))
        run_cfg.metric = cfg.metric
        run_cfg.extractor = cfg.get("extractor") or run_cfg.get("extractor")
        # metric.weights is a file for the extractor, not a metric.
        if cfg.metric.weights is not None and "weights" in (run_cfg.extractor or {}):
            run_cfg.extractor.weights = cfg.metric.weights
    refuse_unused_weights(run_cfg)
    data = build_data_of_run(run.directory, run_cfg, cfg.root)
    evaluations = build_evaluations(run_cfg, data, games)
    for name, game in games.items():
        set_conditions(game, evaluations[name], run_cfg.data, cfg, typed_class)
    return records_of_parts(evaluations, games)


def set_conditions(
    game: Game, evaluation: Evaluation, settings: DictConfig, cfg: DictConfig, typed_class: str | None
) -> None:
    """Sets the conditions of a game's samples to those that the settings `condition` and `class` name."""
    unaffected = [name for name, metric in evaluation.metrics.items() if metric.needs_game]
    reason = f"has no effect on metric={','.join(unaffected)}"
    label = typed_class if cfg["class"] is None else cfg["class"]
    for key, given in (("condition", cfg.condition), ("class", label)):
        require(given is None or not unaffected, reason, "remove it, or that metric", key, given)
    data, told = evaluation.data, game.generator.condition
    names, num_classes = data.class_names or (), game.generator.num_classes
    game.conditions = given_conditions(cfg.condition, told, settings, lambda: data)
    if "even" in (cfg["class"], typed_class) and num_classes and "even" not in names:
        game.conditions = ConditionSource("evenly", lambda n: torch.arange(n) % num_classes)
    elif (number := class_number(cfg["class"], typed_class, names, num_classes)) is not None:
        name = f"only {names[number] if names else number}"
        game.conditions = ConditionSource(name, lambda n: torch.full((n,), number))


def measure_folder(cfg: DictConfig) -> MetricRecords:
    """Measures the images of a folder against the images of a second folder, or of a data set.

    Sets `cfg.evaluation.n` to the number of images.
    """
    for name, metric in instantiate_group(cfg, "metric").items():
        reason = "needs a game, and these are images from files"
        require(not metric.needs_game, reason, "remove it", "metric", name)
    data = load_real_images(cfg)
    generated = EvaluationFolder("generated", cfg.generated, data.shape[0])
    generated_size, real_size = (f"{width}x{height}" for _, height, width in (generated.shape, data.shape))
    reason = f"these images are {generated_size}, but the real ones are {real_size}"
    require(generated_size == real_size, reason, "resize one of them", "generated", cfg.generated)
    # All images of the folder are measured. A protocol sets evaluation.n to the number that the folder must
    # hold. Without one, it is still the interpolation ${n} of conf/evaluate.yaml, which has no meaning here.
    has_protocol = not OmegaConf.is_interpolation(cfg.evaluation, "n")
    required = cfg.evaluation.n if has_protocol else len(generated)
    reason = f"holds {len(generated)} images, and this protocol needs {required}"
    require(required == len(generated), reason, key="generated", value=cfg.generated)
    cfg.evaluation.n = len(generated)
    evaluation = build_evaluation(cfg, data)
    low, high = data.value_range or (0.0, 1.0)
    device = torch.device(find_device(cfg.device))
    batches = generated.split("train", device, batch_size=100)  # all images, with values in [0, 1]
    samples = (low + (high - low) * x for x, _ in batches)
    return evaluation.records(evaluation.measure(samples, device))


def load_real_images(cfg: DictConfig) -> Data:
    """The real images: a folder or a data set, of which `cfg.real` is the path or the name."""
    if Path(cfg.real).expanduser().is_dir():
        return EvaluationFolder("real", cfg.real)
    names = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
    remedy = f"choose one of {', '.join(names)}"
    require(cfg.real in names, "neither a folder nor a data set", remedy, "real", cfg.real)
    root = [] if cfg.root is None else [f"data.root={cfg.root}"]
    data = build_data(compose(f"data={cfg.real}", *root))
    remedy = "choose a folder, or a data set of images"
    require(data.value_range is not None, "not a data set of images", remedy, "real", cfg.real)
    return data
