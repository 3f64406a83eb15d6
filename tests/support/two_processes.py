"""Games that two processes must play exactly as one process does, and the function of one such process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from lightning_utilities import apply_to_collection
from support import daily_sample
from support.daily_sample import daily_draw, daily_play
from support.small_games import HOMES, compatible_objective, game, options, real_batch
from support.trick_effects import STEPS_UNTIL_EFFECT

from ganlab.core.batch import Batch
from ganlab.core.errors import ConfigError

MIN_STEPS = 3
STEPS_OF = STEPS_UNTIL_EFFECT | {"critic_steps": 6}  # in the fifth step the generator moves
ESTIMATES = (
    "estimator=unbiased objective.root=false",
    "estimator=linear objective.root=false",
    "median=true",
)
# p rises to 1 within a few steps; with the paper's settings it would stay at 0.
AUGMENTED = (
    *("trick.adaptive_augment.kimg=0.05", "trick.adaptive_augment.target=-0.9"),
    *("trick.adaptive_augment.corruption.noise=0.1", "trick.adaptive_augment.corruption.cutout=0.5"),
)
# The gradient of a bias in front of a batch norm is rounding noise, which Adam magnifies by up to 1 / eps.
EPS = [f"+optimizer.{player}.eps=1e-2" for player in ("discriminator", "generator")]


@cache
def two_process_cases() -> list[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    """(objective, tricks, play, overrides): every objective and trick in the first play and in one other play
    (in `make test-all` in all others), every kernel and space, every home, which `home=<name>` among the
    overrides names, and one large set of compatible tricks.

    The games of the first play have a batch norm over both processes, the others have none where possible.
    """
    first, *others = options("play")
    accepted: list[str] = []
    for trick in options("trick"):
        if are_compatible("non_saturating", (*accepted, trick)):
            accepted.append(trick)
    # With five penalties at once, larger unrolled steps diverge and magnify rounding errors.
    slow = ("trick.unrolled.lr=0.001",)
    in_one_play = [
        *((f"mmd objective/kernel={kernel}", (), ()) for kernel in options("objective/kernel")),
        *(
            (f"mmd objective/space={space}", (), ())
            for space in options("objective/space")
            if "mnist" not in space  # these classifiers take images of 28 x 28, the batches have 8 x 8
        ),
        *((f"mmd objective.{setting}", (), ()) for setting in ESTIMATES),
        ("non_saturating", ("label_conditioning",), ("trick.label_conditioning.generator=norm",)),
        ("non_saturating", ("label_conditioning",), ("trick.label_conditioning.discriminator=embedding",)),
        ("non_saturating", ("noise_layers", "virtual_batch_norm"), ("trick.noise_layers.player=both",)),
        # ReLU networks are piecewise linear: the perturbation must be large enough to cross kinks.
        ("non_saturating", ("dragan",), ("trick.dragan.size=20",)),
        ("non_saturating", ("adaptive_augment",), AUGMENTED),
        *cases_in_homes(),
    ]
    every = [
        *((*case, first, ()) for case in objectives_with_tricks_in(first)),
        *(
            (*case, play, without_batch_norm(*case, play))
            for play in others
            for case in objectives_with_tricks_in(play)
            if play in daily_play(others, "two processes", *map(str, case))
        ),
        ("non_saturating", tuple(accepted), first, slow),
        *((objective, tricks, "shared", overrides) for objective, tricks, overrides in in_one_play),
    ]
    return every if daily_sample.run_all else daily_draw(every, 0.5)


def cases_in_homes() -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Each home without tricks, and with those of a few that it does not refuse."""
    for home, (objective, _) in HOMES.items():
        accepted: list[str] = []
        for trick in ("r1", "ema", "instance_noise"):
            if are_compatible(objective, (*accepted, trick), overrides=(f"home={home}",)):
                accepted.append(trick)
        for tricks in dict.fromkeys([(), tuple(accepted)]):
            yield objective, tricks, (f"home={home}",)


