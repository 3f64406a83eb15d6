"""Gradient regularisers R1, R2, WGAN-GP, DRAGAN and 0-GP against their closed forms."""

import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_step, play_steps, real_batch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.randomness import RandomStreams
from ganlab.core.schedules import Linear
from ganlab.core.turn import Turn
from ganlab.game import Game
from ganlab.tricks.base import GradientRegulariser, Trick
from ganlab.tricks.composition import Tricks
from ganlab.tricks.dragan import DRAGAN
from ganlab.tricks.gradient_penalty import GradientPenalty
from ganlab.tricks.instance_noise import InstanceNoise
from ganlab.tricks.r1 import R1
from ganlab.tricks.r2 import R2
from ganlab.tricks.zero_centred_penalty import ZeroCentredPenalty

NAMES = ["r1", "r2", "gradient_penalty", "dragan", "zero_centred_penalty"]
A = torch.tensor([[[0.3, -1.2, 0.5], [2.0, 0.1, -0.4]]])  # [1, 2, 3]
LENGTH = float(A.norm())


class Polynomial(nn.Module):
    """x [B, 1, 2, 3] -> sum of a x^power over packs of m samples, [B / m]; slope power a x^(power - 1)."""

    def __init__(self, power: int, m: int = 1):
        super().__init__()
        self.power, self.m = power, m
        self.seen: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        self.seen.append((x, condition))
        logits = (A * x**self.power).flatten(1).sum(1).view(-1, self.m).sum(1)
        return Verdict(logits, x.flatten(1))


def samples(n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 2, 3, generator=generator), torch.randn(n, 1, 2, 3, generator=generator) - 1


def turn(
    judge: nn.Module, player: str = "discriminator", step: int = 0, tricks: dict[str, Trick] | None = None
):
    x, fake = samples()
    classes = torch.arange(len(x))
    view = Turn(
        player,
        step,
        Batch(Sample(x, classes)),
        {"discriminator": judge},
        Tricks(tricks or {}),
        RandomStreams(0),
        differentiates_inputs=True,
    )
    return view.replace(generated=Sample(fake, classes))


def term(trick: GradientRegulariser, view: Turn) -> Tensor:
    return trick.losses(view, lambda _: {})[trick.name]


def share(name: str, n: int = 4) -> Tensor:
    return RandomStreams(0).uniform(name, n, 1, 1, 1)


def points(trick: GradientRegulariser) -> Tensor:
    """The points at which each regulariser takes the gradient, computed manually."""
    x, fake = samples()
    if isinstance(trick, DRAGAN):
        draw = RandomStreams(0)
        noise, along = draw.uniform("dragan", *x.shape), draw.uniform("dragan", 4, 1, 1, 1)
        return x + along * 0.5 * x.std(correction=0) * noise
    if isinstance(trick, R1 | R2):
        return x if isinstance(trick, R1) else fake
    return torch.stack([a * b + (1 - a) * c for a, b, c in zip(share(trick.name), x, fake, strict=True)])


CASES = {  # a trick -> its penalty as a function of the gradient norm
    R1(3.0, 1): lambda length: 1.5 * length**2,
    R2(3.0, 1): lambda length: 1.5 * length**2,
    GradientPenalty(10.0, 1.0, "two", 1): lambda length: 10 * (length - 1) ** 2,
    GradientPenalty(10.0, 4.0, "two", 1): lambda length: 10 * (length - 4) ** 2,
    GradientPenalty(10.0, 4.0, "one", 1): lambda length: 10 * max(length - 4, 0.0) ** 2,
    DRAGAN(10.0, 1.0, 0.5, 1): lambda length: 10 * (length - 1) ** 2,
    ZeroCentredPenalty(7.0, 1): lambda length: 7 * length**2,
}
cases = pytest.mark.parametrize(("trick", "of"), CASES.items(), ids=lambda x: getattr(x, "name", ""))


@cases
def test_the_penalty_of_a_linear_discriminator(trick: GradientRegulariser, of) -> None:
    """The gradient norm is that of the weights at every sample."""
    assert term(trick, turn(Polynomial(1))).tolist() == pytest.approx([of(LENGTH)] * 4, rel=1e-5)


@cases
def test_the_penalty_of_a_quadratic_discriminator(trick: GradientRegulariser, of) -> None:
    """The gradient norm of each sample is over all of its elements."""
    lengths = [float((2 * A * x).square().sum().sqrt()) for x in points(trick)]
    assert max(lengths) > 1.5 * min(lengths)
    found = term(trick, turn(Polynomial(2)))
    assert found.tolist() == pytest.approx([of(length) for length in lengths], rel=1e-4)


@cases
def test_the_penalty_of_packs(trick: GradientRegulariser, of) -> None:
    """A pack of two is one sample with twice the elements."""
    assert term(trick, turn(Polynomial(1, m=2))).tolist() == pytest.approx(
        [of(2**0.5 * LENGTH)] * 2, rel=1e-5
    )


@pytest.mark.parametrize("trick", [GradientPenalty(1.0, 1.0, "two", 1), ZeroCentredPenalty(1.0, 1)])
def test_interpolation_has_one_share_per_pack(trick: GradientRegulariser) -> None:
    judge = Polynomial(1, m=2)
    term(trick, turn(judge))
    x, fake = samples()
    along = share(trick.name, 2)[[0, 0, 1, 1]]
    assert torch.allclose(judge.seen[-1][0], along * x + (1 - along) * fake)


