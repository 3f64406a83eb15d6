"""MMD in learned features, compared with formulas for known features."""

import copy

import pytest
import torch
from support.refusals import refuses
from support.small_games import SMALL, game, real_batch
from torch import Tensor, nn

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample, Verdict
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import Energy, GaussianMixture, Linear, RationalQuadratic
from ganlab.objectives.learned import LearnedMMD
from ganlab.tricks.composition import Tricks

ONES = {"discriminator": 1.0, "generator": 1.0}


class Smooth(nn.Module):
    """Features tanh(A x), whose slopes differ from point to point."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Verdict:
        features = torch.tanh(x @ self.weight.T)
        return Verdict(features.sum(1), features)


def samples() -> tuple[Tensor, Tensor]:
    draws = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return draws[0], draws[1] * 0.5 + 1


def turn(player: str, network: nn.Module | None = None) -> Turn:
    data, fake = samples()
    view = Turn(
        player, 0, Batch(Sample(data)), {"discriminator": network or Smooth()}, Tricks({}), RandomStreams(0)
    )
    return view.replace(fake=Sample(fake))


def test_the_players_have_opposite_losses() -> None:
    objective = LearnedMMD(
        GaussianMixture([1.0], "std"), "biased", root=True, gradient_penalty=None, one_sided=16.0, weight=ONES
    )
    data, fake = (Smooth()(x).features.detach() for x in samples())
    distance = mmd2(fake, data, GaussianMixture([1.0], "std"), "biased").sqrt()
    lead = [min(float(data[:, i].mean() - fake[:, i].mean()), 0.0) for i in range(4)]
    assert min(lead) < 0 < max(float(gap) for gap in data.mean(0) - fake.mean(0))
    for player, sign in (("generator", 1), ("discriminator", -1)):
        terms = objective(turn(player))
        assert list(terms) == ["adversarial", "adversarial_one_sided"]
        assert float(terms["adversarial"].detach()) == pytest.approx(sign * float(distance))
        assert float(terms["adversarial_one_sided"].detach()) == pytest.approx(sign * 16 * sum(lead) / 4)


def witness(network: nn.Module, kernel, t: Tensor) -> Tensor:
    """Mean k(f(t), f(x)) - mean k(f(t), f(G(z))) for one t, by a loop."""
    data, fake = samples()
    f = network(t[None]).features
    near = [kernel(f, network(x[None]).features) for x in data]
    far = [kernel(f, network(x[None]).features) for x in fake]
    return (torch.stack(near).mean() - torch.stack(far).mean()).squeeze()


@pytest.mark.parametrize("kernel", [RationalQuadratic([0.5, 2]), Energy()], ids=["rational", "energy"])
def test_the_penalty_is_on_the_slope_of_the_witness(kernel) -> None:
    network = Smooth()
    objective = LearnedMMD(kernel, "unbiased", root=False, gradient_penalty=3.0, one_sided=None, weight=ONES)
    penalty = objective(turn("discriminator", network))["gradient_penalty"]
    share = RandomStreams(0).uniform("between", 5, 1).double()
    data, fake = samples()
    for i, t in enumerate(share * data + (1 - share) * fake):
        slopes = []
        for axis in torch.eye(3, dtype=torch.float64) * 1e-5:
            ahead, behind = witness(network, kernel, t + axis), witness(network, kernel, t - axis)
            slopes.append((ahead - behind).detach() / 2e-5)
        expected = 3 * (torch.stack(slopes).norm() - 1) ** 2
        assert float(penalty[i].detach()) == pytest.approx(float(expected), rel=1e-5)
    assert "gradient_penalty" not in objective(turn("generator", network))


@pytest.mark.parametrize("kernel", [RationalQuadratic([0.5, 2]), Energy(), Linear()])
def test_the_discriminators_gradient_is_that_of_finite_differences(kernel) -> None:
    network = Smooth()
    objective = LearnedMMD(kernel, "unbiased", root=False, gradient_penalty=2.0, one_sided=1.0, weight=ONES)

    def loss(weight: Tensor) -> Tensor:
        network = copy.deepcopy(Smooth())
        del network.weight
        network.weight = weight
        return torch.stack([t.mean() for t in objective(turn("discriminator", network)).values()]).sum()

    assert torch.autograd.gradcheck(loss, (network.weight.detach().requires_grad_(),))


def test_the_generators_gradient_passes_through_the_steps_of_an_unrolled_discriminator() -> None:
    line = ["objective=learned_mmd", "trick=[unrolled,feature_autoencoder]", "trick.unrolled.steps=2"]
    module = build_game(compose(*SMALL, *line, "model.generator.batch_norm=false")).double()
    # Finite differences are wrong at the kinks of ReLU.
    for i, layer in enumerate(module.generator.body):
        if isinstance(layer, nn.ReLU):
            module.generator.body[i] = nn.SiLU()
    for body in (module.discriminator.body, module.discriminator.decoder):
        for i, layer in enumerate(body):
            if isinstance(layer, nn.ReLU | nn.LeakyReLU):
                body[i] = nn.SiLU()
    latent = torch.randn(16, 6, dtype=torch.float64)
    batch = Batch(Sample(real_batch().real.x.double()))

    def loss() -> Tensor:
        return module.losses(module.turn("generator", batch, RandomStreams(0)).replace(latent=latent))[
            "adversarial"
        ]

    weight = next(module.generator.parameters())
    (slope,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn_like(weight)
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            weight += sign * 1e-4 * direction
        values.append(float(loss().detach()))
    assert float((slope * direction).sum()) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-5)


@pytest.mark.parametrize("objective", ["learned_mmd", "mmd_gan"])
def test_half_precision_stays_finite(objective: str) -> None:
    module = game(objective).game
    for player in ("discriminator", "generator"):
        with torch.autocast("cpu", torch.bfloat16):
            terms = module.losses(module.turn(player, real_batch(), RandomStreams(0)))
        torch.stack(list(terms.values())).sum().backward(inputs=module.weights(player))
        assert all(w.grad is None or w.grad.isfinite().all() for w in module.weights(player))
        assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    "line", ["trick=r1", "trick=label_conditioning trick.label_conditioning.discriminator=projection"]
)
def test_tricks_on_scores_are_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="needs an objective with a loss on logits"):
        build_game(compose(*SMALL, "objective=learned_mmd", *line.split()))


def test_weights_without_effect_are_refused() -> None:
    for name in ("gradient_penalty", "one_sided"):
        with refuses(f"objective.{name}", 0, "no effect"):
            build_game(compose(*SMALL, "objective=learned_mmd", f"objective.{name}=0"))
