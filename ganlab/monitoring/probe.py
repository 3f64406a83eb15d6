"""What is measured of the games of a run: on some real samples, on as many held-out ones and on fakes.

A measurement changes nothing of the games: it draws from its own random streams, in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.core.batch import Batch, Sample, at_least_float32
from ganlab.core.capability import Capability
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.data.base import Data, Split
from ganlab.game import Game
from ganlab.games import Playable, Turns
from ganlab.monitoring.measures import (
    checkerboard,
    class_shares,
    energy_distance,
    mean_distance,
    ranking,
    saturation,
)
from ganlab.networks.base import evaluating, uncompiled

NUM_SAMPLES, NUM_REFERENCE = 128, 512  # those that are judged, and those that distances are taken to
MIN_PER_CLASS = 5  # samples of a class that a measurement expects, or it does not count classes
FIT_NOISE = 0.02  # energy distances below this differ by chance
MIN_SIDE = 16  # smaller images have their own content at periods of two pixels
MEMORY = 0.75  # the weight of the earlier measurements in the shares of classes
Numbers = dict[str, Tensor]


@dataclass
class Baseline:
    """What the data give, [R, D] rows of training samples and numbers of real samples."""

    rows: Tensor
    labels: Tensor | None  # [R] int64
    distance: Tensor  # the mean distance of two real samples
    held_out: Tensor | None  # the distances [n] of held-out samples to the nearest rows
    shares: Tensor | None  # the share of each class, among held-out samples if there are any
    board: Tensor | None  # `checkerboard` of real images


class Probe:
    """Measures all games that are played as one.

    Args:
        playable: the game, or several.
        data: the data of the first of them.
        seed: the seed of the run.
        convert: what brings a batch into the precision of the run.
    """

    def __init__(
        self, playable: Playable, data: Data, seed: int, device: torch.device,
        convert: Callable[[Batch], Batch] = lambda batch: batch,
    ):  # fmt: skip
        self.playable, self.data, self.seed, self.device = playable, data, seed, device
        size = data.batch_size
        n = size * max(NUM_SAMPLES // size, 1)
        splits: tuple[Split, ...] = ("validation", "test")
        held_out = next((name for name in splits if name in data.sources), None)
        self.train = convert(self._batch("train", n))
        self.held_out = convert(self._batch(held_out, n)) if held_out else None
        reference = convert(self._batch("train", max(n, min(NUM_REFERENCE, len(data)))))
        held_out_turns = self._turns(self.held_out, 0) if self.held_out else {}
        with torch.no_grad():
            self.baselines = {
                part: baseline(turn, held_out_turns.get(part), of_images=data.value_range is not None)
                for part, turn in self._turns(reference, 0).items()
            }
        self.shares: dict[str, list[float]] = {}  # of each class among recent samples, by part; saved

    def _batch(self, split: Split, n: int) -> Batch:
        """The first n samples of a split in a fixed random order, again and again if there are fewer."""
        parts = [*self.data.subset(split, n, self.device, 250)]
        x, conditions = torch.cat([x for x, _ in parts]), [told for _, told in parts if told is not None]
        if (domain := self.data.condition_domain) is not None:
            conditions = [other for other, _ in domain.subset(split, n, self.device, 250)]
        told = torch.cat(conditions) if conditions else None
        rows = torch.arange(n, device=x.device)
        return Batch(Sample(x[rows % len(x)], None if told is None else told[rows % len(told)]))

    def _turns(self, batch: Batch, step: int) -> Mapping[str, Turn]:
        random = RandomStreams(self.seed, "health", step, device=self.device)
        turns = self.playable.turn("discriminator", batch, random, step)
        by_part = turns if isinstance(turns, Turns) else {"": turns}
        for turn in by_part.values():
            turn.scalars = {}  # hooks may log, which is of no step
        return by_part

    @torch.no_grad()
    def measure(self, step: int) -> dict[str, Numbers]:
        """The numbers of each part of the game after a step, by name."""
        devices = [self.device] if self.device.type == "cuda" else []
        with ExitStack() as undo:
            undo.enter_context(torch.random.fork_rng(devices))
            undo.enter_context(uncompiled())
            for game in self.playable.parts.values():
                for network in filter(lambda one: isinstance(one, nn.Module), game.networks.values()):
                    undo.enter_context(evaluating(network))
            train = self._turns(self.train, step)
            held_out = self._turns(self.held_out, step) if self.held_out else {}
            return {part: self._numbers(part, train[part], held_out.get(part)) for part in train}

    def _numbers(self, part: str, turn: Turn, held_out: Turn | None) -> Numbers:
        game, numbers = self.playable.parts[part], Numbers()
        provided = game.objective.provides | game.networks.capabilities()
        if {Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.APART} <= provided:
            numbers |= verdict_numbers(turn, held_out, Capability.BOUNDARY_AT_ZERO in provided)
        if Capability.TRAINED_GENERATOR in provided:
            numbers |= self._sample_numbers(part, game, turn)
        return numbers

    def _sample_numbers(self, part: str, game: Game, turn: Turn) -> Numbers:
        base, samples = self.baselines[part], presented(game, turn.generated.x, turn)
        rows = samples.flatten(1)
        cross, within = torch.cdist(rows, base.rows), mean_distance(torch.cdist(rows, rows))
        fit = energy_distance(cross.mean(), within, base.distance)
        numbers = {"distance": within / base.distance, "fit": fit}
        nearest = cross.min(1)
        if base.held_out is not None:
            numbers["copies"] = ranking(base.held_out, nearest.values)
        if game.generator.latent_dim:
            numbers["latents"] = at_least_float32(turn.latent).std(0).mean()
        limits = self.data.of_part(part or None).value_range
        if limits is not None and samples.shape[1:] == tuple(self.data.shape):
            numbers["saturated"] = saturation(samples, *limits)
            numbers["range"] = (base.rows.max() - base.rows.min()) / (limits[1] - limits[0])
        if base.board is not None:
            numbers["checkerboard"] = checkerboard(samples) - base.board
        if base.labels is not None and base.shares is not None:
            numbers |= self._class_numbers(part, base.labels[nearest.indices], base.shares)
        if turn.asked is not None and game.generator.condition is not None:
            numbers |= condition_numbers(game, turn, rows, base.distance)
        with batch_statistics(game.generator) as norms:
            if norms:
                trained = presented(game, game.generator(turn.latent, turn.asked), turn)
                numbers["batch_norm"] = (trained - samples).flatten(1).norm(dim=1).mean() / base.distance
        if (average := game.presented("generator")) is not game.generator:
            with evaluating(average):
                averaged = presented(game, average(turn.latent, turn.asked), turn).flatten(1)
            spread = mean_distance(torch.cdist(averaged, averaged))
            its_fit = energy_distance(torch.cdist(averaged, base.rows).mean(), spread, base.distance)
            numbers["average"] = (its_fit.abs() + FIT_NOISE) / (fit.abs() + FIT_NOISE)
        return numbers

    def _class_numbers(self, part: str, nearest: Tensor, shares: Tensor) -> Numbers:
        """The share of the rarest class among recent samples, in units of its share of real samples.

        Args:
            nearest: the class of the training sample that is nearest to each sample, [n].
            shares: the share of each class among real samples, [K].
        """
        counted = shares * len(nearest) >= MIN_PER_CLASS
        if not counted.any():
            return {}
        new = class_shares(nearest, len(shares))
        old = torch.tensor(self.shares.get(part, new.tolist()), device=new.device)
        mixed = MEMORY * old + (1 - MEMORY) * new
        self.shares[part] = mixed.tolist()
        return {"rarest_class": (mixed / shares)[counted].min()}


def baseline(turn: Turn, held_out: Turn | None, of_images: bool) -> Baseline:
    """The baseline of one game, from turns with reference samples and with held-out ones."""
    x, told = turn.batch.real.x, turn.batch.real.condition
    rows = x.flatten(1)
    labels = told if told is not None and told.ndim == 1 and not told.is_floating_point() else None
    nearest, shares = None, None
    if held_out is not None:
        nearest = torch.cdist(held_out.batch.real.x.flatten(1), rows).amin(1)
    if labels is not None:
        counted = labels if held_out is None else held_out.batch.real.condition
        assert counted is not None
        shares = class_shares(counted, int(max(labels.max(), counted.max())) + 1)
    board = checkerboard(x) if x.ndim == 4 and of_images and min(x.shape[2:]) >= MIN_SIDE else None
    return Baseline(rows, labels, mean_distance(torch.cdist(rows, rows)), nearest, shares, board)


def presented(game: Game, x: Tensor, turn: Turn) -> Tensor:
    """The generator's outputs as samples, [n, *shape] of at least float32."""
    return at_least_float32(game.objective.presented(x, turn.asked))


