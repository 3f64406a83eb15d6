import pytest
import torch
from support.refusals import refuses
from support.small_games import batch, game, play_step, play_steps, real_batch
from torch import Tensor, nn

from ganlab.augmentations.colour import Colour
from ganlab.augmentations.geometry import Geometry
from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.errors import UNSET
from ganlab.core.players import Networks
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.tricks.adaptive_augment import AdaptiveAugment
from ganlab.tricks.composition import Tricks
from ganlab.tricks.r1 import R1

NAME = "adaptive_augment"
PLAYS = ["alternating", "shared", "simultaneous"]
FLIP = Geometry(True, False, 0, 0, 0, 0, 0)
HUE = Colour(0, 0, False, 1.0, 0)


class Shaped:
    """A stand-in for a generator with a shape."""

    def __init__(self, *shape: int):
        self.shape = shape


class First(nn.Module):
    """A discriminator whose logit is the first element of a sample."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        return Verdict(x.flatten(1)[:, 0], x.flatten(1))


def build_trick(*shape: int, geometry=FLIP, colour=None, value_range=(-1, 1), **settings) -> AdaptiveAugment:
    settings = {"target": 0.6, "interval": 4, "kimg": 1.0} | settings
    trick = AdaptiveAugment(**settings, geometry=geometry, colour=colour, corruption=None, range=value_range)
    trick.networks(Networks({"generator": Shaped(*shape or (1, 8, 8))}))
    return trick


def move(trick: AdaptiveAugment, logits: list[float], player="discriminator") -> None:
    x = torch.tensor(logits).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    view = Turn(player, 0, Batch(Sample(x)), {"discriminator": First()}, Tricks({}), RandomStreams(0))
    trick.losses(view, lambda _: {})
    trick.after_update(player, Networks({}), 0)


def expected_p(moves: list[list[float]], target: float, interval: int, images: float) -> list[float]:
    """p after each update, by section 3 of the paper."""
    p, passed = 0.0, []
    for t in range(len(moves)):
        if (t + 1) % interval == 0:
            signs = [
                (logit > 0) - (logit < 0) for logits in moves[t + 1 - interval : t + 1] for logit in logits
            ]
            heuristic = sum(signs) / len(signs)
            step = len(signs) / images
            p = max(0.0, p + step * ((heuristic > target) - (heuristic < target)))
        passed.append(p)
    return passed


@pytest.mark.parametrize(("interval", "kimg"), [(1, 1.0), (4, 0.1), (3, 0.02)])
def test_p_follows_the_rule_of_the_paper(interval: int, kimg: float) -> None:
    trick = build_trick(interval=interval, kimg=kimg)
    draws = torch.Generator().manual_seed(0)
    # The discriminator is confident, then less and less, then confident again, and finally mostly right.
    sure = [2.0] * 12 + [0.0] * 12 + [-1.0] * 12 + [2.0] * 12 + [2.0, -2.0, 2.0, 2.0] * 3
    moves = [(torch.randn(10, generator=draws) + mean).tolist() for mean in sure]
    expected = expected_p(moves, 0.6, interval, 1000 * kimg)
    found = []
    for logits in moves:
        move(trick, logits)
        found.append(float(trick.p))
    assert found == pytest.approx(expected, abs=1e-6)
    assert max(expected) > min(expected[12:]), "it rose and fell"


def test_p_rises_from_0_to_1_in_kimg_thousand_images() -> None:
    trick = build_trick(interval=4, kimg=0.2)
    for _ in range(20):  # of 10 images each
        move(trick, [1.0] * 10)
    assert float(trick.p) == pytest.approx(1)


def test_p_never_falls_below_0() -> None:
    trick = build_trick(interval=1, kimg=0.1)
    for logit in (-1.0, -1.0, -1.0, 1.0):
        move(trick, [logit] * 10)
    assert float(trick.p) == pytest.approx(0.1)


def test_generator_updates_and_unrolled_steps_do_not_count() -> None:
    trick = build_trick(interval=1, kimg=0.1)
    move(trick, [1.0] * 10, "generator")
    assert (trick.num_updates, float(trick.p)) == (0, 0)
    move(trick, [1.0] * 10)
    before = trick.latest.clone()
    x = -torch.ones(10, 1, 8, 8)
    view = Turn(
        "discriminator", 0, Batch(Sample(x)), {"discriminator": First()}, Tricks({}), RandomStreams(0)
    )
    trick.losses(view.replace(is_unrolled=True), lambda _: {})
    assert torch.equal(trick.latest, before)


def test_unrolled_steps_do_not_change_the_signs_of_a_step() -> None:
    """In simultaneous play, because in other plays the discriminator's next turn would hide a difference."""
    settings = ("trick.adaptive_augment.interval=9", "trick.unrolled.lr=10")
    alone = game("hinge", ["adaptive_augment"], "simultaneous", settings[0])
    beside = game("hinge", ["adaptive_augment", "unrolled"], "simultaneous", *settings)
    play_step(alone), play_step(beside)
    assert alone.game.tricks["adaptive_augment"].signs == beside.game.tricks["adaptive_augment"].signs != 0


