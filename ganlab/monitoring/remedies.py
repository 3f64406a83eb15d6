"""Remedies of findings: overrides that fit the config of a run, which is tried before they are named."""

import copy
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress

from omegaconf import DictConfig, OmegaConf, open_dict

from ganlab.config.compose import CONF, compose
from ganlab.config.load import build
from ganlab.config.overrides import PARSER
from ganlab.data.base import Data

Words = Sequence[str]


def first_remedy(cfg: DictConfig, data: Data, remedies: Words, player: str, players: Words) -> str | None:
    """The first remedy with which a run of this config can be built, as typed; None: there is none.

    In a remedy, `<optimizer.generator.lr/10>` is a tenth of a setting, and `~own` removes the tricks that are
    not ganlab's. `{player}` stands for the player that a finding is about, and `{players}` for each in turn.
    What changes nothing is no remedy, nor is what cannot be built, whatever one's own class raises.
    """
    with open_dict(base := copy.deepcopy(cfg)):
        base.compile = False  # to compile takes long
        base.pop("class_names", None)  # of the record of a run, and no setting
        if base.data.num_classes is None:  # `build` reads no data
            base.data.num_classes = data.num_classes_of_all
    for remedy in remedies:
        text = remedy.replace("{player}", player)
        parts = [part.replace("{players}", one) for one in players for part in text.split()]
        with suppress(Exception), open_dict(changed := copy.deepcopy(base)):
            words = [word for part in dict.fromkeys(parts) for word in apply(changed, part)]
            if changed != base:
                build(changed)
                return shlex.join(words)
    return None


def apply(cfg: DictConfig, part: str) -> list[str]:
    """Changes a config by a part of a remedy; returns what can be typed for it."""
    if part == "~own":
        own = [name for name, trick in cfg.trick.items() if not trick._target_.startswith("ganlab.")]
        cfg.trick = {name: trick for name, trick in cfg.trick.items() if name not in own}
        return [f"~trick.{name}" for name in own]
    key, _, text = part.partition("=")
    if key == "trick":
        shipped = [name for name in cfg.trick if (CONF / "trick" / f"{name}.yaml").is_file()]
        cfg.trick[text] = cfg.trick.get(text) or compose(part).trick[text]
        return [f"trick=[{','.join([*shipped, text])}]" if shipped else part]
    for name, divisor in re.findall(r"<([\w.]+?)(?:/(\d+))?>", text):
        text = f"{OmegaConf.select(cfg, name) / int(divisor or 1):g}"
    value, old = PARSER.parse_override(f"{key}={text}").value(), OmegaConf.select(cfg, key, default=...)
    if old in (..., value):
        return []
    OmegaConf.update(cfg, key, value, merge=False)
    return [f"{key}={text}"]
