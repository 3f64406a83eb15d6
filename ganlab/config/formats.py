"""The format of a run directory: what its config and its checkpoints have."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ganlab.core.errors import ConfigError

FORMAT = 1  # of a run directory; another one is refused
# What Lightning's checkpoints and ganlab's configs always have.
PARTS = {
    "callbacks": dict, "epoch": int, "global_step": int, "loops": dict, "lr_schedulers": list,
    "optimizer_states": list, "pytorch-lightning_version": str, "state_dict": dict,
}  # fmt: skip
GROUPS = (
    "clip", "data", "evaluation", "initial", "logger", "metric", "model", "objective", "optimizer", "play",
    "stages", "trainer", "trick",
)  # fmt: skip


def of_a_run(cfg: Any, summary: Mapping[str, Any]) -> DictConfig:
    """The config of a run, from what stands in its config.yaml.

    Args:
        cfg: as it was parsed.
        summary: of the run, which names the version of ganlab that wrote it.

    Raises:
        ConfigError: a group is missing, or it has another format.
    """
    remedy = "restore it, or start a new run"
    if not isinstance(cfg, DictConfig):
        raise ConfigError(f"is not the config of a run: {remedy}")
    found = cfg.pop("format", None)
    if found is not None:
        refuse_format(found, summary)
    for name in GROUPS:
        if not isinstance(cfg.get(name), DictConfig):
            raise ConfigError(f"is not the config of a run, with {name}={cfg.get(name)}: {remedy}")
    names = cfg.get("class_names") or []
    if not OmegaConf.is_list(names) and names != [] or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"has class_names={cfg.class_names}, which are no texts: {remedy}")
    refuse_format(found, summary)
    return cfg


def refuse_format(found: Any, summary: Mapping[str, Any]) -> None:
    """Refuses a run that another version of ganlab wrote in another format."""
    if found == FORMAT and type(found) is int:
        return
    versions = summary.get("versions")
    writer = versions.get("torch-ganlab") if isinstance(versions, dict) else None
    writer = writer if isinstance(writer, str) else "of the version that wrote it"
    raise ConfigError(
        f"has format={found}, and this version of ganlab reads format {FORMAT}: use ganlab "
        f"{writer} for this run, or start a new one"
    )
