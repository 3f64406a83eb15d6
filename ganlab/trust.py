"""Which code a config may run: one that came with somebody's checkpoint is not to be believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig

from ganlab.errors import Refused, one_line

# What a config that came with somebody's checkpoint may build: code in a config is code that runs.
TRUSTED = ("ganlab.", "torch.optim.", "pytorch_lightning.")


def check_trust(cfg: DictConfig, trust: Iterable[str]) -> None:
    """Refuses a config that would run code from elsewhere."""
    allowed = (*TRUSTED, *(f"{package}." for package in trust))
    for target in targets(cfg):
        # The text first, since looking an object up imports it; then where it really comes from.
        if not target.startswith(allowed):
            raise Refused(
                f"the config builds {target}, which is not ganlab's: if you know where this run comes from, "
                f"trust=[{target.split('.')[0]}] allows it"
            )
        if not f"{origin(target)}.".startswith(allowed):
            raise Refused(
                f"the config builds {target}, which is not ganlab's own: take it out of config.yaml"
            )


def origin(target: str) -> str:
    """The module that an object is defined in.

    Raises:
        Refused: there is no such object.
    """
    try:
        return getattr(get_object(target), "__module__", None) or ""
    except Exception as error:  # whatever an import may raise
        raise Refused(f"the config builds {target}, which does not exist here: {one_line(error)}") from error


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, DictConfig):
        for key, value in node.items():
            if key == "_target_":
                yield value
            yield from targets(value)
    elif isinstance(node, ListConfig):
        for value in node:
            yield from targets(value)
