"""Small games, built through the real config and played round by round without a Trainer."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ganlab.config.compose import CONF, compose
from ganlab.core.errors import ConfigError
from ganlab.core.turn import Batch, Sample
from ganlab.training.build import build
from ganlab.training.module import GameModule

ROOT = Path(__file__).parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
SMALL = (
    "logger=csv",
    "model.generator.latent_dim=6",
    "model.generator.hidden=[16]",
    "model.generator.batch_norm=true",
    "model.discriminator.hidden=[16]",
    "model.discriminator.dropout=0",
    "data.batch_size=16",
)
DCGAN = (
    "logger=csv",
    "model=dcgan",
    "model.generator.latent_dim=6",
    "model.generator.width=4",
    "model.discriminator.width=4",
    "model/prior@model.generator.prior=normal",  # which truncation asks for
    "data.batch_size=16",
)


def options(group: str) -> list[str]:
    """The names of a config group, found and not listed: a new file is tested unasked."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def resolved_config(*overrides: str) -> DictConfig:
    cfg = compose(*overrides)
    OmegaConf.resolve(cfg)
    return cfg


@cache
def option_config(group: str, option: str) -> DictConfig:
    """One option of a group, and choices within it behind a space, as it stands in the composed config."""
    if group == "trick":  # the only ones of which a config takes many: one is composed for all of them
        return OmegaConf.masked_copy(
            resolved_config(*SMALL, f"trick=[{','.join(options(group))}]").trick, option
        )
    return resolved_config(*SMALL, *f"{group}={option}".split())[group]


MODELS = {"mlp": SMALL, "dcgan": DCGAN}


@cache
def config_without_tricks(objective: str, play: str, model: str, *overrides: str) -> DictConfig:
    """The config of a game; building it changes nothing in it, so that its tricks may be set anew."""
    cfg = resolved_config(*MODELS[model], *overrides).copy()
    if "labelled" in cfg.data:
        cfg.data.labelled = 10  # the batches of these games bring them
    cfg.objective = option_config("objective", objective)
    cfg.play = option_config("play", play)
    return cfg


def game(
    objective: str = "non_saturating",
    tricks: Iterable[str] = (),
    play: str = "alternating",
    *overrides: str,
    model: str = "mlp",
) -> GameModule:
    """A small game on 8x8 images; composing once per option keeps thousands of these quick."""
    of_tricks = [override for override in overrides if override.startswith("trick.")]
    others = (override for override in overrides if override not in of_tricks)
    cfg = config_without_tricks(objective, play, model, *others)
    cfg.trick = OmegaConf.merge({}, *(option_config("trick", name) for name in tricks))
    if "replay_buffer" in cfg.trick:
        cfg.trick.replay_buffer.size = 24  # it acts once it is full
    if "minibatch_discrimination" in cfg.trick:
        cfg.trick.minibatch_discrimination.kernels = 8  # 100 take longer than all other tricks together
    if "adaptive_augment" in cfg.trick:
        cfg.trick.adaptive_augment.kimg = 0.05  # 500,000 images for p to go from 0 to 1 are as good as never
        cfg.trick.adaptive_augment.target = -0.9
        cfg.trick.adaptive_augment.interval = 1
    if model == "dcgan" and "unrolled" in cfg.trick:
        cfg.trick.unrolled.lr = 0.001  # longer steps against a penalty of weight 10 explode
    cfg.merge_with_dotlist(of_tricks)
    return build(cfg)


def modules_by_play(
    plays: Iterable[str], objective: str, tricks: Iterable[str], model: str
) -> Iterator[tuple[str, GameModule]]:
    """The game in each way of playing; built once, for that takes longest."""
    first, *others = plays
    made = game(objective, tricks, first, model=model)
    copies = {play: copy.deepcopy(made) for play in others}
    yield first, made
    for play in others:
        copies[play].stage.play = instantiate(option_config("play", play))
        yield play, copies[play]


def compatible_objective(*tricks: str) -> str:
    """An objective that refuses none of the tricks alone; non_saturating, where that is one."""
    for objective in ("non_saturating", *options("objective")):
        if all(accepts(objective, trick) for trick in tricks):
            return objective
    raise AssertionError(f"no objective is one for {tricks}")


@cache
def accepts(objective: str, trick: str) -> bool:
    """Whether an objective takes a trick that comes alone."""
    try:
        game(objective, [trick])
    except ConfigError:
        return False
    return True


def batch(step: int, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [n, 1, 8, 8] in [-1, 1] and classes [n], a function of the round."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(10, (n,), generator=generator)
    x = torch.randn(n, 1, 8, 8, generator=generator) * 0.3 + labels.view(-1, 1, 1, 1) / 10 - 0.5
    return x.clamp(-1, 1), labels


def labelled_batch(step: int, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """The labelled samples of a round."""
    return batch(1000 + step, n)


def play_steps(module: GameModule, n: int) -> list[dict[str, float]]:
    """Plays n rounds; each round's terms."""
    return [play_step(module) for _ in range(n)]


def play_step(module: GameModule) -> dict[str, float]:
    module.train()
    module.play_step((*batch(module.game.step), *labelled_batch(module.game.step)))
    return {name: float(term) for name, term in module.recorder.scalars.items()}


def real_batch(step: int = 0) -> Batch:
    return Batch(Sample(*batch(step)), Sample(*labelled_batch(step)))