def verdict_numbers(turn: Turn, held_out: Turn | None, has_boundary: bool) -> Numbers:
    """How well the discriminator tells real samples from fakes, and those of training from held-out ones."""
    real, fake = logits(turn, turn.real), logits(turn, turn.shown)
    numbers = {"ranking": ranking(real, fake)}
    if has_boundary:
        numbers |= {"accuracy_real": (real > 0).float().mean(), "accuracy_fake": (fake < 0).float().mean()}
        numbers["signs"] = real.sign().mean()
    if held_out is not None:
        kept = logits(held_out, held_out.real)
        numbers["overfit"] = ranking(real, kept)
        if has_boundary:
            numbers["accuracy_held_out"] = (kept > 0).float().mean()
    return numbers


def logits(turn: Turn, sample: Sample) -> Tensor:
    """The logits of samples or packs, [N], those of patches averaged."""
    found = at_least_float32(turn.judge(sample).logits)
    return found.reshape(len(found), -1).mean(1)


def condition_numbers(game: Game, turn: Turn, samples: Tensor, scale: Tensor) -> Numbers:
    """How far samples move with their latents, and with what the generator is told."""
    numbers, asked = Numbers(), turn.asked
    assert asked is not None
    if game.generator.latent_dim:
        other = presented(game, turn.with_new_latents().generated.x, turn).flatten(1)
        numbers["noise"] = (other - samples).norm(dim=1).mean() / scale
    turned = turn.replace(asked=asked.roll(1, 0))
    told = presented(game, turned.generated.x, turned).flatten(1)
    numbers["condition"] = (told - samples).norm(dim=1).mean() / scale
    return numbers


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[list[_BatchNorm]]:
    """Sets the batch norms of a network to training mode, and restores them and their statistics."""
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    saved = [(buffer, buffer.clone()) for layer in norms for buffer in layer.buffers()]
    for layer in norms:
        layer.train()
    try:
        yield norms
    finally:
        for layer in norms:
            layer.eval()
        for buffer, old in saved:
            buffer.copy_(old)
