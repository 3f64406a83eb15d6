"""What is measured of the games of a run: on some real samples, on as many held-out ones and on fakes.

A measurement changes nothing of the games: it draws from its own random streams, in evaluation mode.
"""

from collections.abc import Callable
from contextlib import ExitStack
from math import prod
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ganlab.core.batch import Batch, Sample, at_least_float32
from ganlab.core.capability import Capability
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.data.base import Data
from ganlab.game import Game
from ganlab.games import Turns
from ganlab.monitoring import measures
from ganlab.monitoring.measures import Numbers
from ganlab.networks.base import evaluating, uncompiled

NUM_SAMPLES, NUM_REFERENCE = 128, 512  # those that are judged, and those that distances are taken to
MAX_ELEMENTS = 2**24  # the largest size of each of them in elements, unless a batch of the run is larger
MIN_PER_CLASS = 20  # samples of a class that a measurement expects, or it does not count the class
DRAWS = 4  # of so many times the samples the classes are counted
FIT_NOISE = 0.02  # energy distances below this differ by chance
MIN_SIDE = 16  # smaller images have their own content at periods of two pixels
JUDGED = {Capability.DISCRIMINATOR, Capability.LOSS_ON_LOGITS, Capability.APART}


class Probe:
    """Measures all games that are played as one.

    Args:
        phase: what plays them.
        data: the data of the first of them.
        convert: what brings a batch into the precision of the run.
    """

    def __init__(self, phase: Any, data: Data, device: torch.device, convert: Callable[[Batch], Any]):
        self.playable, self.seed, self.data, self.device = phase.game, phase.seed, data, device
        most = MAX_ELEMENTS // prod(data.shape)
        n = data.batch_size * max(min(NUM_SAMPLES, most) // data.batch_size, 1)
        self.kept: list[Any] = [name for name in ("validation", "test") if name in data.sources][:1]
        self.batches = [convert(self._batch(name, n)) for name in ("train", *self.kept)]
        reference = convert(self._batch("train", max(n, min(NUM_REFERENCE, most, len(data)))))
        with torch.no_grad():
            turns = [self._turns(batch, 0) for batch in (reference, *self.batches[1:])]
            self.bases = {part: self._base(part, *(one[part] for one in turns)) for part in turns[0]}

    def _batch(self, split: Any, n: int) -> Batch:
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

    def _base(self, part: str, turn: Turn, held_out: Turn | None = None) -> Any:
        """What the data give for one game, from turns with reference samples and with held-out ones.

        Attributes of the result:
            rows, labels: training samples [R, D] and their classes [R]; None: they have none.
            distance: the mean distance of two of them.
            held_out: the distances [n] of held-out samples to the nearest of them; None: there are none.
            shares: the share of each class [K], of the held-out split if there is one.
            board: `measures.checkerboard` of the images; None: samples are no images, or small ones.
            limits: the range of the elements; None: they have none, or the game is played on codes.
            saturated, range: the share of elements at its ends, and the part of it that the elements fill.
        """
        x, told, _ = turn.batch.real
        base = SimpleNamespace(rows=x.flatten(1), labels=None, held_out=None, board=None, limits=None)
        base.distance = torch.pdist(base.rows).mean()
        if held_out is not None:
            base.held_out = torch.cdist(held_out.batch.real.x.flatten(1), base.rows).amin(1)
        counts = self.data.class_counts([*self.kept, "train"][0])
        if counts and told is not None and told.ndim == 1:
            base.labels, base.shares = told, torch.tensor(counts, device=x.device) / sum(counts)
        limits = self.data.of_part(part or None).value_range
        if limits is not None and x.shape[1:] == tuple(self.data.shape):
            base.limits, base.saturated = limits, measures.saturation(x, *limits)
            base.range = (x.max() - x.min()) / (limits[1] - limits[0])
        if self.data.value_range is not None and x.ndim == 4 and min(x.shape[2:]) >= MIN_SIDE:
            base.board = measures.checkerboard(x)
        return base

    @torch.no_grad()
    def measure(self, step: int) -> dict[str, Numbers]:
        """The numbers of each part of the game after a step, by name."""
        games, found = self.playable.parts, dict[str, Numbers]()
        devices, kind = [] if self.device.type == "cpu" else [self.device], self.device.type
        with ExitStack() as undo, uncompiled(), torch.random.fork_rng(devices, device_type=kind):
            for network in (network for game in games.values() for network in game.networks.values()):
                if isinstance(network, nn.Module):
                    undo.enter_context(evaluating(network))
            turns = [self._turns(batch, step) for batch in self.batches]
            for part, game in games.items():
                numbers, own = found.setdefault(part, {}), [one[part] for one in turns]
                provided = game.objective.provides | game.networks.capabilities()
                if provided >= JUDGED:
                    numbers |= verdict_numbers(Capability.BOUNDARY_AT_ZERO in provided, *own)
                if Capability.TRAINED_GENERATOR in provided:
                    numbers |= sample_numbers(game, own[0], self.bases[part])
                if Capability.DISCRIMINATOR in provided and Capability.APART not in provided:
                    numbers.pop("noise", None)  # one answer to each condition suffices
        return found


def presented(game: Game, x: Tensor, turn: Turn) -> Tensor:
    """The generator's outputs as samples, [n, *shape] of at least float32."""
    return at_least_float32(game.objective.presented(x, turn.asked))


def sample_numbers(game: Game, turn: Turn, base: Any) -> Numbers:
    """How generated samples compare with the data, see `Probe._base`, and what `generator_numbers` says."""
    samples = presented(game, turn.generated.x, turn)
    distances, within, fit = fits(samples, base)
    nearest, numbers = distances.min(1), {"distance": within / base.distance, "fit": fit}
    if game.generator.latent_dim:
        numbers["latents"] = at_least_float32(turn.latent).std(0).mean()
    if base.held_out is not None:
        numbers["copies"] = measures.ranking(base.held_out, 2 * nearest.values)
    if base.limits is not None:
        numbers["saturated"] = measures.saturation(samples, *base.limits) - base.saturated
        if samples.ndim == 4:  # the columns of tables are scaled to their own range
            numbers["range"] = base.range
    if base.board is not None:
        numbers["checkerboard"] = measures.checkerboard(samples) - base.board
    if base.labels is not None:
        others = (turn.with_new_latents().generated.x for _ in range(DRAWS - 1))
        further = [fits(presented(game, x, turn), base)[0].argmin(1) for x in others]
        found = base.labels[torch.cat([nearest.indices, *further])]
        counts, expected = torch.bincount(found, minlength=len(base.shares)), base.shares * len(found)
        if (is_counted := expected >= MIN_PER_CLASS).any():
            numbers["rarest_class"] = (counts / expected)[is_counted].min()
    return numbers | generator_numbers(game, turn, base, samples, fit)


def generator_numbers(game: Game, turn: Turn, base: Any, samples: Tensor, fit: Tensor) -> Numbers:
    """How far samples move if something of the generator or of its inputs is another."""

    def moved(x: Tensor) -> Tensor:
        return (presented(game, x, turn) - samples).flatten(1).norm(dim=1).mean() / base.distance

    generator, asked, numbers = game.generator, turn.asked, dict[str, Tensor]()
    if asked is not None and generator.condition is not None:
        other = asked.roll(1, 0)
        is_other = (asked != other).reshape(len(asked), -1).any(1).float().mean()
        numbers["condition"] = moved(turn.replace(asked=other).generated.x) / is_other
        if generator.latent_dim:
            numbers["noise"] = moved(turn.with_new_latents().generated.x)
    if norms := [layer for layer in generator.modules() if isinstance(layer, _BatchNorm)]:
        buffers = {name: buffer.clone() for name, buffer in generator.named_buffers()}
        for layer in norms:
            layer.train()
        numbers["batch_norm"] = moved(functional_call(generator, buffers, (turn.latent, asked)))
        for layer in norms:
            layer.eval()
    if (average := game.presented("generator")) is not generator:
        with evaluating(average):
            averaged = presented(game, average(turn.latent, asked), turn)
        numbers["average"] = (fits(averaged, base)[2].abs() + FIT_NOISE) / (fit.abs() + FIT_NOISE)
    return numbers


def fits(samples: Tensor, base: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The distances [n, R] to the reference, the mean distance of samples, and the energy distance.

    That is 2 E|x - y| / (E|x - x'| + E|y - y'|) - 1, which is 0 for equal distributions.
    """
    distances, within = torch.cdist(samples.flatten(1), base.rows), torch.pdist(samples.flatten(1)).mean()
    return distances, within, 2 * distances.mean() / (within + base.distance) - 1


def verdict_numbers(has_boundary: bool, turn: Turn, held_out: Turn | None = None) -> Numbers:
    """How well the discriminator tells real samples from fakes, and those of training from held-out ones.

    Of logits with their boundary at zero also how often they are right, and the mean sign of those of
    training samples (Karras et al. 2020, equation 1). Other logits have a slope.
    """
    real, fake = logits(turn, turn.real), logits(turn, turn.shown)
    numbers, right = {"ranking": measures.ranking(real, fake)}, {"real": real, "fake": -fake}
    if held_out is not None:
        right["held_out"] = logits(held_out, held_out.real)
        numbers["overfit"] = measures.ranking(real, right["held_out"])
    if has_boundary:  # their losses are bounded, and they themselves are not
        accuracies = {f"accuracy_{name}": (x > 0).float().mean() for name, x in right.items()}
        return numbers | accuracies | {"signs": real.sign().mean()}
    # Of a function of Lipschitz constant 1, at most 1.
    distance = torch.cdist(turn.real.x.flatten(1), turn.shown.x.flatten(1)).mean()
    return numbers | {"slope": (real.mean() - fake.mean()).abs() / distance}


def logits(turn: Turn, sample: Sample) -> Tensor:
    """The logits of samples or packs, [N], those of patches averaged."""
    return at_least_float32(turn.judge(sample).logits).unflatten(0, (-1, 1)).flatten(1).mean(1)
