"""From config to objects: the only file that wires them together."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.config.checks import num_processes, whole
from ganlab.config.kinds import refuse_unfit
from ganlab.config.run_directory import RunDirectory
from ganlab.config.stages import views
from ganlab.core.errors import Refused, one_line, within
from ganlab.core.randomness import fold
from ganlab.core.turn import Networks, Offer
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.metrics.base import SampleMetric
from ganlab.metrics.evaluation import Evaluation, Watch
from ganlab.networks.autoencoder import pretrained
from ganlab.networks.base import Discriminator, Generator, swap
from ganlab.networks.norms import BATCH_NORMS, ElementaryNorm, SynchronisedNorm
from ganlab.objectives.base import Objective
from ganlab.training.base import GameModule
from ganlab.training.play import Play
from ganlab.training.stages import Stage, Stages
from ganlab.tricks.base import Trick
from ganlab.tricks.slope_penalty import SlopePenalty

ROLES = ("discriminator", "generator", "encoder")


def instantiate(node: Any, kind: type = object) -> Any:
    """The object that a node of the config describes, or what makes it.

    Raises:
        Refused: its constructor refused a value, or would not take it, or it is of another kind.
    """
    refuse_unfit(node)
    with refusing():
        made = hydra.utils.instantiate(node, _convert_="all")
    makes = getattr(made, "func", None)  # of a partial
    if not (isinstance(made, kind) or (isinstance(makes, type) and issubclass(makes, kind))):
        raise Refused(
            f"{node._get_full_key('_target_')}={node.get('_target_')} makes no {kind.__module__}."
            f"{kind.__name__}, which is what belongs there: make it one, or wrap yours in one"
        )
    return made


def chosen(cfg: DictConfig, group: str) -> dict[str, Any]:
    """The tricks or the metrics of a config, by name."""
    kind = {"trick": Trick, "metric": SampleMetric}[group]
    return {name: instantiate(node, kind) for name, node in whole(cfg, group).items()}


def build_data(cfg: DictConfig) -> Data:
    """The data set; facts that it found out by itself are written back into the config."""
    data: Data = instantiate(cfg.data, Data)
    if cfg.data.num_classes is None:
        cfg.data.num_classes = data.num_classes
    return data


def measuring(cfg: DictConfig, data: Data, *watch: Watch) -> Evaluation:
    """What measures a game, by its config."""
    asked = cfg.evaluation
    return Evaluation(chosen(cfg, "metric"), data, asked.n, asked.n_real, asked.seed, *watch)


def build_game(cfg: DictConfig, data: Data | None = None, code_of: Game | None = None) -> Game:
    """Players, objective and tricks; its weights hang on the seed, and on data where cfg.initial says so.

    Without data such weights stay as they were drawn: they are to be restored. `code_of` is the game of
    the stage that cfg.code_of names; other stages are none of this one's concern.

    Raises:
        Refused: a value is out of its range, or a trick could not act.
    """
    with refusing():
        objective = instantiate(cfg.objective, Objective)
        tricks = chosen(cfg, "trick")
        with torch.random.fork_rng(devices=[]):
            networks = {player: network(cfg, player, data) for player in objective.players}
            if objective.statistics:
                generator = networks["generator"]
                num_outputs = objective.statistics * generator.latent_dim
                generator.encoder = network(cfg, "encoder", data, num_outputs=num_outputs)
            networks["generator"].class_counts = data and data.class_counts()
            torch.default_generator.manual_seed(fold(cfg.seed, "tricks"))
            game = Game(
                Networks(networks["generator"], networks.get("discriminator"), cfg.data.num_classes),
                objective,
                tricks,
                taken=frozenset(taken_by_setting(cfg)),
                code_of=code_of,
            )
            # Before any weights are restored: a detour over float32 would round them.
            game = game.double() if cfg.trainer.precision == "64-true" else game
            if cfg.trainer.get("sync_batchnorm", False):
                swap(game, (*BATCH_NORMS, ElementaryNorm), SynchronisedNorm)
            # Convolutions are faster so, on CPUs and GPUs alike, and differ in the last bit at most.
            return game.to(memory_format=torch.channels_last)


def taken_by_setting(cfg: DictConfig) -> set[Offer]:
    """What no trick can have, because of where and how the networks are computed, and on which data."""
    taken = {Offer.ONE_PROCESS} if num_processes(cfg) > 1 else set()
    taken |= {Offer.SECOND_DERIVATIVES} if cfg.compile else set()
    return taken if cfg.data.get("labelled") else taken | {Offer.EXTRA}


def network(cfg: DictConfig, player: str, data: Data | None, **facts: int) -> Any:
    """One player's network, from a seed of its own; `facts` are what the objective asks of it."""
    if player not in cfg.model:
        raise Refused(
            f"the objective needs an {player}, which this model does not have: choose model=vae or give it "
            f"model.{player}"
        )
    torch.default_generator.manual_seed(fold(cfg.seed, player))
    kinds = {"generator": Generator, "discriminator": Discriminator}
    made = instantiate(cfg.model[player], kinds.get(player, object))
    made = made(**facts) if facts else made
    for initial in instantiate(cfg.initial.get(player, [])):
        initial(made, data and data.mean)
    return made


