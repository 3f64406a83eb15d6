"""Cached values of a turn: when they are computed, and when they are dropped."""

from __future__ import annotations

import pytest
import torch
from support.small_games import game, real_batch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.networks import priors
from ganlab.tricks.base import Trick
from ganlab.tricks.composition import Tricks


class Doubling(nn.Module):
    """A generator that counts its passes."""

    latent_dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.prior = priors.Normal()
        self.passes = 0

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        self.passes += 1
        return self.weight * latent


class Summing(nn.Module):
    """A discriminator that counts its passes; logits are sums, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.passes = 0

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        self.passes += 1
        return Verdict(self.factor * x.sum(1), x)


class ZeroFakes(Trick):
    """Replaces the fakes by zeros."""

    def fakes(self, fake: Sample, turn: Turn) -> Sample:
        return fake._replace(x=torch.zeros_like(fake.x))


def turn(player: str = "generator", tricks: dict[str, Trick] | None = None, slopes: bool = False) -> Turn:
    batch = Batch(Sample(torch.randn(4, 3), torch.arange(4)))
    return Turn(
        player,
        0,
        batch,
        {"generator": Doubling(), "discriminator": Summing()},
        Tricks(tricks or {}),
        RandomStreams(0),
        differentiates_inputs=slopes,
    )


def test_values_are_computed_at_their_first_use_and_once() -> None:
    t = turn()
    assert t.generator.passes == t.discriminator.passes == 0
    assert t.on_fake is t.on_fake
    assert t.generator.passes == t.discriminator.passes == 1
    assert t.fake is t.generated
    assert torch.equal(t.generated.condition, t.real.condition)


def test_the_generator_has_a_gradient_on_its_own_turn_only() -> None:
    assert turn("generator").generated.x.requires_grad
    assert not turn("discriminator").generated.x.requires_grad


def test_fakes_are_changed_on_the_discriminators_turn_only() -> None:
    assert (turn("discriminator", {"shown": ZeroFakes()}).fake.x == 0).all()
    assert (turn("generator", {"shown": ZeroFakes()}).fake.x != 0).all()


def test_another_player_has_other_fakes_and_verdicts() -> None:
    t = turn("generator", {"shown": ZeroFakes()})
    assert (t.on_fake.logits != 0).all()
    other = t.replace(player="discriminator")
    assert (other.on_fake.logits == 0).all()
    assert other.generated is t.generated
    assert t.on_fake is not other.on_fake
    kept = t.replace(player="discriminator", verdicts=t.verdicts)
    assert kept.on_real is t.on_real


def test_other_samples_make_the_fakes_stale() -> None:
    t = turn()
    old = t.on_fake.logits
    held = t.replace(generated=t.generated.detach())
    assert not held.fake.x.requires_grad
    assert torch.equal(held.on_fake.logits, old)
    latent = torch.ones(4, 3)
    assert torch.equal(t.replace(latent=latent).on_fake.logits, torch.full((4,), 6.0))
    generator = Doubling()
    with torch.no_grad():
        generator.weight.fill_(0)
    assert (t.replace(generator=generator).on_fake.logits == 0).all()


def test_another_discriminator_gives_other_verdicts_and_targets() -> None:
    t = turn()
    before = t.on_real.logits
    t.targets  # noqa: B018, is cached here
    other = t.replace(discriminator=Summing(3.0))
    assert torch.equal(other.on_real.logits, 3 * before)
    assert other.generated is t.generated
    assert t.on_real.logits is before


def test_samples_become_leaves_if_a_trick_differentiates_inputs() -> None:
    t = turn("discriminator", slopes=True)
    for sample, verdict in ((t.real, t.on_real), (t.fake, t.on_fake)):
        (slope,) = torch.autograd.grad(verdict.logits.sum(), sample.x)
        assert torch.equal(slope, torch.ones(4, 3))
    assert not turn("discriminator").real.x.requires_grad


def test_targets_are_ones_and_zeros() -> None:
    targets = turn("discriminator").targets
    assert targets.real.tolist() == [1, 1, 1, 1]
    assert targets.fake.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("play", ["shared", "simultaneous"])
def test_verdicts_are_recomputed_after_an_update_of_the_discriminator(play: str) -> None:
    # A cache that outlived the discriminator's step would give the generator an old verdict.
    module = game("non_saturating", [], play, "optimizer.discriminator.lr=0.1")
    before = {n: w.clone() for n, w in module.game.discriminator.named_parameters()}
    seen = []
    losses = module.game.losses
    module.game.losses = lambda t, *moving: seen.append(t) or losses(t)  # type: ignore[method-assign]
    from support.small_games import play_step

    play_step(module)
    last = seen[-1]
    assert last.player == "generator"
    now = torch.func.functional_call(module.game.discriminator, before, (last.generated.x.detach(),)).logits
    said = next(v.logits for s, v in last.verdicts if s is last.fake)
    assert torch.allclose(now, said) is (play == "simultaneous")


CACHED = {"latent", "generated", "fake", "verdicts", "targets"}
KEPT = {  # the cached values that stay when a value is replaced
    "player": {"latent", "generated"},
    "real": {"latent", "generated", "fake", "verdicts"},
    "latent": {"latent", "verdicts"},
    "generator": {"verdicts"},
    "generated": {"latent", "generated", "verdicts"},
    "fake": {"latent", "generated", "fake", "verdicts"},
    "discriminator": {"latent", "generated", "fake"},
    "verdicts": {"latent", "generated", "fake", "verdicts"},
}


@pytest.mark.parametrize("name", KEPT)
def test_a_replacement_drops_exactly_the_stale_values(name: str) -> None:
    t = turn()
    t.targets  # noqa: B018, caches all values
    assert t.__dict__.keys() >= CACHED
    value = getattr(t, name)
    assert t.replace(**{name: value}).__dict__.keys() & CACHED == KEPT[name]


def test_shared_fakes_have_no_gradient_on_the_discriminators_turn() -> None:
    t = turn()
    seen = t.detached()
    assert seen.player == "discriminator"
    assert torch.equal(seen.fake.x, t.generated.x)
    assert not seen.fake.x.requires_grad


def test_a_labelled_batch_is_passed_to_the_turn() -> None:
    labelled = Sample(torch.zeros(2, 1, 8, 8))
    seen = game().game.turn("generator", Batch(real_batch().real, labelled), RandomStreams(0))
    assert seen.batch.labelled.x is labelled.x
