"""Remedies of findings: overrides that fit the config of a run, which is tried before they are named."""

import copy
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import CONF, compose
from ganlab.config.load import build
from ganlab.config.overrides import PARSER
from ganlab.core.errors import ConfigError

REFERENCE = re.compile(r"<([\w.]+?)(?:/(\d+))?>")  # the value of a setting, perhaps divided


def first_remedy(cfg: DictConfig, remedies: Sequence[str], player: str, players: Sequence[str]) -> str | None:
    """The first remedy with which a run of this config can be built, as overrides; None: there is none.

    In a remedy, `<optimizer.generator.lr/10>` is a tenth of a setting, and `~own` removes the tricks and the
    play that are not ganlab's. `{player}` stands for the player that a finding is about, and `{players}` for
    each in turn. What changes nothing is no remedy.
    """
    for remedy in remedies:
        with suppress(ConfigError):
            changed = copy.deepcopy(cfg)
            with open_dict(changed):
                changed.compile = False  # to compile takes long
                changed.pop("class_names", None)  # of the record of a run, and no setting
                parts = [part.replace("{players}", one) for one in players for part in remedy.split()]
                words = [word for part in dict.fromkeys(parts) for word in apply(changed, part, player)]
            if words:
                build(changed)
                return " ".join(words)
    return None


def apply(cfg: DictConfig, remedy: str, player: str) -> list[str]:
    """Changes a config by a part of a remedy; returns what can be typed for it, if it changes anything."""
    if remedy == "~own":
        return remove_own(cfg)
    key, _, text = remedy.replace("{player}", player).partition("=")
    text = REFERENCE.sub(lambda found: scaled(cfg, *found.groups()), text)
    if key in ("trick", "objective", "play"):
        return choose(cfg, key, text)
    value = PARSER.parse_override(f"{key}={text}").value() if "None" not in text else None
    if value is None and "null" not in text:
        return []
    old = OmegaConf.select(cfg, key, default=...)
    if old is ... or old == value:
        return []
    OmegaConf.update(cfg, key, value, merge=False)
    return [f"{key}={text}"]


def scaled(cfg: DictConfig, key: str, divisor: str | None) -> str:
    value = OmegaConf.select(cfg, key)
    return f"{value / int(divisor or 1):g}" if isinstance(value, int | float) else "None"


def choose(cfg: DictConfig, group: str, option: str) -> list[str]:
    """Adds a trick, or chooses another objective or play."""
    node: Any = compose(f"{group}={option}")[group]
    if group != "trick":
        is_new = node._target_ != cfg[group]._target_
        cfg[group] = node
        return [f"{group}={option}"] if is_new else []
    if option in cfg.trick:
        return []
    shipped = [name for name in cfg.trick if Path(CONF, "trick", f"{name}.yaml").is_file()]
    cfg.trick[option] = node[option]
    return [f"'trick=[{','.join([*shipped, option])}]'" if shipped else f"trick={option}"]


def remove_own(cfg: DictConfig) -> list[str]:
    """Removes the tricks and the play that are not ganlab's."""
    own = [name for name, trick in cfg.trick.items() if not trick._target_.startswith("ganlab.")]
    for name in own:
        del cfg.trick[name]
    words = [f"~trick.{name}" for name in own]
    if not cfg.play._target_.startswith("ganlab."):
        cfg.play = compose().play
        words.append(f"play._target_={cfg.play._target_}")  # `play=alternating` would leave a given class
    return words
