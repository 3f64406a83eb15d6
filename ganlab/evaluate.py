"""python -m ganlab.evaluate: measures a run, or images from anywhere, and says how each number was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.cli import CONF, compose, launch
from ganlab.errors import Refused
from ganlab.values import count

Records = dict[str, dict[str, Any]]


def evaluate(cfg: DictConfig, overrides: Sequence[str] = ()) -> Records:
    """Measures, prints a table and writes it as JSON where `output` says so.

    Returns:
        The numbers by name, each with its protocol.

    Raises:
        Refused: no run and no images, or a metric cannot measure them.
    """
    from ganlab.checks import refuse_unseen

    if (cfg.run_dir is None) == (cfg.generated is None):
        raise Refused(
            "give either run_dir=<a run>, or generated=<a folder> and real=<a folder or a data set>"
        )
    idle = {"real"} if cfg.generated is None else {"n", "seed", "checkpoint"}
    for key in sorted(idle & {override.lstrip("+~").split("=")[0] for override in overrides}):
        raise Refused(
            f"{key} has no say beside {'run_dir' if cfg.generated is None else 'generated'}: leave it out"
        )
    refuse_unseen(cfg, overrides)
    count("n", cfg.evaluation.n)
    count("seed", cfg.evaluation.seed, 0)
    records = of_run(cfg) if cfg.generated is None else of_folder(cfg)
    show(records)
    if cfg.output:
        write(Path(cfg.output), records)
    return records


def of_run(cfg: DictConfig) -> Records:
    """A run's samples against the data that it was trained on."""
    from ganlab.config import build_data, load
    from ganlab.run_directory import RunDirectory

    run = RunDirectory(cfg.run_dir).config()
    game = load(cfg.run_dir, cfg.checkpoint, cfg.trust)
    if cfg.root is not None:
        run.data.root = cfg.root
    with open_dict(run):
        run.evaluation = OmegaConf.create(OmegaConf.to_container(cfg.evaluation, resolve=True))
        run.metric = cfg.metric
        run.extractor = cfg.get("extractor") or run.get("extractor")
    evaluation = measuring(run, build_data(run))
    evaluation.suits(game)
    return evaluation.record(evaluation(game), game)


def of_folder(cfg: DictConfig) -> Records:
    """The images of a folder against those of another, or of a data set."""
    import torch

    from ganlab.config import build_data
    from ganlab.data.base import Data
    from ganlab.data.gallery import Gallery

    if cfg.real is None:
        raise Refused("real is missing: give a folder of images, or the name of a data set")
    if cfg.get("extractor") is None:
        raise Refused("extractor is missing: extractor=inception, or mnist, digits for images like these")
    data: Data
    if Path(cfg.real).is_dir():
        data = Gallery(cfg.real)
    elif (CONF / "data" / f"{cfg.real}.yaml").is_file():
        root = [] if cfg.root is None else [f"data.root={cfg.root}"]
        data = build_data(compose(f"data={cfg.real}", *root))
    else:
        known = ", ".join(sorted(path.stem for path in (CONF / "data").glob("*.yaml")))
        raise Refused(f"real={cfg.real} is no folder and no data set: choose one of {known}")
    made = Gallery(cfg.generated, data.shape[0])
    cfg.evaluation.n = len(made)
    evaluation = measuring(cfg, data)
    low, high = data.value_range or (0.0, 1.0)
    fakes = (low + (high - low) * x for x, _ in made.split("train", "cpu", 100))
    found = evaluation.measure(fakes, torch.device("cpu"))
    return evaluation.told(found, None, {"sampler": "images from files"})


def measuring(cfg: DictConfig, data: Any) -> Any:
    """The evaluation that a config describes, on some data."""
    from ganlab.callbacks.progress import watch
    from ganlab.checks import refuse_weights
    from ganlab.config import chosen
    from ganlab.metrics.evaluation import Evaluation

    refuse_weights(cfg)
    metrics = chosen(cfg, "metric")
    if not metrics:
        raise Refused("metric is empty: give some, such as 'metric=[fid,kid]'")
    asked = cfg.evaluation
    return Evaluation(metrics, data, asked.n, asked.n_real, asked.seed, watch)


def show(records: Records) -> None:
    """A table: numbers, what real images score, and how all of them were made."""
    width = max(map(len, records)) + 2
    for name, record in records.items():
        floor = record.get("floor")
        beside = "" if floor is None else f"   (real {record['floor_split']} images: {floor:.3f})"
        print(f"  {name:<{width}}{record['value']:.3f}{beside}", flush=True)


def write(path: Path, records: Records) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(records, indent=1) + "\n")
        part.replace(path)
    except OSError as error:
        raise Refused(f"output={path} cannot be written: {error.strerror}; choose another") from error
    print(f"  protocols: {path}")


def main() -> None:
    launch("evaluate", evaluate)


if __name__ == "__main__":
    main()
