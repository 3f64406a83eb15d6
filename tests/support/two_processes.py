"""Every case of what two processes must play as one does, and such a process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from support.small_games import batch, compatible_objective, game, labelled_batch, options

from ganlab.core.errors import ConfigError

ROUNDS = 12
ESTIMATES = (
    "estimator=unbiased objective.root=false",
    "estimator=linear objective.root=false",
    "median=true",
)
# p comes to 1 within a few rounds, where the paper's numbers leave it at 0.
AUGMENTED = (
    *("trick.adaptive_augment.kimg=0.05", "trick.adaptive_augment.target=-0.9"),
    *("trick.adaptive_augment.corruption.noise=0.1", "trick.adaptive_augment.corruption.cutout=0.5"),
)
# A bias in front of a batch norm has no slope but that of rounding, which Adam magnifies by up to 1 / eps.
EPS = [f"+optimizer.{player}.eps=1e-2" for player in ("discriminator", "generator")]


@cache
def two_process_cases() -> list[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    """Every objective and trick in every play; every kernel and space; and all tricks that go together.

    In the first play with a batch norm over both processes, in the others without.
    """
    first, *others = options("play")
    together: list[str] = []
    for trick in options("trick"):
        if are_compatible("non_saturating", (*together, trick)):
            together.append(trick)
    # Against five penalties at once, larger steps ahead explode, and rounding with them.
    slow = ("trick.unrolled.lr=0.001",)
    once = [
        *((f"mmd objective/kernel={kernel}", (), ()) for kernel in options("objective/kernel")),
        # The batches are of the shape that the classifier of the digits takes, not that of MNIST.
        *(
            (f"mmd objective/space={space}", (), ())
            for space in options("objective/space")
            if "mnist" not in space  # their classifiers take images of 28 x 28
        ),
        *((f"mmd objective.{setting}", (), ()) for setting in ESTIMATES),
        ("non_saturating", ("label_conditioning",), ("trick.label_conditioning.generator=norm",)),
        ("non_saturating", ("label_conditioning",), ("trick.label_conditioning.discriminator=embedding",)),
        ("non_saturating", ("noise_layers", "virtual_batch_norm"), ("trick.noise_layers.player=both",)),
        # A slope is the same on either side of a point but at the kinks of ReLU: some must lie in between.
        ("non_saturating", ("dragan",), ("trick.dragan.size=20",)),
        ("non_saturating", ("adaptive_augment",), AUGMENTED),
    ]
    return [
        *((*case, first, ()) for case in objectives_with_tricks_in(first)),
        *(
            (*case, play, without_batch_norm(*case, play))
            for play in others
            for case in objectives_with_tricks_in(play)
        ),
        ("non_saturating", tuple(together), first, slow),
        *((objective, of_case, "shared", overrides) for objective, of_case, overrides in once),
    ]


@cache
def objectives_with_tricks() -> list[tuple[str, tuple[str, ...]]]:
    """Every objective, and every trick once: beside an objective with few that takes it, or at home."""
    hands: dict[str, tuple[str, ...]] = {objective: () for objective in options("objective")}
    alone = []
    for trick in options("trick"):
        for objective in sorted(hands, key=lambda objective: len(hands[objective])):
            if are_compatible(objective, (*hands[objective], trick)):
                hands[objective] += (trick,)
                break
        else:
            alone.append((compatible_objective(trick), (trick,)))
    return [*hands.items(), *alone]


def objectives_with_tricks_in(play: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The same, but for hands that do not go together in a play: there everything is alone."""
    for objective, tricks in objectives_with_tricks():
        if are_compatible(objective, tricks, play):
            yield objective, tricks
        else:
            yield objective, ()
            yield from ((compatible_objective(trick), (trick,)) for trick in tricks)


def without_batch_norm(objective: str, tricks: tuple[str, ...], play: str) -> tuple[str, ...]:
    """No batch norm, which sends most of the messages, but for tricks that are about it."""
    without = ("model.generator.batch_norm=false",)
    return without if are_compatible(objective, tricks, play, without) else ()


def are_compatible(
    objective: str, tricks: tuple[str, ...], play: str = "alternating", overrides: tuple[str, ...] = ()
) -> bool:
    """Whether all of them play at once, and with two processes."""
    try:
        return build_in_float64(objective, tricks, play, overrides) is not None
    except ConfigError:
        return False


@cache  # what was made before a fork is played by each process in memory of its own
def build_in_float64(objective: str, tricks: tuple[str, ...], play: str, overrides: tuple[str, ...] = ()):
    """The game in float64, where rounding does not hide a mistake; None where tricks refuse it."""
    try:
        settings = ("trainer=ddp", "trainer.sync_batchnorm=true", *EPS, *overrides)
        settings += ("trick.unrolled.steps=2",) if "unrolled" in tricks else ()  # each sends as many messages
        return game(objective, tricks, play, *settings).double()
    except ConfigError as refusal:
        if "a single process" in refusal.reason or "needs as well" in refusal.reason:
            return None
        raise


def final_state(case, rank: int, world_size: int) -> dict[str, torch.Tensor] | None:
    module = build_in_float64(*case)
    if module is None:
        return None
    module.stage.rank, module.stage.world_size = rank, world_size
    share = 16 // world_size
    for step in range(ROUNDS):
        rows = slice(rank * share, (rank + 1) * share)
        module.train()
        (x, labels), (y, classes) = batch(step), labelled_batch(step)
        given = x.double()[rows], labels[rows], y.double()[rows], classes[rows]
        module.play_step(given)
    state = {name: value for name, value in module.game.state_dict().items() if hasattr(value, "dtype")}
    return {**state, "samples": module.game.sample_on_all_ranks(7)}


def play_every_case(rank: int, port: int, folder: Path) -> None:
    """Plays every case as one of two processes."""
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save([final_state(case, rank, 2) for case in two_process_cases()], folder / f"{rank}.pt")
    dist.destroy_process_group()
