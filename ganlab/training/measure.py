"""Metrics of a saved run, or of a folder of images, for `ganlab.evaluate`. Imports torch only when needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.checks import refuse_unused_weights
from ganlab.config.compose import CONF, compose
from ganlab.config.run_directory import RunDirectory, warn_if_other_data
from ganlab.core.errors import UNSET, ConfigError, require
from ganlab.metrics.protocols import Records

if TYPE_CHECKING:
    from ganlab.metrics.evaluation import Evaluation


def refuse_settings(cfg: DictConfig, given: Iterable[str]) -> None:
    """Refuses settings that are missing, or have no effect together with others.

    Args:
        given: the keys on the command line.

    Raises:
        ConfigError: such a setting.
    """
    sources = (cfg.run_dir is None) != (cfg.generated is None)
    remedy = "give either run_dir, or generated and real"
    require(sources, "run_dir", cfg.run_dir, "needs exactly one of a run and generated images", remedy)
    unused = {"protocol": {"n"} if "protocol" in given else set()}
    if cfg.generated is None:
        unused["run_dir"] = {"real"}
    else:
        unused["generated"] = {"n", "seed", "checkpoint", "evaluation.n", "evaluation.seed", "trust"}
        if cfg.real is not None and Path(cfg.real).expanduser().is_dir():
            unused["real, a folder"] = {"root"}
    for cause, keys in unused.items():
        for key in sorted(keys.intersection(given)):
            raise ConfigError(f"has no effect with {cause}", "remove it", key)
    if output := cfg.output and Path(cfg.output):
        writable = output.suffix == ".json" and not output.is_dir()
        ours = output.name in ("summary.json", "profile.json")
        reason = "must be a file that ends in .json, and not a file of a run"
        require(writable and not ours, "output", cfg.output, reason, "choose another name")


def measure_run(cfg: DictConfig) -> Records:
    """Measures a run's samples, by the settings of `ganlab.evaluate` and on the data of the run."""
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
    evaluation = build_evaluation(run, warn_if_other_data(directory, build_data(run)))
    evaluation.check_game(game)
    game = game.to(find_device(cfg.device))
    return evaluation.records(evaluation(game), game)


def measure_folder(cfg: DictConfig) -> Records:
    """Measures the images of a folder against those of another, or of a data set."""
    remedy = "give a folder of images"
    require(Path(cfg.generated).is_dir(), "generated", cfg.generated, "not a folder", remedy)
    import torch

    from ganlab.config.build import instantiate_group
    from ganlab.data.folder import EvaluationFolder

    require(cfg.real, "real", UNSET, "missing", f"{remedy}, or the name of a data set")
    extracts = "${extractor}" in str(OmegaConf.to_container(cfg.metric))
    remedy = "choose inception, or a classifier for images like these, such as mnist"
    require(cfg.get("extractor") or not extracts, "extractor", UNSET, "missing", remedy)
    for name, metric in instantiate_group(cfg, "metric").items():
        reason = "needs a game, and these are images from files"
        require(not metric.needs_game, "metric", name, reason, "remove it")
    data = real_images(cfg)
    generated = EvaluationFolder("generated", cfg.generated, data.shape[0])
    sizes = ["x".join(map(str, shape[:0:-1])) for shape in (generated.shape, data.shape)]
    reason = f"these images are {sizes[0]}, but the real ones are {sizes[1]}"
    require(sizes[0] == sizes[1], "generated", cfg.generated, reason, "resize one of them")
    n = OmegaConf.to_container(cfg.evaluation)["n"]  # type: ignore[index, call-overload]
    reason = f"holds {len(generated)} images, and this protocol needs {n}"
    require("${" in str(n) or n == len(generated), "generated", cfg.generated, reason)
    cfg.evaluation.n = len(generated)
    evaluation = build_evaluation(cfg, data)
    low, high = data.value_range
    device = torch.device(find_device(cfg.device))
    samples = (low + (high - low) * x for x, _ in generated.split("train", device, 100))
    return evaluation.records(evaluation.measure(samples, device))


def real_images(cfg: DictConfig) -> Any:
    """The images of a folder, or a data set of images."""
    from ganlab.config.build import build_data
    from ganlab.data.folder import EvaluationFolder

    if Path(cfg.real).expanduser().is_dir():
        return EvaluationFolder("real", cfg.real)
    known = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))
    remedy = f"choose one of {', '.join(known)}"
    require(cfg.real in known, "real", cfg.real, "neither a folder nor a data set", remedy)
    data = build_data(compose(f"data={cfg.real}", *([] if cfg.root is None else [f"data.root={cfg.root}"])))
    remedy = "choose a folder, or a data set of images"
    require(data.value_range, "real", cfg.real, "not a data set of images", remedy)
    return data


def build_evaluation(cfg: DictConfig, data: Any) -> Evaluation:
    """The evaluation that a config describes, with progress bars."""
    from ganlab.config import build
    from ganlab.training.callbacks.progress import progress_bar

    refuse_unused_weights(cfg)
    evaluation = build.build_evaluation(cfg, data, progress_bar)
    require(
        evaluation.metrics,
        "metric",
        UNSET,
        "no metric is selected",
        "select some, such as 'metric=[fid,kid]'",
    )
    return evaluation


def find_device(name: str | None) -> str:
    """The name of a device; None: the accelerator, or the CPU if there is none.

    Raises:
        ConfigError: this machine does not have it.
    """
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    name = name or ("cpu" if found is None else found.type)
    try:
        torch.zeros(1, device=name).item()  # fails on the meta device, which holds no values
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ConfigError(
            "not available on this machine", "remove it, or set device=cpu", "device", name
        ) from error
    return name
