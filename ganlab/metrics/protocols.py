"""Records of metric values, and how they are compared: values of different protocols are not comparable."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ganlab.core.errors import UNSET, ConfigError, require
from ganlab.core.validation import format_number
from ganlab.filesystem import read_regular_file

MetricRecord = Mapping[str, Any]
MetricRecords = dict[str, dict[str, Any]]  # by the names of values
# The keys of a record that are not part of the protocol.
RESULTS = {"value", "better", "step", "beside", "floor", "floor_n", "floor_split"}
LARGEST = 1 << 20  # bytes of a file of records


def differences(one: MetricRecord, other: MetricRecord) -> dict[str, tuple[Any, Any]]:
    """The keys in which the protocols of two records differ, with both values; None for a missing key."""
    keys = [key for key in {**one, **other} if key not in RESULTS]
    pairs = {key: (one.get(key), other.get(key)) for key in keys}
    return {key: (first, second) for key, (first, second) in pairs.items() if first != second}


def refuse_unlike(name: str, records: Mapping[str, MetricRecord], ignored: Collection[str] = ()) -> None:
    """Refuses to compare values of different protocols.

    Args:
        name: of the value, for the message.
        records: by their sources, for the message.
        ignored: keys of the protocol that may differ.

    Raises:
        ConfigError: the protocols differ; it names the first difference.
    """
    (first, reference), *others = records.items()
    for other, record in others:
        for key, (one, two) in differences(reference, record).items():
            reason = f"{first} and {other} are not comparable: {key} is {one} and {two}"
            require(key in ignored, name, UNSET, reason, "measure both with the same protocol")


def read_records(path: Path) -> MetricRecords:
    """The records in a run's summary.json, or in a file that `ganlab.evaluate` wrote.

    Raises:
        ConfigError: there are none.
    """
    remedy = "give a finished run, or a file of ganlab.evaluate"
    try:
        content = json.loads(read_regular_file(path / "summary.json" if path.is_dir() else path, LARGEST))
        records = content.get("metrics", {}) if path.is_dir() else content
        values = [record["value"] for record in records.values()]
        if values and {*map(type, values)} <= {int, float} and not max(map(abs, values)) > 1e308:
            return dict(records)
    except (KeyError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError("cannot be read", remedy, "of", path) from error
    raise ConfigError("has no metric values", remedy, "of", path)


def common_values(
    sources: Mapping[str, MetricRecords], ignored: Collection[str]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """The values that all sources have, by name and source, and remarks on what else differs.

    Raises:
        ConfigError: there are none, or protocols differ in keys that are not `ignored`.
    """
    (first, reference), *others = sources.items()
    names = [name for name in reference if all(name in records for records in sources.values())]
    if not names:
        have = "; ".join(f"{source} has {', '.join(records)}" for source, records in sources.items())
        raise ConfigError(f"no value is common to all: {have}", "measure all by ganlab.evaluate", "of")
    remarks = []
    for name in names:
        refuse_unlike(name, {source: records[name] for source, records in sources.items()}, ignored)
        for other, records in others:
            for key, (one, two) in differences(reference[name], records[name]).items():
                remarks.append(f"{name}: {key} is {one} of {first} and {two} of {other}")
    for source, records in sources.items():
        if rest := [name for name in records if name not in names]:
            remarks.append(f"not common to all: {', '.join(rest)} of {source}")
    return {
        name: {source: float(sources[source][name]["value"]) for source in sources} for name in names
    }, remarks


def baseline_note(baseline: MetricRecord, things: str = "images") -> str:
    """The end of a printed line: the value of real samples instead of generated ones, if it is known."""
    if "floor" not in baseline:
        return ""
    split = {"train": "training"}.get(baseline["floor_split"], baseline["floor_split"])
    return f"   (real {split} {things}: {format_number(baseline['floor'])})"