@cases
def test_points_have_the_condition_of_a_sample_and_are_inputs_of_other_tricks(trick, of) -> None:
    judge = Polynomial(2)
    view = turn(judge, tricks={"instance_noise": InstanceNoise(0.3)})
    found = term(trick, view)
    x, condition = judge.seen[-1]
    assert condition.tolist() == [0, 1, 2, 3]
    assert not torch.allclose(x, points(trick))
    lengths = (2 * A * x).detach().flatten(1).norm(dim=1).tolist()
    assert found.tolist() == pytest.approx([of(length) for length in lengths], rel=1e-4)


@cases
def test_the_generator_has_no_penalty(trick: GradientRegulariser, of) -> None:
    assert trick.losses(turn(Polynomial(2), "generator"), lambda _: {}) == {}


def test_a_number_may_be_a_schedule() -> None:
    trick = R1(Linear(2, 0, 10), 1)
    first, half = (term(trick, turn(Polynomial(2), step=step)) for step in (0, 5))
    assert torch.allclose(first, 2 * half)


def test_a_flat_discriminator_has_a_finite_gradient() -> None:
    weight = torch.zeros(6, requires_grad=True)
    view = turn(lambda x, _: Verdict(x.flatten(1) @ weight, x))
    (slope,) = torch.autograd.grad(term(GradientPenalty(10.0, 1.0, "two", 1), view).sum(), weight)
    assert slope.tolist() == [0] * 6


@pytest.mark.parametrize("name", NAMES)
def test_the_terms_come_after_those_of_the_objective(name: str) -> None:
    terms = game("hinge", [name]).game
    assert list(terms.losses(terms.turn("discriminator", real_batch(), RandomStreams(0)))) == [
        "adversarial",
        name,
    ]


class EveryThird(Trick):
    """The discriminator moves in every third step only."""

    def may_move(self, player: str, step: int) -> bool:
        return player == "generator" or step % 3 == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_lazy_penalty_is_tripled_at_every_third_update(name: str) -> None:
    lazy, eager = (game("hinge", [name], "alternating", f"trick.{name}.every={every}") for every in (3, 1))
    term = f"discriminator/{name}"
    assert play_step(lazy)[term] == pytest.approx(3 * play_step(eager)[term])
    assert [term in row for row in play_steps(lazy, 6)] == [False, False, True, False, False, True]
    lazy.game.tricks["every_third"] = EveryThird()  # the updates 7 to 12, of which 9 and 12 have the penalty
    assert [lazy.game.run_step - 1 for _ in range(18) if term in play_step(lazy)] == [15, 24]


def test_the_number_of_updates_is_restored() -> None:
    module, twin = (game("hinge", ["r1"], "alternating", "trick.r1.every=3") for _ in range(2))
    play_steps(module, 2)
    twin.game.load_state_dict(module.game.state_dict())
    assert ["discriminator/r1" in row for row in play_steps(twin, 2)] == [False, True]


@pytest.mark.parametrize("name", ["r2", "gradient_penalty", "zero_centred_penalty"])
@pytest.mark.parametrize("play", ["simultaneous", "shared"])
def test_no_gradient_goes_to_the_generator(name: str, play: str) -> None:
    with_penalty, without = game("hinge", [name], play), game("hinge", [], play)
    with_penalty.game.may_move = without.game.may_move = lambda player: True
    if play == "shared":  # here the generator faces the updated discriminator, so it is not updated
        for module in (with_penalty, without):
            module.phase.player_optimizers["discriminator"].update = lambda *_: None
    play_step(with_penalty)
    play_step(without)
    for mine, theirs in zip(
        with_penalty.game.weights("generator"), without.game.weights("generator"), strict=True
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_converted_to_float32(name: str) -> None:
    module = game("hinge", [name]).game
    terms = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            terms.append(module.losses(module.turn("discriminator", real_batch(), RandomStreams(0)))[name])
    assert terms[1].dtype == torch.float32
    assert float(terms[1].detach()) == pytest.approx(float(terms[0].detach()), rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_fakes_of_a_replay_buffer_are_penalised_in_every_play(name: str) -> None:
    for play in ("alternating", "shared", "simultaneous"):
        module = game("hinge", [name, "replay_buffer"], play, "trick.replay_buffer.size=16")
        assert all(f"discriminator/{name}" in row for row in play_steps(module, 3))


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: R1(-1, 1), (".gamma", -1, "of at least 0")),
        (lambda: R2(0, 1), (".gamma", 0, "no effect")),
        (lambda: DRAGAN(1.0, 1.0, 0.0, 1), (".size", 0, "no effect")),
        (lambda: GradientPenalty(1.0, -1.0, "two", 1), (".target", -1, "of at least 0")),
    ],
)
def test_bad_values_are_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()


def adversarial(of: Game) -> float:
    return float(of.losses(of.turn("generator", real_batch(), RandomStreams(0)))["adversarial"].detach())


def test_an_unrolled_discriminator_has_the_penalty_in_each_step() -> None:
    """Independently of the number of updates, and not lazily."""
    ahead = []
    for every, moves in ((1, 0), (4, 0), (4, 1)):
        settings = (f"trick.r1.every={every}", "trick.r1.gamma=20", "trick.unrolled.lr=0.1")
        module = game("non_saturating", ["r1", "unrolled"], "alternating", *settings).game
        module.tricks["r1"].num_updates = moves
        ahead.append(adversarial(module))
    assert ahead[0] == ahead[1] == ahead[2]
    free = game("non_saturating", ["unrolled"], "alternating", "trick.unrolled.lr=0.1").game
    assert adversarial(free) != ahead[0]
