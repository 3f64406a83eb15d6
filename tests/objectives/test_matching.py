"""Direct matching: distances, spaces and refusals."""

import math

import pytest
import torch
from support.refusals import refuses
from support.small_games import SMALL, game, real_batch, resolved_config
from torch import Tensor

from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.core.batch import Batch, Sample
from ganlab.core.randomness import RandomStreams
from ganlab.core.turn import Turn
from ganlab.functional.distances import mmd2
from ganlab.functional.kernels import GaussianMixture
from ganlab.metrics.extractors import Classifier
from ganlab.objectives.matching import MMD, Moments, SlicedWasserstein
from ganlab.objectives.spaces import Pixels, RandomFeatures
from ganlab.tricks.composition import Tricks

ONE = {"generator": 1.0}
DIRECT = ["mmd", "energy", "moments", "sliced_wasserstein"]


def turn(fake: Tensor, data: Tensor) -> Turn:
    view = Turn("generator", 0, Batch(Sample(data)), {}, Tricks({}), RandomStreams(0))
    return view.replace(generated=Sample(fake))


def matched(objective, fake: Tensor, data: Tensor) -> float:
    return float(objective(turn(fake, data))["matching"])


def pair(n: int = 6, *shape: int) -> tuple[Tensor, Tensor]:
    draws = torch.randn(2, n, *shape or (4,), generator=torch.Generator().manual_seed(n))
    return draws[0], draws[1] * 0.5 + 1


def test_mmd_is_between_generated_and_real_samples() -> None:
    module = game("mmd").game
    view = module.turn("generator", real_batch(), RandomStreams(0))
    fake, data = view.generated.x.detach().flatten(1).double(), view.real.x.flatten(1).double()

    def mean_kernel(x: Tensor, y: Tensor) -> float:
        squared = torch.cdist(x, y).square()
        return sum(float(torch.exp(-squared / (2 * s)).mean()) for s in (2, 5, 10, 20, 40, 80))

    squared = mean_kernel(fake, fake) + mean_kernel(data, data) - 2 * mean_kernel(fake, data)
    assert float(module.losses(view)["matching"].detach()) == pytest.approx(math.sqrt(squared), rel=1e-3)


def test_with_median_the_widths_are_multiples_of_the_median_distance() -> None:
    fake, data = pair()
    median = torch.pdist(data).median()
    for width_is, width in (("std", 0.5 * float(median)), ("variance", 0.5 * float(median) ** 2)):
        objective = MMD(
            GaussianMixture([0.5], width_is), "unbiased", root=False, median=True, space=Pixels(), weight=ONE
        )
        expected = mmd2(fake, data, GaussianMixture([width], width_is), "unbiased")
        assert matched(objective, fake, data) == pytest.approx(float(expected), rel=1e-4)


def test_moments_are_summed_over_orders() -> None:
    fake, data = pair()
    covariance = (torch.cov(fake.T, correction=0) - torch.cov(data.T, correction=0)).square().sum()
    expected = (fake.mean(0) - data.mean(0)).square().sum() + (
        fake.var(0, correction=0) - data.var(0, correction=0)
    ).square().sum()
    assert matched(
        Moments([1, 2], covariance=False, space=Pixels(), weight=ONE), fake, data
    ) == pytest.approx(float(expected))
    both = matched(Moments([1, 2], covariance=True, space=Pixels(), weight=ONE), fake, data)
    assert both == pytest.approx(float(expected + covariance))


def test_sliced_wasserstein_draws_new_directions_of_unit_length() -> None:
    data = torch.zeros(5, 3)
    shift = torch.tensor([3.0, 0.0, 0.0])
    objective = SlicedWasserstein(20000, 2, Pixels(), ONE)
    assert matched(objective, data + shift, data) == pytest.approx(9 / 3, rel=0.05)
    few = SlicedWasserstein(2, 1, Pixels(), ONE)
    view = turn(data + shift, data)
    assert few(view)["matching"] != few(view)["matching"]


@pytest.mark.parametrize("objective", DIRECT)
@pytest.mark.parametrize("precision", ["bf16", "float64"])
def test_half_precision_stays_finite_and_near(objective: str, precision: str) -> None:
    module = game(objective).game
    view = module.turn("generator", real_batch(), RandomStreams(0))
    exact = float(module.losses(view)["matching"].detach())
    if precision == "float64":
        module = module.double()
        view = module.turn("generator", Batch(Sample(real_batch().real.x.double())), RandomStreams(0))
        view = view.replace(latent=view.latent.double())
        loss = module.losses(view)["matching"]
    else:
        with torch.autocast("cpu", torch.bfloat16):
            loss = module.losses(module.turn("generator", real_batch(), RandomStreams(0)))["matching"]
    loss.backward()
    slopes = [weight.grad for weight in module.weights("generator")]
    assert float(loss.detach()) == pytest.approx(exact, rel=0.1)
    assert all(slope.isfinite().all() for slope in slopes)
    assert any(slope.abs().sum() > 0 for slope in slopes)


