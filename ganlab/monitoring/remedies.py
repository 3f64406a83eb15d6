"""Remedies of findings: overrides that fit the config of a run, which is tried before they are named."""

import copy
import re
from collections.abc import Sequence
from contextlib import suppress

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import CONF, compose
from ganlab.config.load import build
from ganlab.config.overrides import PARSER
from ganlab.core.errors import ConfigError

Words = Sequence[str]


def first_remedy(cfg: DictConfig, remedies: Sequence[str], player: str, players: Sequence[str]) -> str | None:
    """The first remedy with which a run of this config can be built, as overrides; None: there is none.

    In a remedy, `<optimizer.generator.lr/10>` is a tenth of a setting, and `~own` removes the tricks and the
    play that are not ganlab's. `{player}` stands for the player that a finding is about, and `{players}` for
    each in turn. What changes nothing is no remedy.
    """
    for remedy in remedies:
        text = remedy.replace("{player}", player)
        parts = [part.replace("{players}", one) for one in players for part in text.split()]
        with suppress(ConfigError), open_dict(changed := copy.deepcopy(cfg)):
            changed.compile = False  # to compile takes long
            changed.pop("class_names", None)  # of the record of a run, and no setting
            if words := [word for part in dict.fromkeys(parts) for word in apply(changed, part)]:
                build(changed)
                return " ".join(words)
    return None


def apply(cfg: DictConfig, part: str) -> list[str]:
    """Changes a config by a part of a remedy; returns what can be typed for it, if it changes anything."""
    if part == "~own":
        own = [name for name, trick in cfg.trick.items() if not trick._target_.startswith("ganlab.")]
        play = [] if cfg.play._target_.startswith("ganlab.") else [f"play._target_={compose().play._target_}"]
        cfg.trick = {name: trick for name, trick in cfg.trick.items() if name not in own}
        # `play=alternating` would leave a class that was given.
        return [f"~trick.{name}" for name in own] + [word for one in play for word in apply(cfg, one)]
    key, _, text = part.partition("=")
    if key == "trick":
        if text in cfg.trick:
            return []
        shipped = [name for name in cfg.trick if (CONF / "trick" / f"{name}.yaml").is_file()]
        cfg.trick[text] = compose(part).trick[text]
        return [f"'trick=[{','.join([*shipped, text])}]'" if shipped else part]
    for name, divisor in re.findall(r"<([\w.]+?)(?:/(\d+))?>", text):
        if not isinstance(number := OmegaConf.select(cfg, name), int | float):
            return []
        text = f"{number / int(divisor or 1):g}"
    value, old = PARSER.parse_override(f"{key}={text}").value(), OmegaConf.select(cfg, key, default=...)
    if old in (..., value):
        return []
    OmegaConf.update(cfg, key, value, merge=False)
    return [f"{key}={text}"]
