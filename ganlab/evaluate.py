"""python -m ganlab.evaluate: measures a run or a folder of images, and records values with protocols."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from ganlab.cli import launch
from ganlab.config.checks import check_evaluation_config, typed_values
from ganlab.config.run_directory import RunDirectory
from ganlab.core.validation import format_number
from ganlab.filesystem import config_error_if_unwritable, write_atomically
from ganlab.metrics.protocols import MetricRecords, floor_note


def evaluate(cfg: DictConfig, overrides: Sequence[str] = ()) -> MetricRecords:
    """Measures a run or images, prints the values, and writes their records to `output`, if it is set.

    Returns:
        The records by the names of the values; a record is a value together with its protocol.

    Raises:
        ConfigError: there is no run and no image, or a metric cannot measure them.
    """
    check_evaluation_config(cfg, overrides)
    if cfg.run_dir is not None:
        RunDirectory(cfg.run_dir, cfg.trust).config()  # errors are raised before torch is imported
    from ganlab.measure import measure_folder, measure_run

    typed = typed_values(overrides).get("class")
    records = measure_folder(cfg) if cfg.run_dir is None else measure_run(cfg, typed)
    if cfg.output:
        with config_error_if_unwritable(cfg.output, key="output"):
            Path(cfg.output).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(Path(cfg.output), json.dumps(records, indent=1) + "\n")
    print_records(records)
    if cfg.output:
        print(f"  protocols: {cfg.output}")
    return records


def print_records(records: MetricRecords) -> None:
    """Prints the values, each with its floor."""
    width = max(map(len, records))
    for name, record in records.items():
        print(f"  {name:<{width}}  {format_number(record['value'])}{floor_note(record)}", flush=True)


if __name__ == "__main__":
    launch("evaluate", evaluate)
