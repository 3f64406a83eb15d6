"""Small games, built from the real config and trained step by step without a Trainer."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from hydra.utils import instantiate
from lightning_utilities import apply_to_collection
from omegaconf import DictConfig, OmegaConf
from support import vector_digits
from support.modules import build

from ganlab.config.build import build_data
from ganlab.config.compose import CONF, compose
from ganlab.config.load import LoadedRun, build_run
from ganlab.config.run_directory import CHECKPOINT_ENTRIES, RunDirectory
from ganlab.config.setting_types import import_object
from ganlab.core.batch import Batch, Sample
from ganlab.core.capability import Capability
from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
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
    "model/prior@model.generator.prior=normal",  # truncation needs it
    "data.batch_size=16",
)
RESIDUAL = (
    "logger=csv",
    "~model.generator",
    "~model.discriminator",
    "+model.generator={_target_:support.residual_networks.generator,latent_dim:6,shape:${data.shape},"
    "value_range:${data.range},prior:{_target_:ganlab.networks.priors.Normal}}",
    "+model.discriminator={_target_:support.residual_networks.discriminator,shape:${data.shape}}",
    "data.batch_size=16",
)
ComposedConfig = Callable[..., DictConfig]
WITH_ENCODER = ("ali", "vae_gan")  # objectives that need networks or players which model=gan lacks
# Small games of kinds that digits without a condition are not: the objective, and overrides of the rest.
HOMES = {
    "pix2pix": (
        "non_saturating",
        ("experiment=pix2pix_digits", "model.generator.width=4", "model.discriminator.width=4"),
    ),
    "pix2pix_of_paper": (
        "non_saturating",
        (
            *("data=half_digits", "model=pix2pix", "model.discriminator.receptive_field=16"),
            *("trick=[]", "model.generator.width=4", "model.discriminator.width=4"),
        ),
    ),
    "inpainting": (
        "non_saturating",
        (
            *("data=masked", "data.kind=pixels", "model=pix2pix_small", "trick=[]"),
            *("model.generator.width=4", "model.discriminator.width=4", "data.of.batch_size=16"),
        ),
    ),
    **{name: (name, (f"experiment={name}_digits", *SMALL, "data.labelled=10")) for name in WITH_ENCODER},
    "gain": (
        "gain",
        ("experiment=gain_digits", "model.generator.width=4", "model.discriminator.hidden=[16]"),
    ),
    "cyclegan": (
        "least_squares",
        ("experiment=cyclegan_digits", "model.generator.width=4", "model.discriminator.width=4"),
    ),
    "imle_ring": ("imle", ("experiment=imle_ring", "model.generator.hidden=[16]")),
    "f_anogan": (
        "f_anogan",
        ("experiment=encoder_digits", "model.encoder.hidden=[16]", "model.encoder.dropout=[0,0]"),
    ),
    "two_stages": (
        "non_saturating",
        (
            "experiment=two_stages_digits",
            "data.labelled=10",
            "stages.low.steps=1",
            "stages.low.model.generator.hidden=[16]",
            "stages.low.model.generator.latent_dim=6",
            "model.generator.width=4",
            "model.discriminator.hidden=[16]",
            "model.discriminator.dropout=0",
        ),
    ),
    "vector_digits": (
        "non_saturating",
        (
            *DCGAN[1:-1],
            *vector_digits.DATA,
            "model.generator._target_=support.vector_digits.generator",
            "model.discriminator._target_=support.vector_digits.discriminator",
            *(f"+model.{player}.condition=${{data.condition}}" for player in ("generator", "discriminator")),
        ),
    ),
    "vector_pairs": (
        "non_saturating",
        (
            "data=ring",
            "data._target_=support.vector_pairs.Pairs",
            *("~data.modes", "~data.radius", "~data.std", "~data.size", "~data.data_seed"),
            "data.num_classes=null",
            "+data.condition={_target_:ganlab.core.batch.ConditionSpec,kind:vector,shape:[2]}",
            "~model.generator",
            "~model.discriminator",
            "+model.generator={_target_:support.vector_pairs.generator,latent_dim:6,"
            "condition:${data.condition},prior:{_target_:ganlab.networks.priors.Normal}}",
            "+model.discriminator={_target_:support.vector_pairs.discriminator,condition:${data.condition}}",
        ),
    ),
}
CYCLEGAN = ("logger=csv", "data.batch_size=16", *HOMES["cyclegan"][1])


@contextmanager
def in_float32() -> Iterator[None]:
    """What many tests share is the same whichever test builds it first."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(dtype)