@cache
def objectives_with_tricks() -> list[tuple[str, tuple[str, ...]]]:
    """Every objective and every trick at least once.

    Each trick goes to a compatible objective that has few tricks so far. A trick that is compatible with none
    of these games gets a game of its own.
    """
    games: dict[str, tuple[str, ...]] = {objective: () for objective in options("objective")}
    alone = []
    for trick in options("trick"):
        for objective in sorted(games, key=lambda objective: len(games[objective])):
            if are_compatible(objective, (*games[objective], trick)):
                games[objective] += (trick,)
                break
        else:
            alone.append((compatible_objective(trick), (trick,)))
    return [*games.items(), *alone]


def objectives_with_tricks_in(play: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The same for one play: games whose tricks are incompatible in it are split up."""
    for objective, tricks in objectives_with_tricks():
        if are_compatible(objective, tricks, play):
            yield objective, tricks
        else:
            yield objective, ()
            yield from ((compatible_objective(trick), (trick,)) for trick in tricks)


def without_batch_norm(objective: str, tricks: tuple[str, ...], play: str) -> tuple[str, ...]:
    """Overrides without batch norm, which sends most messages; none if a trick of the game needs it."""
    without = ("model.generator.batch_norm=false",)
    return without if are_compatible(objective, tricks, play, without) else ()


def are_compatible(
    objective: str, tricks: tuple[str, ...], play: str = "alternating", overrides: tuple[str, ...] = ()
) -> bool:
    """Whether the game can be built, and played by two processes."""
    try:
        return build_in_float64(objective, tricks, play, overrides) is not None
    except ConfigError:
        return False


@cache  # built before the fork, so that each process has its own copy
def build_in_float64(objective: str, tricks: tuple[str, ...], play: str, overrides: tuple[str, ...] = ()):
    """The game in float64, so that rounding hides no mistake; None if it needs a single process."""
    try:
        home = "".join(setting.removeprefix("home=") for setting in overrides if setting.startswith("home="))
        settings = ("trainer=ddp", "trainer.sync_batchnorm=true", *EPS)
        settings += tuple(setting for setting in overrides if not setting.startswith("home="))
        settings += ("trick.unrolled.steps=2",) if "unrolled" in tricks else ()  # each step sends messages
        return game(objective, tricks, play, *settings, model=home).double()
    except ConfigError as refusal:
        if "a single process" in refusal.reason or "needs as well" in refusal.reason:
            return None
        raise


def final_state(case, rank: int, world_size: int) -> dict[str, torch.Tensor] | None:
    """Plays a case as one of `world_size` processes; its final state and samples."""
    module = build_in_float64(*case)
    if module is None:
        return None
    for phase in module.phases:
        phase.rank, phase.world_size = rank, world_size
    share = 16 // world_size
    _, tricks, _, _ = case
    for step in range(max([MIN_STEPS, *(STEPS_OF.get(trick, 0) for trick in tricks)])):
        rows = slice(rank * share, (rank + 1) * share)
        module.train()
        module.play_step(rows_in_float64(getattr(module, "batches", real_batch)(step), rows))
    state = {name: value for name, value in module.state_dict().items() if hasattr(value, "dtype")}
    return {**state, "samples": module.game.sample_on_all_processes(7)}


def rows_in_float64(batch: Batch, rows: slice) -> Batch:
    """The rows of one process, with all samples and images in float64."""

    def part(x: torch.Tensor) -> torch.Tensor:
        return x[rows].double() if x.is_floating_point() else x[rows]

    return apply_to_collection(batch, torch.Tensor, part)


def play_every_case(rank: int, port: int, folder: Path) -> None:
    """Plays every case as one of two processes and saves the final states to `folder/rank.pt`."""
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save([final_state(case, rank, 2) for case in two_process_cases()], folder / f"{rank}.pt")
    dist.destroy_process_group()