def build(cfg: DictConfig, data: Data | None = None) -> GameModule:
    """The game with its way of playing and its optimisers, after its stages; data as in `build_game`.

    Raises:
        Refused: as `build_game`; or a value of an optimiser is out of its range.
    """
    if cfg.compile:
        torch._dynamo.reset()  # what the last job of a sweep has compiled
    before: dict[str, Stage] = {}
    for name, own in views(cfg):
        with within(name and f"stages.{name}"), refusing():
            code_of = before[own.code_of].module.game if own.get("code_of") else None
            made = parts(own, data, code_of) | {"seed": cfg.seed}
            if name is None:
                break
            module = GameModule(**made)
            shallow = [before[part].module.game.generator for part in own.pretrained]
            before[name] = Stage(module, own.steps, pretrained(module.game.generator, shallow))
    with refusing():
        return Stages(before, **made) if before else GameModule(**made)


def parts(cfg: DictConfig, data: Data | None, code_of: Game | None) -> dict[str, Any]:
    """What a module that plays one game is made of."""
    game = build_game(cfg, data, code_of)
    here = {*game.players, *(["encoder"] if game.objective.statistics else [])}
    for setting in ("clip", "initial"):
        for player, value in cfg[setting].items():
            if player not in here and not (player in ROLES and value in (None, [])):
                raise Refused(
                    f"{setting}.{player}={value}, but with this objective the {player} does not play: "
                    "leave it out"
                )
    refuse_single(cfg, game)
    if data is not None:
        tell_of_norm(game)
    if cfg.compile:
        game.compile()
    with refusing():
        return {
            "game": game,
            "play": instantiate(cfg.play, Play),
            "optimizers": instantiate(cfg.optimizer),
            "clip": instantiate(cfg.clip),
        }


def refuse_single(cfg: DictConfig, game: Game) -> None:
    """Refuses batches of one row on a process where batch norm of vectors has nothing to average over."""
    processes = num_processes(cfg)
    # The other one averages over all processes.
    norms = (nn.BatchNorm1d, ElementaryNorm if processes == 1 else nn.BatchNorm1d)
    if cfg.data.batch_size == processes and any(isinstance(layer, norms) for layer in game.modules()):
        raise Refused(
            f"data.batch_size={cfg.data.batch_size} leaves a process one sample, of which batch norm makes "
            "nothing: raise it, or set model.generator.batch_norm=false"
        )


@rank_zero_only
def tell_of_norm(game: Game) -> None:
    """Warns where a gradient penalty acts per sample, but batch norm couples the samples of a batch."""
    critic = game.discriminator
    names = [name for name, trick in game.tricks.items() if isinstance(trick, SlopePenalty)]
    if names and critic is not None and any(isinstance(layer, _BatchNorm) for layer in critic.modules()):
        print(
            f"{', '.join(names)}: the discriminator has batch norm, so the gradient at a sample depends on "
            "its whole batch; trick=normalisation removes it",
            file=sys.stderr,
        )


def load(
    run_dir: str | Path, checkpoint: str | None = None, trust: Iterable[str] = (), device: str = "cpu"
) -> Game:
    """The game of a run, for sampling and for notebooks; reads no data.

    Args:
        run_dir: a run directory, or one of its checkpoints.
        checkpoint: last, previous or best, or a path; None: as run_dir says, else the last.
        trust: further packages from which its config may build objects.

    Raises:
        Refused: it is not a run, has no readable checkpoint, or its config names code outside of the
            trusted packages.
    """
    run = RunDirectory(run_dir, trust)
    module = build(run.config())
    restore(module, run.checkpoint(checkpoint)[1])
    game = module.game
    if game.begins and game.played <= 0:
        raise Refused(
            f"{run_dir} has played {game.step} of the {game.begins} rounds before its generator learns: "
            f"resume={run.path} goes on"
        )
    module.to(device).eval()
    return game


def restore(module: GameModule, checkpoint: dict[str, Any]) -> None:
    """The weights and states of a checkpoint.

    Raises:
        Refused: they are those of another game.
    """
    fit(module, checkpoint, "")


def adopt(module: GameModule, checkpoint: dict[str, Any]) -> None:
    """The players' weights of a checkpoint; the round and the states of tricks stay those of a new run.

    Raises:
        Refused: they are those of other networks.
    """
    for name, game in module.named_modules():
        if isinstance(game, Game):
            for player in game.players:
                fit(getattr(game, player), checkpoint, f"{name}.{player}.")
            game.adopted()


def fit(module: nn.Module, checkpoint: dict[str, Any], prefix: str) -> None:
    """What a checkpoint holds below a prefix, into a module that it must fit."""
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    own = module.state_dict()
    try:
        for name, value in state.items():
            if (
                torch.is_tensor(value)
                and value.is_floating_point() != own.get(name, value).is_floating_point()
            ):
                raise TypeError(f"{name} is of {value.dtype}")
        module.load_state_dict(state)
    except Exception as error:  # whatever a layer may raise of a state that is not its own
        raise Refused(f"these weights belong to another game: {first_difference(error)}") from error


def first_difference(error: Exception) -> str:
    """The first of the differences that torch lists, on one line."""
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    return lines[0].rstrip(".") if lines else str(error)


class refusing:  # noqa: N801, reads as a phrase
    """Turns an error of a constructor into one line that names the value."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, hydra.errors.InstantiationException):
            if isinstance(error.__cause__, Refused):
                raise error.__cause__ from None
            place = str(error).partition("full_key: ")[2].split()
            raise Refused(": ".join([*place[:1], one_line(error.__cause__ or error)])) from error
        if isinstance(error, Exception) and not isinstance(error, Refused):
            raise Refused(f"{one_line(error)} (HYDRA_FULL_ERROR=1 shows where)") from error