@cache
def untrained_run() -> Path:
    """The directory of a run as it was before its first step, whose networks others borrow."""
    path = Path(tempfile.mkdtemp(prefix="ganlab_"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    cfg = compose(*SMALL, "model.generator.batch_norm=false")
    with in_float32():
        games = build_run(cfg)
    content = {name: kind() for name, kind in CHECKPOINT_ENTRIES.items()}
    content["state_dict"] = games.state_dict()
    LoadedRun(RunDirectory(path), cfg, content, games, {}).write_copy(path / "run")
    return path / "run"


def options(group: str) -> list[str]:
    """The options of a config group, read from the folder: a new file is tested without an edit."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def unresolved_config(*overrides: str) -> DictConfig:
    return compose(*overrides)


@cache
def resolved_config(*overrides: str) -> DictConfig:
    cfg = unresolved_config(*overrides).copy()
    if not cfg.stages:  # what belongs to a stage refers to the shapes of its own space
        OmegaConf.resolve(cfg)
    return cfg


@cache
def option_config(group: str, option: str, composed: ComposedConfig = resolved_config) -> DictConfig:
    """The composed config of one option; choices within the option may follow it after a space."""
    if group == "trick":  # a config may have many tricks: one composition serves them all
        return OmegaConf.masked_copy(composed(*SMALL, f"trick=[{','.join(options(group))}]").trick, option)
    return resolved_config(*SMALL, *f"{group}={option}".split())[group]


MODELS = {"mlp": SMALL, "dcgan": DCGAN, "residual": RESIDUAL}
MODELS |= {home: ("logger=csv", "data.batch_size=16", *overrides) for home, (_, overrides) in HOMES.items()}


@cache
def config_without_tricks(objective: str, play: str, model: str, *overrides: str) -> DictConfig:
    """A copy of the config of a game, whose tricks the caller sets."""
    borrows = [f"borrows.game={untrained_run()}"] if model == "f_anogan" else []
    cfg = resolved_config(*MODELS[model], *borrows, *overrides).copy()
    if "labelled" in cfg.data:
        cfg.data.labelled = 10  # `play_step` provides the labelled batches
    cfg.objective = option_config("objective", objective)
    cfg.play = option_config("play", play)
    return cfg


def game(
    objective: str = "non_saturating",
    tricks: Sequence[str] = (),
    play: str = "alternating",
    *overrides: str,
    model: str = "",
) -> GameModule:
    """A small game on 8x8 images. Each option is composed only once, because thousands of games are built.

    Args:
        model: a key of `MODELS`; empty: the one that the objective or the tricks need.
    """
    model = model or (objective if objective in HOMES else model_of(*tricks))
    trick_overrides = [override for override in overrides if override.startswith("trick.")]
    others = (override for override in overrides if override not in trick_overrides)
    cfg = config_without_tricks(objective, play, model, *others)
    composed = unresolved_config if model in HOMES else resolved_config
    cfg.trick = OmegaConf.merge({}, *(option_config("trick", name, composed) for name in tricks))
    if "replay_buffer" in cfg.trick:
        cfg.trick.replay_buffer.size = 24  # the buffer takes effect once it is full
    if "minibatch_discrimination" in cfg.trick:
        cfg.trick.minibatch_discrimination.kernels = 8  # 100 take longer than all other tricks together
    if "adaptive_balance" in cfg.trick and model == "two_stages":  # the players of which stay in balance
        cfg.trick.adaptive_balance.low, cfg.trick.adaptive_balance.high = None, 0.1
    if "adaptive_augment" in cfg.trick:
        cfg.trick.adaptive_augment.kimg = 0.05  # by default p needs 500,000 images to rise from 0 to 1
        cfg.trick.adaptive_augment.target = -0.9
        cfg.trick.adaptive_augment.interval = 1
    if model == "dcgan" and "unrolled" in cfg.trick:
        cfg.trick.unrolled.lr = 0.001  # larger steps diverge under a penalty of weight 10
    cfg.merge_with_dotlist(trick_overrides)
    if model not in HOMES:
        return build(cfg)
    data = home_data(model)
    module = build(cfg, data)
    module.batches = lambda step: next(iter(data.stream(0, lambda: step, "cpu")))  # for `play_step`
    return module


@cache
def home_data(home: str) -> Data:
    with in_float32():
        return build_data(resolved_config(*MODELS[home]))


def model_of(*tricks: str) -> str:
    """The model of the games in which tricks are tested: the simplest that has what they need."""
    if any(map(needs_mask, tricks)):
        return "inpainting"
    return "pix2pix" if any(map(needs_pairs, tricks)) else "mlp"


@cache
def needs_pairs(trick: str) -> bool:
    """Whether a trick needs samples with image conditions, which the digits have not."""
    target = option_config("trick", trick)[trick]._target_
    return Capability.PAIRS in import_object(target).needs or needs_mask(trick)


@cache
def needs_mask(trick: str) -> bool:
    """Whether a trick needs incomplete samples."""
    return getattr(import_object(option_config("trick", trick)[trick]._target_), "needs_mask", False)


def modules_by_play(
    plays: Iterable[str], objective: str, tricks: Iterable[str], model: str
) -> Iterator[tuple[str, GameModule]]:
    """The game in each play. It is built once and copied, because building takes longest."""
    first, *others = plays
    built = game(objective, tricks, first, model=model)
    copies = {play: copy.deepcopy(built) for play in others}
    yield first, built
    for play in others:
        copies[play].phase.play = instantiate(option_config("play", play))
        yield play, copies[play]


def compatible_objective(*tricks: str) -> str:
    """An objective that accepts each of the tricks on its own; non_saturating if possible."""
    for objective in ("non_saturating", *options("objective")):
        if all(accepts(objective, trick) for trick in tricks):
            return objective
    raise AssertionError(f"no objective accepts {tricks}")


@cache
def accepts(objective: str, trick: str) -> bool:
    """Whether an objective can be combined with a single trick."""
    try:
        game(objective, [trick])
    except ConfigError:
        return False
    return True


def batch(step: int, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [n, 1, 8, 8] in [-1, 1] and classes [n], a function of the step."""
    generator = torch.Generator().manual_seed(step)
    labels = torch.randint(10, (n,), generator=generator)
    x = torch.randn(n, 1, 8, 8, generator=generator) * 0.3 + labels.view(-1, 1, 1, 1) / 10 - 0.5
    return x.clamp(-1, 1), labels


def labelled_batch(step: int, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """The additional labelled samples of a step, as the data sets with `labelled` provide them."""
    return batch(1000 + step, n)


def play_steps(module: GameModule, n: int) -> list[dict[str, float]]:
    """Plays n steps and returns the logged terms of each."""
    return [play_step(module) for _ in range(n)]


def play_step(module: GameModule) -> dict[str, float]:
    """Plays one step on the batches that belong to its number and returns the logged terms."""
    module.train()
    module.play_step(next_batch(module))
    return {name: float(term) for name, term in module.scalars.items()}


def next_batch(module: GameModule) -> Batch:
    """The batch of a game's next step, in the precision of its networks."""
    batch, weight = getattr(module, "batches", real_batch)(module.game.run_step), next(module.parameters())
    return apply_to_collection(batch, torch.Tensor, to_precision, weight.dtype)


def to_precision(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return x.to(dtype) if x.is_floating_point() else x


def real_batch(step: int = 0) -> Batch:
    """The real and the labelled samples of a step."""
    rows = 16 * step + torch.arange(16)  # each step has rows of its own
    return Batch(Sample(*batch(step)), Sample(*labelled_batch(step)), rows)
