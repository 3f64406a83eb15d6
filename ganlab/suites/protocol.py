"""How the numbers of a suite were made, in words."""

from collections.abc import Mapping
from typing import Any

from ganlab.metrics.protocols import RESULTS
from ganlab.suites.findings import FREE, Findings
from ganlab.suites.words import shared

TOLD = {"n_fake", "n_real", "split", "extractor", "weights_sha256", *FREE, *RESULTS}


def protocol(findings: Findings) -> list[str]:
    """A line for each metric, and how arms were sampled."""
    measured = [metric for metric in findings.suite.metrics if findings.records[metric]]
    lines = [of_record(findings.names[metric], findings.record(metric)) for metric in measured]
    sampled = [line for key in FREE if (line := by_arm(findings, key))]
    return [*lines, *sampled]


def of_record(name: str, record: Mapping[str, Any]) -> str:
    """The protocol of a metric; nothing of a record is left out."""
    parts = []
    if "n_fake" in record:
        parts.append(f"{record['n_fake']:,} samples")
    if record.get("n_real"):
        parts.append(f"against {record['n_real']:,} real ones")
    if record.get("split", "none") != "none":
        parts.append(f"split {record['split']}")
    if "extractor" in record:
        weights = f" (weights {record['weights_sha256'][:12]})" if "weights_sha256" in record else ""
        parts.append(f"extractor {record['extractor']}{weights}")
    parts += [f"{key.replace('_', ' ')} {value}" for key, value in record.items() if key not in TOLD]
    if "floor" in record:
        parts.append(
            f"real data: {record['floor_n']:,} of split {record['floor_split']} in the samples' place"
        )
    way = f" ({record['better']} is better)" if "better" in record else ""
    return f"`{name}`{way}: {', '.join(parts)}."


def by_arm(findings: Findings, key: str) -> str:
    """What the records say of a key in which arms may differ, and which arms say so."""
    found = [
        (arm, str(record[key]))
        for (arm, _), record in findings.records[findings.first].items()
        if key in record
    ]
    differ = "; arms may differ in this" if len({value for _, value in found}) > 1 else ""
    return f"{key.capitalize()}: {shared(found)}{differ}." if found else ""
