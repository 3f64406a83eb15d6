"""What is measured of the games of a run: on some real samples, on as many held-out ones and on fakes.

A measurement changes nothing of the games: it draws from its own random streams, in evaluation mode.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any

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
from ganlab.monitoring import measures
from ganlab.networks.base import evaluating, uncompiled

NUM_SAMPLES, NUM_REFERENCE = 128, 512  # those that are judged, and those that distances are taken to
MIN_PER_CLASS = 5  # samples of a class that a measurement expects, or it does not count the class
FIT_NOISE = 0.02  # energy distances below this differ by chance
MIN_SIDE = 16  # smaller images have their own content at periods of two pixels
MEMORY = 0.75  # the weight of the earlier measurements in the shares of classes
JUDGED = {Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.APART}
Numbers = dict[str, Tensor]
Convert = Callable[[Batch], Any]


class Probe:
    """Measures all games that are played as one.

    Args:
        playable: the game, or several.
        data: the data of the first of them.
        seed: the seed of the run.
        convert: what brings a batch into the precision of the run.
    """

    def __init__(self, playable: Playable, data: Data, seed: int, device: torch.device, convert: Convert):
        self.playable, self.data, self.seed, self.device = playable, data, seed, device
        self.shares: dict[str, list[float]] = {}  # of each class among recent samples, by part; saved
        n = data.batch_size * max(NUM_SAMPLES // data.batch_size, 1)
        splits: tuple[Split, ...] = ("validation", "test")
        kept = [convert(self._batch(name, n)) for name in splits if name in data.sources][:1]
        self.batches = [convert(self._batch("train", n)), *kept]
        reference = convert(self._batch("train", max(n, min(NUM_REFERENCE, len(data)))))
        with torch.no_grad():
            turns = [self._turns(batch, 0) for batch in (reference, *kept)]
            self.baselines = {part: self._baseline(*(one[part] for one in turns)) for part in playable.parts}

    def _batch(self, split: Split, n: int) -> Batch:
        """The first n samples of a split in a fixed random order, again and again if there are fewer."""
        parts = [*self.data.subset(split, n, self.device, 250)]
        x, conditions = torch.cat([x for x, _ in parts]), [told for _, told in parts if told is not None]
        if (domain := self.data.condition_domain) is not None:
            conditions = [other for other, _ in domain.subset(split, n, self.device, 250)]
        told, rows = torch.cat(conditions) if conditions else None, torch.arange(n, device=x.device)
        return Batch(Sample(x[rows % len(x)], None if told is None else told[rows % len(told)]))

    def _turns(self, batch: Batch, step: int) -> dict[str, Turn]:
        random = RandomStreams(self.seed, "health", step, device=self.device)
        turns = self.playable.turn("discriminator", batch, random, step)
        by_part = turns if isinstance(turns, Turns) else {"": turns}
        for turn in by_part.values():
            # Hooks may log, which is of no step, and count turns, of which this is none.
            turn.scalars, turn.is_unrolled = {}, True
        return by_part

    def _baseline(self, turn: Turn, held_out: Turn | None = None) -> Any:
        """What the data give for one game, from turns with reference samples and with held-out ones.

        Attributes of the result:
            rows, labels: training samples [R, D] and their classes [R]; None: they have none.
            distance: the mean distance of two of them.
            held_out: the distances [n] of held-out samples to the nearest of them; None: there are none.
            shares: the share of each class [K], among held-out samples if there are any.
            board: `measures.checkerboard` of the images; None: samples are no images, or small ones.
        """
        x, told, _ = turn.batch.real
        base = SimpleNamespace(rows=x.flatten(1), labels=None, held_out=None, board=None)
        base.distance = measures.mean_distance(base.rows)
        if held_out is not None:
            base.held_out = torch.cdist(held_out.batch.real.x.flatten(1), base.rows).amin(1)
        if told is not None and told.ndim == 1 and not told.is_floating_point():
            counted: Any = told if held_out is None else held_out.batch.real.condition
            base.labels, counts = told, torch.bincount(counted, minlength=int(told.max()) + 1)
            base.shares = counts / len(counted)
        if self.data.value_range is not None and x.ndim == 4 and min(x.shape[2:]) >= MIN_SIDE:
            base.board = measures.checkerboard(x)
        return base

    @torch.no_grad()
    def measure(self, step: int) -> dict[str, Numbers]:
        """The numbers of each part of the game after a step, by name."""
        games, found = self.playable.parts, dict[str, Numbers]()
        with ExitStack() as undo, uncompiled():
            devices, kind = [] if self.device.type == "cpu" else [self.device], self.device.type
            undo.enter_context(torch.random.fork_rng(devices, device_type=kind))
            for network in (network for game in games.values() for network in game.networks.values()):
                if isinstance(network, nn.Module):
                    undo.enter_context(evaluating(network))
            turns = [self._turns(batch, step) for batch in self.batches]
            for part, game in games.items():
                numbers, of_part = found.setdefault(part, {}), [one[part] for one in turns]
                provided = game.objective.provides | game.networks.capabilities()
                if provided >= JUDGED:
                    numbers |= verdict_numbers(*of_part, has_boundary=Capability.BOUNDARY_AT_ZERO in provided)
                if Capability.TRAINED_GENERATOR in provided:
                    numbers |= self._sample_numbers(part, game, of_part[0])
        return found

    def _sample_numbers(self, part: str, game: Game, turn: Turn) -> Numbers:
        base, samples = self.baselines[part], presented(game, turn.generated.x, turn)
        distances, within, fit = self._fit(samples, base)
        nearest, limits = distances.min(1), self.data.of_part(part or None).value_range
        numbers = {"distance": within / base.distance, "fit": fit}
        if game.generator.latent_dim:
            numbers["latents"] = at_least_float32(turn.latent).std(0).mean()
        if base.held_out is not None:
            numbers["copies"] = measures.ranking(base.held_out, nearest.values)
        if limits is not None and samples.shape[1:] == tuple(self.data.shape):
            numbers["saturated"] = measures.saturation(samples, *limits)
            if samples.ndim == 4:  # the columns of tables are scaled to their own range
                numbers["range"] = (base.rows.max() - base.rows.min()) / (limits[1] - limits[0])
        if base.board is not None:
            numbers["checkerboard"] = measures.checkerboard(samples) - base.board
        if base.labels is not None:
            numbers |= self._class_numbers(part, base.labels[nearest.indices], base.shares)
        if turn.asked is not None and game.generator.condition is not None:
            numbers |= condition_numbers(game, turn, samples, base.distance)
        with batch_statistics(game.generator) as has_norms:
            if has_norms:
                trained = presented(game, game.generator(turn.latent, turn.asked), turn)
                numbers["batch_norm"] = mean_norm(trained - samples) / base.distance
        if (average := game.presented("generator")) is not game.generator:
            with evaluating(average):
                averaged = presented(game, average(turn.latent, turn.asked), turn)
            numbers["average"] = (self._fit(averaged, base)[2].abs() + FIT_NOISE) / (fit.abs() + FIT_NOISE)
        return numbers

    def _fit(self, samples: Tensor, base: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The distances [n, R] to the reference, the mean distance of samples, and the energy distance."""
        distances = torch.cdist(samples.flatten(1), base.rows)
        within = measures.mean_distance(samples.flatten(1))
        return distances, within, measures.energy_distance(distances.mean(), within, base.distance)

    def _class_numbers(self, part: str, nearest: Tensor, shares: Tensor) -> Numbers:
        """The share of the rarest class among recent samples, in units of its share of real samples.

        Args:
            nearest: the class of the training sample that is nearest to each sample, [n].
            shares: the share of each class among real samples, [K].
        """
        new, counted = torch.bincount(nearest, minlength=len(shares)) / len(nearest), shares * len(nearest)
        mixed = MEMORY * new.new_tensor(self.shares.get(part, new.tolist())) + (1 - MEMORY) * new
        self.shares[part] = mixed.tolist()
        ratios = (mixed / shares)[counted >= MIN_PER_CLASS]
        return {"rarest_class": ratios.min()} if len(ratios) else {}