@pytest.mark.parametrize("space", ["pixels", "digits", "random"])
@pytest.mark.parametrize("objective", DIRECT)
def test_every_distance_works_in_every_space(objective: str, space: str) -> None:
    module = build_game(resolved_config(*SMALL, f"objective={objective}", f"objective/space={space}"))
    module.train()
    view = module.turn("generator", real_batch(), RandomStreams(0))
    loss = module.losses(view)["matching"]
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in module.weights("generator"))


def test_a_classifiers_features_are_those_of_evaluation_and_it_stays_frozen() -> None:
    module = build_game(resolved_config(*SMALL, "objective=energy", "objective/space=digits"))
    space = module.objective.space
    module.train()
    sample = real_batch().real
    expected = Classifier.load("digits").features((sample.x + 1) / 2)
    assert torch.allclose(space(sample), expected, atol=1e-5)
    assert not any(weight.requires_grad for weight in space.parameters())


def test_random_features_depend_on_their_own_seed_only() -> None:
    x = Sample(torch.randn(3, 1, 8, 8))
    torch.manual_seed(1)
    one = RandomFeatures([4, 6], 0, [1, 8, 8])
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    two, other = RandomFeatures([4, 6], 0, [1, 8, 8]), RandomFeatures([4, 6], 1, [1, 8, 8])
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one(x), two(x))
    assert not torch.allclose(one(x), other(x))
    assert one(x).shape == (3, 6 * 2 * 2)
    assert RandomFeatures([5], 0, [2])(Sample(torch.randn(3, 2))).shape == (3, 5)
    assert not any(weight.requires_grad for weight in one.parameters())


def test_random_features_have_the_scale_of_the_samples() -> None:
    space = RandomFeatures([512, 512], 0, [100])
    features = space(Sample(torch.randn(500, 100)))
    assert 0.8 < float(features.square().mean()) < 1.2


@pytest.mark.parametrize(
    ("line", "key", "value", "reason"),
    [
        (
            "objective=mmd objective.estimator=unbiased",
            "root",
            True,
            "the unbiased estimate, which can be neg",
        ),
        (
            "objective=mmd objective.estimator=linear",
            "root",
            True,
            "the linear estimate, which can be negative",
        ),
        ("objective=energy objective.root=true", "root", True, "can be negative"),
        ("objective=energy objective.estimator=exact", "estimator", "exact", "must be one of biased"),
        ("objective=mmd objective.root=off", "root", "off", "must be true or false"),
        ("objective=mmd objective.median=no", "median", "no", "must be true or false"),
        ("objective=learned_mmd objective.root=no", "root", "no", "must be true or false"),
        ("objective=moments objective.covariance=no", "covariance", "no", "must be true or false"),
        ("objective=energy objective.median=true", "median", True, "this kernel has none"),
        (
            "objective=mmd objective/kernel=linear objective.median=true",
            "median",
            True,
            "this kernel has none",
        ),
        ("objective=moments objective.orders=[true]", "orders", [True], "a list, each a whole number"),
        ("objective=moments objective.orders=[0]", "orders", [0], "a list, each a whole number"),
        ("objective=moments objective.orders=[] objective.covariance=false", "orders", [], "match nothing"),
        ("objective=sliced_wasserstein objective.projections=true", "projections", True, "a whole number"),
        ("objective=sliced_wasserstein objective.projections=0", "projections", 0, "a whole number"),
        ("objective=sliced_wasserstein objective.p=3", "p", 3, "must be one of 1, 2"),
        ("objective=mmd objective/space=random objective.space.widths=[]", "space.widths", [], "a list of 1"),
        (
            "objective=mmd objective/space=random objective.space.widths=[1,1,1,1]",
            "space.widths",
            [1, 1, 1, 1],
            "too often for shape",
        ),
    ],
)
def test_an_unusable_setting_is_refused(line: str, key: str, value: object, reason: str) -> None:
    with refuses(f"objective.{key}", value, reason):
        build_game(compose(*SMALL, *line.split()))


@pytest.mark.parametrize("line", ["objective/space=mnist", "objective/space=digits data=ring"])
def test_a_space_for_other_images_is_refused(line: str) -> None:
    extractor = line.split()[0].partition("=")[2]
    with refuses("objective.space.extractor", extractor, "takes images"):
        build_game(compose(*SMALL, "objective=mmd", *line.split()))


def test_a_root_of_a_biased_energy_distance_is_allowed() -> None:
    line = "objective=energy objective.root=true objective.estimator=biased"
    plain = "objective=energy objective.estimator=biased"
    values = []
    for each in (line, plain):
        module = build_game(compose(*SMALL, *each.split()))
        values.append(
            float(
                module.losses(module.turn("generator", real_batch(), RandomStreams(0)))["matching"].detach()
            )
        )
    assert values[0] ** 2 == pytest.approx(values[1], rel=1e-5)


def test_another_kernel_is_selected_by_one_override() -> None:
    kernel = compose("model=gmn", "objective/kernel=laplacian").objective.kernel
    assert kernel._target_ == "ganlab.functional.kernels.Laplacian"
    assert "width_is" not in kernel
