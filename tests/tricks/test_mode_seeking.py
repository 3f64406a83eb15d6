import pytest
import torch
from support.refusals import refuses
from support.small_games import game, play_steps, real_batch
from torch import Tensor, nn

from ganlab.core.batch import Batch, Sample
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.networks import priors
from ganlab.tricks.composition import Tricks
from ganlab.tricks.mode_seeking import ModeSeeking, mean_distance


class Scaled(nn.Module):
    """latent [B, 6] -> images [B, 1, 2, 3], a times the latent plus the condition."""

    latent_dim, prior = 6, priors.Normal()

    def __init__(self, a: float):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.float64))
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        self.calls.append((latent, condition))
        return (self.a * latent.double()).view(-1, 1, 2, 3) + condition.view(-1, 1, 1, 1)


def turn(generator: nn.Module, player: str = "generator") -> Turn:
    sample = Sample(torch.zeros(4, 1, 2, 3, dtype=torch.float64), torch.arange(4))
    return Turn(player, 0, Batch(sample), {"generator": generator}, Tricks({}), RandomStreams(0))


@pytest.mark.parametrize("a", [0.25, 3.0])
def test_the_term_of_a_linear_generator_is_the_inverse_of_its_slope(a: float) -> None:
    generator = Scaled(a)
    term = ModeSeeking(2.0, 0.01).losses(turn(generator), lambda _: {})["mode_seeking"]
    assert float(term.detach()) == pytest.approx(2 / (a + 0.01), rel=1e-6)
    (slope,) = torch.autograd.grad(term, generator.a)
    assert float(slope) == pytest.approx(-2 / (a + 0.01) ** 2, rel=1e-6)


def test_the_second_fakes_have_other_latents_and_the_same_conditions() -> None:
    generator = Scaled(1.0)
    view = turn(generator)
    ModeSeeking(1.0, 0.01).losses(view, lambda _: {})
    (first, classes), (second, others) = generator.calls
    assert torch.equal(first, view.latent)
    assert torch.equal(classes, others)
    assert (first != second).all()
    assert len(generator.calls) == 2  # the fakes of the objective are not generated again


def test_the_first_fakes_are_the_judged_ones() -> None:
    alone, beside = (game("hinge", tricks) for tricks in ([], ["mode_seeking"]))
    found, expected = play_steps(beside, 1)[0], play_steps(alone, 1)[0]
    assert found["generator/adversarial"] == expected["generator/adversarial"]


def test_the_term_is_the_inverse_of_a_ratio_of_means_over_the_pairs() -> None:
    module = game("hinge", ["mode_seeking"], "alternating", "model.generator.batch_norm=false").game
    view = module.turn("generator", real_batch(), RandomStreams(0))
    found = float(module.losses(view)["mode_seeking"].detach())
    draw = RandomStreams(0)
    _, other = (module.generator.prior(draw, 16, 6) for _ in range(2))
    pairs = zip(view.latent, other, view.generated.x.detach(), module.generator(other).detach(), strict=True)
    gaps = [(float((x - y).abs().mean()), float((z - w).abs().mean())) for z, w, x, y in pairs]
    of_fakes, of_latents = (sum(gap) / 16 for gap in zip(*gaps, strict=True))
    assert found == pytest.approx(1 / (of_fakes / of_latents + 1e-5))
    assert found != pytest.approx(sum(1 / (a / b + 1e-5) for a, b in gaps) / 16, rel=1e-4)


def test_equal_fakes_cost_one_over_eps() -> None:
    term = ModeSeeking(1.0, 0.01).losses(turn(Scaled(0.0)), lambda _: {})["mode_seeking"]
    assert float(term.detach()) == pytest.approx(100)


def test_the_discriminators_loss_is_unchanged() -> None:
    assert ModeSeeking(1.0, 0.01).losses(turn(Scaled(1.0), "discriminator"), lambda _: {}) == {}


def test_a_generator_learns_to_use_its_latents() -> None:
    settings = (
        "trick.mode_seeking.weight=1",
        "optimizer.generator.lr=0.01",
        "model.generator.batch_norm=false",
    )
    module = game("moments", ["mode_seeking"], "alternating", *settings)
    with torch.no_grad():
        for weight in module.game.weights("generator"):
            weight.mul_(0.1)
    before, *_, last = (row["generator/mode_seeking"] for row in play_steps(module, 60))
    assert last < before / 10


def test_half_precision_is_converted_to_float32() -> None:
    module = game("hinge", ["mode_seeking"]).game
    with torch.autocast("cpu", torch.bfloat16):
        view = module.turn("generator", real_batch(), RandomStreams(0))
        terms = module.tricks.losses(view, module.objective)
    assert view.generated.x.dtype == torch.bfloat16
    assert terms["mode_seeking"].dtype == torch.float32
    one, other = torch.randn(2, 3, 50, dtype=torch.bfloat16)
    assert torch.equal(mean_distance(one, other), mean_distance(one.float(), other.float()))


def test_a_weight_of_zero_is_refused() -> None:
    with refuses(".weight", 0, "no effect"):
        ModeSeeking(0, 1e-5)
