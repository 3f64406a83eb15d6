"""A run that is built and thrown away, so that what it would refuse at its start is refused before."""

from collections.abc import Sequence

from omegaconf import DictConfig

from ganlab.config import build, checks, load, prepare, stages
from ganlab.core.errors import ConfigError, prefixing_all_keys
from ganlab.data.base import Data
from ganlab.metrics.evaluation import monitored_value
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play


def rehearse(
    config: DictConfig, overrides: Sequence[str], place: str, data: Data, metrics: Sequence[str], told: str
) -> list[tuple[str, bool]]:
    """The full names of metrics of a run, and whether higher is better. The run is built and not played.

    Args:
        config: the composed config; what the data determine is written into it.
        overrides: those of the command line; what would have no effect is refused.
        place: where the overrides are written, the beginning of refusals.
        data: those of the config.
        metrics: names as `monitor` takes them.
        told: where the metrics are written.

    Raises:
        ConfigError: the run cannot be played, or does not measure a metric.
    """
    with prefixing_all_keys(place):
        if config.data.num_classes is None:
            config.data.num_classes = data.num_classes_of_all
        checks.check_config(config, overrides)
        stages.Timetable(config).check_batches(data)
        module = GameModule(prepare.build_phases(config, load.build_run(config, data), Phase, Play))
        evaluations = build.build_evaluations(config, data, module.parts)
        monitored_value(evaluations, config.monitor)
    try:
        found = [monitored_value(evaluations, metric) for metric in metrics]
    except ConfigError as refusal:
        raise ConfigError(f"{told} {str(refusal).removeprefix('monitor=')}") from refusal
    return [(str(name), higher) for name, higher in found]
