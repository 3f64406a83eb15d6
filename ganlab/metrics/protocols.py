"""Records of metric values, and their comparison: values of different protocols are not comparable."""

import json
from collections.abc import Collection, Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any

from ganlab.core.errors import ConfigError, require
from ganlab.core.validation import format_number
from ganlab.filesystem import read_regular_file

MetricRecord = Mapping[str, Any]  # a value together with its protocol
MetricRecords = dict[str, dict[str, Any]]  # records by the names of values
MAX_VALUE = 1e308  # larger absolute values are refused, as infinity is
EXTRAS_KEY = "beside"  # in records, the key of a metric's `extras`, such as a standard deviation
# The keys of a record that are not part of the protocol.
RESULTS = {"value", "better", "step", EXTRAS_KEY, "floor", "floor_n", "floor_split"}
MAX_BYTES = 1 << 20  # the largest size of a file of records
# The smallest and the largest possible value of each metric, by the name of the value without its ending.
BOUNDS = {
    **dict.fromkeys(
        ["precision", "recall", "coverage", "high_quality", "memorisation", "memorisation_pixels"], (0.0, 1.0)
    ),
    **dict.fromkeys(("classification_accuracy", "1nn_error", "linear_probe"), (0.0, 1.0)),
    **dict.fromkeys(("fid", "density", "reverse_kl", "wasserstein", "modes", "errors"), (0.0, inf)),
    **dict.fromkeys(("fcn_pixels", "fcn_classes", "fcn_iou"), (0.0, 1.0)),
    **dict.fromkeys(("pair_error", "imputation_error", "psnr", "lpips"), (0.0, inf)),
    **dict.fromkeys(("input_sensitivity", "noise_sensitivity", "input_change"), (0.0, inf)),
    "ssim": (-1.0, 1.0),
    "is": (1.0, inf),
    **dict.fromkeys(("kid", "parzen"), (-inf, inf)),
}
LARGEST = {"modes": "num_modes", "errors": "n_test"}  # the keys of records that have the largest value


def bounds(name: str, record: MetricRecord) -> tuple[float, float]:
    """The smallest and the largest possible value of a metric; infinite if they are unknown.

    Args:
        name: the name of the value, such as "fid/digits_train_1k".
        record: a record of the value.
    """
    metric = next((part for part in name.split("/") if part in BOUNDS), "")
    low, high = BOUNDS.get(metric, (-inf, inf))
    largest: Any = record.get(LARGEST.get(metric, ""))
    return low, largest if is_metric_value(largest) else high


def differences(record: MetricRecord, other: MetricRecord) -> dict[str, tuple[Any, Any]]:
    """The keys in which the protocols of two records differ, with both values; None for a missing key."""
    pairs = {key: (record.get(key), other.get(key)) for key in {**record, **other} if key not in RESULTS}
    return {key: (value, value_other) for key, (value, value_other) in pairs.items() if value != value_other}


def require_same_protocol(
    name: str, records: Mapping[str, MetricRecord], ignored: Collection[str] = ()
) -> None:
    """Raises `ConfigError`, which names the first difference, if protocols differ in keys not `ignored`.

    Args:
        name: the name of the value, for the message.
        records: the records of the value, by their sources.
    """
    (source, record), *others = records.items()
    for source_other, record_other in others:
        for key, (value, value_other) in differences(record, record_other).items():
            reason = f"{source} and {source_other} are not comparable: {key} is {value} and {value_other}"
            require(key in ignored, reason, "measure both with the same protocol", name)


def read_records(path: Path) -> MetricRecords:
    """The records in a run's summary.json, or in a file that `ganlab.evaluate` wrote.

    Raises:
        ConfigError: there are no records.
    """
    # The key of the errors is "of", because a user gives the paths as `ganlab.compare of=[path,path]`.
    key, remedy = "of", "give a finished run, or a file of ganlab.evaluate"
    try:
        content = json.loads(read_regular_file(path / "summary.json" if path.is_dir() else path, MAX_BYTES))
        records = content.get("metrics", {}) if path.is_dir() else content
        if records and all(is_metric_value(record["value"]) for record in records.values()):
            return dict(records)
    except (KeyError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError("cannot be read", remedy, key, path) from error
    raise ConfigError("has no metric values", remedy, key, path)


def is_metric_value(value: object) -> bool:
    """Whether a value from a file is a number of at most `MAX_VALUE`, or NaN: a metric may be undefined."""
    # Unlike `abs(value) <= MAX_VALUE`, the negated `>` admits NaN.
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > MAX_VALUE


def common_values_and_remarks(
    sources: Mapping[str, MetricRecords], ignored: Collection[str]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """The values that all sources have, by name and source, and remarks on how the sources differ.

    Raises:
        ConfigError: no value is common to all, or protocols differ in keys that are not `ignored`.
    """
    (first, records_first), *others = sources.items()
    names = [name for name in records_first if all(name in records for records in sources.values())]
    if not names:
        lists = "; ".join(f"{source} has {', '.join(records)}" for source, records in sources.items())
        raise ConfigError(f"no value is common to all: {lists}", "measure all with ganlab.evaluate", "of")
    remarks = []
    for name in names:
        require_same_protocol(name, {source: records[name] for source, records in sources.items()}, ignored)
        for source, records in others:
            for key, (value_first, value) in differences(records_first[name], records[name]).items():
                remarks.append(f"{name}: {key} is {value_first} in {first} and {value} in {source}")
    for source, records in sources.items():
        if not_common := [name for name in records if name not in names]:
            remarks.append(f"not common to all: {', '.join(not_common)} in {source}")
    values = {name: {source: float(sources[source][name]["value"]) for source in sources} for name in names}
    return values, remarks


def floor_note(record: MetricRecord) -> str:
    """A remark on a value or its floor, for the end of a printed line; empty if there is no floor."""
    if not isfinite(record.get("value", 0)):
        return "   (not finite, as with too few samples, or samples that are all alike)"
    if "floor" not in record:
        return ""
    split = "training" if record["floor_split"] == "train" else record["floor_split"]
    samples = "samples" if len(record["shape"]) == 1 else "images"
    return f"   (real {split} {samples}: {format_number(record['floor'])})"
