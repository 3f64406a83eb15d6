"""python -m ganlab.evaluate: measures a run, or images from anywhere, and says how each number was made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.cli import launch
from ganlab.config.checks import refuse_unused_extractor, refuse_unused_weights
from ganlab.config.compose import CONF, compose
from ganlab.config.run_directory import RunDirectory, warn_if_other_data
from ganlab.core.errors import ConfigError
from ganlab.core.validation import format_number
from ganlab.filesystem import refuse_unwritable, write_atomically

Records = dict[str, dict[str, Any]]


def evaluate(cfg: DictConfig, overrides: Sequence[str] = ()) -> Records:
    """Measures, prints a table and writes it as JSON where `output` says so.

    Returns:
        The numbers by name, each with its protocol.

    Raises:
        ConfigError: no run and no images, or a metric cannot measure them.
    """
    if (cfg.run_dir is None) == (cfg.generated is None):
        raise ConfigError(
            "give either run_dir=<a run>, or generated=<a folder> and real=<a folder or a data set>"
        )
    refuse_idle(cfg, {override.lstrip("+~").split("=")[0] for override in overrides})
    refuse_unused_extractor(cfg, overrides)
    if cfg.output:
        refuse_output(Path(cfg.output))
    records = of_run(cfg) if cfg.generated is None else of_folder(cfg)
    if cfg.output:
        write(Path(cfg.output), records)
    show(records)
    if cfg.output:
        print(f"  protocols: {cfg.output}")
    return records


def refuse_output(place: Path) -> None:
    """Refuses to write over a folder, a file of another kind or one of a run."""
    if place.suffix != ".json" or place.is_dir() or place.name in ("summary.json", "profile.json"):
        raise ConfigError(
            f"output={place} must be a file that ends in .json, and none of a run: choose another"
        )


def refuse_idle(cfg: DictConfig, given: set[str]) -> None:
    """Refuses settings that would be ignored beside others."""
    rivals = {"protocol": {"n"} if "protocol" in given else set()}
    if cfg.generated is None:
        rivals["run_dir"] = {"real"}
    else:
        rivals["generated"] = {"n", "seed", "checkpoint", "evaluation.n", "evaluation.seed", "trust"}
        if cfg.real is not None and Path(cfg.real).expanduser().is_dir():
            rivals["real, a folder"] = {"root"}
    for beside, idle in rivals.items():
        for key in sorted(idle & given):
            raise ConfigError(f"{key} has no effect with {beside}: remove it")


def of_run(cfg: DictConfig) -> Records:
    """A run's samples against the data that it was trained on."""
    directory = RunDirectory(cfg.run_dir, cfg.trust)
    run = directory.config()
    from ganlab.config.build import build_data
    from ganlab.training.build import load

    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust)
    if cfg.root is not None:
        run.data.root = cfg.root
    with open_dict(run):
        run.evaluation = OmegaConf.create(OmegaConf.to_container(cfg.evaluation, resolve=True))
        run.metric = cfg.metric
        run.extractor = cfg.get("extractor") or run.get("extractor")
        if cfg.metric.weights is not None and "weights" in (run.extractor or {}):
            run.extractor.weights = cfg.metric.weights
    data = warn_if_other_data(directory, build_data(run))
    evaluation = built(run, data)
    evaluation.check_game(game)
    game = game.to(device(cfg))
    return evaluation.record(evaluation(game), game)


def of_folder(cfg: DictConfig) -> Records:
    """The images of a folder against those of another, or of a data set."""
    if not Path(cfg.generated).is_dir():  # before torch is imported
        raise ConfigError(f"generated={cfg.generated} is no folder: give a folder of images")
    import torch

    from ganlab.data.folder import EvaluationFolder

    if cfg.real is None:
        raise ConfigError("real is missing: give a folder of images, or the name of a data set")
    if cfg.get("extractor") is None and "${extractor}" in str(OmegaConf.to_container(cfg.metric)):
        raise ConfigError(
            "extractor is missing: extractor=inception, or mnist, format_number for images like these"
        )
    refuse_of_games(cfg)
    data = reals(cfg)
    made = EvaluationFolder("generated", cfg.generated, data.shape[0])
    if made.shape != data.shape:
        sizes = ["x".join(map(str, shape[:0:-1])) for shape in (made.shape, data.shape)]
        raise ConfigError(
            f"the generated images are {sizes[0]}, the real ones {sizes[1]}: resize one of them"
        )
    wanted = OmegaConf.to_container(cfg.evaluation)["n"]  # type: ignore[index, call-overload]
    if "${" not in str(wanted) and wanted != len(made):
        raise ConfigError(f"this protocol is of {wanted} images, and {cfg.generated} holds {len(made)}")
    cfg.evaluation.n = len(made)
    evaluation = built(cfg, data)
    low, high = data.value_range
    place = torch.device(device(cfg))
    fakes = (low + (high - low) * x for x, _ in made.split("train", place, 100))
    found = evaluation.measure(fakes, place)
    return evaluation.records(found, None, {"sampler": "images from files"})


def refuse_of_games(cfg: DictConfig) -> None:
    """Refuses metrics that look at a game, where there are but images."""
    from ganlab.config.build import instantiate_group
    from ganlab.metrics.base import SampleMetric

    for name, metric in instantiate_group(cfg, "metric").items():
        if type(metric).observe_game is not SampleMetric.observe_game:
            raise ConfigError(f"metric {name} looks at a game, not at images from files: leave it out")


def reals(cfg: DictConfig) -> Any:
    """The images of a folder, or a data set of images."""
    from ganlab.config.build import build_data
    from ganlab.data.folder import EvaluationFolder

    if Path(cfg.real).expanduser().is_dir():
        return EvaluationFolder("real", cfg.real)
    if not (CONF / "data" / f"{cfg.real}.yaml").is_file():
        known = ", ".join(sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
        raise ConfigError(f"real={cfg.real} is no folder and no data set: choose one of {known}")
    data = build_data(compose(f"data={cfg.real}", *([] if cfg.root is None else [f"data.root={cfg.root}"])))
    if data.value_range is None:
        raise ConfigError(f"real={cfg.real} are no images: choose a folder, or a data set of images")
    return data


def built(cfg: DictConfig, data: Any) -> Any:
    """The evaluation that a config describes, on some data."""
    from ganlab.config.build import build_evaluation
    from ganlab.training.callbacks.progress import progress_bar

    refuse_unused_weights(cfg)
    evaluation = build_evaluation(cfg, data, progress_bar)
    if not evaluation.metrics:
        raise ConfigError("metric is empty: give some, such as 'metric=[fid,kid]'")
    return evaluation


def device(cfg: DictConfig) -> str:
    """Where networks look at images.

    Raises:
        ConfigError: there is no such device here.
    """
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    name = cfg.device or ("cpu" if found is None else found.type)
    try:
        torch.zeros(1, device=name).item()  # the meta device holds no values
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(f"device={name} is not available: remove it, or choose device=cpu") from error
    return str(name)


def show(records: Records) -> None:
    """A table: numbers, and what real images score."""
    width = max(map(len, records)) + 2
    for name, record in records.items():
        floor = record.get("floor")
        beside = "" if floor is None else f"   (real {record['floor_split']} images: {format_number(floor)})"
        print(f"  {name:<{width}}{format_number(record['value'])}{beside}", flush=True)


def write(path: Path, records: Records) -> None:
    with refuse_unwritable(f"output={path}", "choose another"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(records, indent=1) + "\n")


def main() -> None:
    launch("evaluate", evaluate)


if __name__ == "__main__":
    main()
