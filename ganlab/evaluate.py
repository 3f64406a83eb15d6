"""python -m ganlab.evaluate: measures a run, or images from anywhere, and records how."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.checks import check_evaluation_config
from ganlab.config.run_directory import RunDirectory
from ganlab.core.validation import format_number
from ganlab.filesystem import refuse_unwritable, write_atomically
from ganlab.metrics.protocols import MetricRecords, baseline_note


def evaluate(cfg: DictConfig, overrides: Sequence[str] = ()) -> MetricRecords:
    """Measures, writes the records as JSON to `output` if it is set, and prints a table.

    Returns:
        The values by name, each with its protocol.

    Raises:
        ConfigError: no run and no images, or a metric cannot measure them.
    """
    check_evaluation_config(cfg, overrides)
    if cfg.run_dir is not None:
        RunDirectory(cfg.run_dir, cfg.trust).config()  # raises its errors before torch is imported
    from ganlab.training.measure import measure_folder, measure_run

    records = measure_folder(cfg) if cfg.run_dir is None else measure_run(cfg)
    if cfg.output:
        with refuse_unwritable(cfg.output, key="output"):
            Path(cfg.output).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(cfg.output), json.dumps(records, indent=1) + "\n")
    print_records(records)
    if cfg.output:
        print(f"  protocols: {cfg.output}")
    return records


def print_records(records: MetricRecords) -> None:
    """Prints the values, and those of real images."""
    width = max(map(len, records)) + 2
    for name, record in records.items():
        print(f"  {name:<{width}}{format_number(record['value'])}{baseline_note(record)}", flush=True)


def main() -> None:
    launch("evaluate", evaluate)


if __name__ == "__main__":
    main()