def presented(game: Game, x: Tensor, turn: Turn) -> Tensor:
    """The generator's outputs as samples, [n, *shape] of at least float32."""
    return at_least_float32(game.objective.presented(x, turn.asked))


def mean_norm(x: Tensor) -> Tensor:
    """The mean Euclidean norm of samples, [n, ...] -> a scalar."""
    return x.flatten(1).norm(dim=1).mean()


def verdict_numbers(turn: Turn, held_out: Turn | None = None, *, has_boundary: bool) -> Numbers:
    """How well the discriminator tells real samples from fakes, and those of training from held-out ones."""
    found = {"real": logits(turn, turn.real), "fake": logits(turn, turn.shown)}
    found |= {"held_out": logits(held_out, held_out.real)} if held_out is not None else {}
    numbers = {"ranking": measures.ranking(found["real"], found["fake"])}
    if held_out is not None:
        numbers["overfit"] = measures.ranking(found["real"], found["held_out"])
    for name, values in found.items() if has_boundary else ():
        numbers[f"accuracy_{name}"] = ((values < 0) if name == "fake" else (values > 0)).float().mean()
    return numbers | ({"signs": found["real"].sign().mean()} if has_boundary else {})


def logits(turn: Turn, sample: Sample) -> Tensor:
    """The logits of samples or packs, [N], those of patches averaged."""
    return at_least_float32(turn.judge(sample).logits).unflatten(0, (-1, 1)).flatten(1).mean(1)


def condition_numbers(game: Game, turn: Turn, samples: Tensor, scale: Tensor) -> Numbers:
    """How far samples move with their latents, and with what the generator is told, in units of `scale`."""
    assert turn.asked is not None
    changed = {"condition": turn.replace(asked=turn.asked.roll(1, 0))}
    changed |= {"noise": turn.with_new_latents()} if game.generator.latent_dim else {}
    found = {name: presented(game, other.generated.x, turn) for name, other in changed.items()}
    told = turn.asked.flatten(1) if turn.asked.ndim > 1 else turn.asked[:, None]
    rows: dict[str, Any] = {"condition": (told != told.roll(1, 0)).any(1), "noise": ...}  # those that changed
    return {name: mean_norm((other - samples)[rows[name]]) / scale for name, other in found.items()}


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[bool]:
    """Sets batch norms to training mode, if there are any, and then restores them and their statistics."""
    norms = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    saved = [(buffer, buffer.clone()) for layer in norms for buffer in layer.buffers()]
    for layer in norms:
        layer.train()
    yield bool(norms)
    for layer in norms:
        layer.eval()
    for buffer, old in saved:
        buffer.copy_(old)