@pytest.mark.parametrize("play", PLAYS)
def test_p_is_logged_and_follows_the_latest_verdicts(play: str) -> None:
    settings = ("interval=1", "kimg=500", "target=0.6")
    module = game("hinge", ["adaptive_augment"], play, *(f"trick.adaptive_augment.{s}" for s in settings))
    trick = module.game.tricks["adaptive_augment"]
    for _ in range(11):
        before = float(trick.p)
        row = play_step(module)
        direction = (float(trick.latest) > 0.6) - (float(trick.latest) < 0.6)
        assert row["adaptive_augment/p"] == pytest.approx(max(0, before + direction * 16 / 500_000))


@pytest.mark.parametrize("play", PLAYS)
def test_the_signs_are_computed_from_real_samples(play: str) -> None:
    module = game("hinge", ["adaptive_augment"], play)
    with torch.no_grad():
        judge = module.game.discriminator
        judge.score.bias -= judge(*batch(0)).logits.median()  # otherwise all have one sign
        expected = judge(*batch(0)).logits.sign().mean()
    assert -1 < expected < 1
    play_step(module)
    assert torch.equal(module.game.tricks["adaptive_augment"].latest, expected)


@pytest.mark.parametrize("play", PLAYS)
def test_images_are_augmented_with_probability_p(play: str) -> None:
    module = game("hinge", ["adaptive_augment"], play)
    trick = module.game.tricks["adaptive_augment"]
    for player in ("discriminator", "generator"):
        for p in (0.0, 0.5):
            trick.p.fill_(p)
            view = module.game.turn(player, real_batch(), RandomStreams(0))
            for sample in (view.real, view.fake):
                shown = view.tricks.apply_hook("inputs", sample, view)
                assert shown.condition is sample.condition
                touched = (shown.x != sample.x).flatten(1).any(1)
                assert bool(touched.any()) == (p > 0)
    play_steps(module, 2)


def test_the_generators_gradient_flows_through_the_augmentation() -> None:
    module = game("hinge", ["adaptive_augment"])
    module.game.tricks["adaptive_augment"].p.fill_(1.0)
    view = module.game.turn("generator", real_batch(), RandomStreams(0))
    slope = torch.autograd.grad(module.game.losses(view)["adversarial"], view.generated.x)[0]
    assert (slope != 0).flatten(1).any(1).all()


def test_the_gradient_of_r1_flows_through_the_augmentation() -> None:
    trick = build_trick(
        geometry=None, colour=Colour(0, 0.5, False, 0, 0)
    )  # factors about the range's middle, 0
    trick.p.fill_(1.0)
    hooks = Tricks({"adaptive_augment": trick, "r1": R1(3.0, 1)})
    x = torch.rand(10, 1, 8, 8) + 0.1
    view = Turn(
        "discriminator",
        0,
        Batch(Sample(x)),
        {"discriminator": First()},
        hooks,
        RandomStreams(0),
        differentiates_inputs=True,
    )
    factor = view.on_real.features[:, 0] / x[:, 0, 0, 0]
    assert factor.std() > 0.1
    assert torch.allclose(hooks.losses(view, lambda _: {})["r1"], 3 / 2 * factor.square())


def test_a_restored_trick_continues_in_the_middle_of_an_interval() -> None:
    one, twin = build_trick(interval=4, kimg=0.1), build_trick(interval=4, kimg=0.1)
    for _ in range(6):
        move(one, [1.0] * 5)
    twin.load_state_dict(one.state_dict())
    for trick in (one, twin):
        for _ in range(2):
            move(trick, [1.0] * 5)
    assert one.p == twin.p
    assert float(twin.p) == pytest.approx(40 / 100)


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (
            lambda: build_trick(geometry=None),
            ("", UNSET, "all strengths that apply to 1-channel images are 0"),
        ),
        (
            lambda: build_trick(1, 8, 8, geometry=None, colour=HUE),
            ("", UNSET, "all strengths that apply to 1-channel images are 0"),
        ),
        (lambda: build_trick(2), ("", UNSET, r"needs images, but a sample has the shape \[2\]")),
        (lambda: build_trick(value_range=None), (".range", None, "must be two increasing numbers")),
        (lambda: game("wasserstein", [NAME]), ("trick", NAME, "objective with logits that are positive")),
        (lambda: game("least_squares", [NAME]), ("trick", NAME, "objective with logits that are positive")),
        (lambda: game("mmd", [NAME]), ("trick", NAME, "objective with a discriminator")),
    ],
)
def test_a_trick_without_effect_is_refused(make, refusal: tuple) -> None:
    with refuses(*refusal):
        make()


def test_least_squares_with_targets_around_0_has_signs() -> None:
    about_zero = "least_squares objective.a=-1 objective.b=1 objective.c=0"
    assert "adaptive_augment/p" in play_step(game(about_zero, ["adaptive_augment"]))
