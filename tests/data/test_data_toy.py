"""Toy data, compared with their own parameters, scipy and quadrature."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import stats
from support.refusals import refuses

from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.core.randomness import seeded_generator
from ganlab.data.densities import Mixture
from ganlab.data.toy import Ring, Toy

TOYS = {"gaussian_1d": 1, "mixture_1d": 1, "ring": 2, "grid": 2, "spiral": 2}


def toy(name: str, *overrides: str) -> Toy:
    return instantiate(compose(f"data={name}", "data.size=20_000", *overrides).data)


def ring(**changes: object) -> Toy:
    facts = {"modes": 8, "radius": 1.0, "std": 0.01, "size": 20_000, "data_seed": 0, "batch_size": 512}
    facts |= {"shape": [2], "num_classes": 8, "range": None}
    return Ring(**(facts | changes))


def everything(data: Toy, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return next(data.split(split, "cpu", 10**6))


def test_samples_have_the_modes_and_the_standard_deviation_of_the_config():
    data = ring(modes=5, num_classes=5, radius=3.0, std=0.2)
    centres = data.distribution.centres
    x, y = everything(data, "train")
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float32
    torch.testing.assert_close(centres.norm(dim=1), torch.full((5,), 3.0, dtype=torch.float64))
    torch.testing.assert_close(centres[0], torch.tensor([3.0, 0.0], dtype=torch.float64))
    neighbours = (centres - centres.roll(1, 0)).norm(dim=1)
    torch.testing.assert_close(neighbours, neighbours.mean().expand(5))
    for mode in range(5):
        rest = x[y == mode] - centres[mode]
        assert abs(len(rest) - 4000) < 5 * sqrt(20_000 * 0.2 * 0.8)
        assert rest.mean(0).abs().max() < 5 * 0.2 / sqrt(len(rest))
        assert rest.std(0).sub(0.2).abs().max() < 5 * 0.2 / sqrt(2 * len(rest))


@pytest.mark.parametrize("name", TOYS)
def test_the_samples_depend_on_the_seed_of_the_data_only(name: str):
    x, _ = everything(toy(name), "train")
    assert torch.equal(x, everything(toy(name, "seed=3"), "train")[0])
    assert not torch.equal(x, everything(toy(name, "data.data_seed=1"), "train")[0])
    assert not torch.equal(x, everything(toy(name), "test")[0])
    known = toy(name).distribution
    assert torch.equal(known.sample(9, seeded_generator(5))[0], known.sample(9, seeded_generator(5))[0])


def test_batches_are_not_scaled():
    data = ring(radius=100.0)
    x, y, _ = next(iter(data.stream(0, lambda: 0, "cpu"))).real
    assert x.shape == (512, 2)
    assert (x - data.distribution.centres[y]).abs().max() < 0.1


def cells(data: Toy) -> tuple[torch.Tensor, float]:
    """The midpoints [N, D] of fine cells around all probability mass, and the volume of one cell."""
    known = data.distribution
    low = (known.centres - 7 * known.stds[:, None]).min(0).values
    high = (known.centres + 7 * known.stds[:, None]).max(0).values
    widths = (high - low) / torch.ceil((high - low) / (known.stds.min() / 2))
    sides = [torch.arange(l + w / 2, h, w) for l, h, w in zip(low, high, widths, strict=True)]  # noqa: E741
    return torch.cartesian_prod(*sides).view(-1, len(low)).double(), float(widths.prod())


@pytest.mark.parametrize("name", TOYS)
def test_the_density_integrates_to_one(name: str):
    # With cells of half a standard deviation, the midpoint rule is exact to 1e-8 for Gaussians.
    narrow = {"ring": ["data.std=0.05"], "grid": ["data.std=0.2"], "spiral": ["data.std=0.05"]}
    data = toy(name, *narrow.get(name, []))
    x, size = cells(data)
    total = sum(data.distribution.log_prob(rows).exp().sum() for rows in x.split(4096)) * size
    assert float(total) == pytest.approx(1, abs=1e-5)


def test_densities_equal_those_of_scipy():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    found = toy("gaussian_1d", "data.mean=0.5", "data.std=1.5").distribution.log_prob(x)
    np.testing.assert_allclose(found, stats.norm(0.5, 1.5).logpdf(x[:, 0]), rtol=1e-12)
    line = toy("mixture_1d", "data.means=[-1,2]", "data.stds=[0.5,1]", "data.weights=[3,1]").distribution
    parts = 0.75 * stats.norm(-1, 0.5).pdf(x[:, 0]) + 0.25 * stats.norm(2, 1).pdf(x[:, 0])
    np.testing.assert_allclose(line.log_prob(x).exp(), parts, rtol=1e-12)
    for name, std in {"ring": 0.01, "grid": 0.05, "spiral": 0.02}.items():
        known = toy(name).distribution
        points = known.sample(50, seeded_generator(0))[0].double()
        normals = [stats.multivariate_normal(c.numpy(), std**2).pdf(points) for c in known.centres]
        np.testing.assert_allclose(known.log_prob(points).exp(), np.mean(normals, 0), rtol=1e-9)


def cdf(known: Mixture, x: np.ndarray, axis: int) -> np.ndarray:
    """The distribution function of one coordinate, by scipy."""
    parts = zip(known.weights, known.centres[:, axis], known.stds, strict=True)
    return sum(float(w) * stats.norm(float(c), float(s)).cdf(x) for w, c, s in parts)


@pytest.mark.parametrize(("name", "dims"), TOYS.items())
def test_samples_follow_the_density(name: str, dims: int):
    """Kolmogorov-Smirnov test along each axis; the seed is fixed, and so is the p-value."""
    known = toy(name).distribution
    x = known.sample(4000, seeded_generator(1))[0].double().numpy()
    for axis in range(dims):
        assert stats.kstest(x[:, axis], lambda v, axis=axis: cdf(known, v, axis)).pvalue > 0.01


def test_the_grid_is_that_of_pacgan():
    known = toy("grid").distribution
    assert {tuple(centre) for centre in known.centres.tolist()} == {
        (a, b) for a in (-4, -2, 0, 2, 4) for b in (-4, -2, 0, 2, 4)
    }
    assert set(known.stds.tolist()) == {0.05}


def test_the_modes_of_the_spiral_lie_on_one_curve():
    known = toy("spiral", "data.turns=1.5", "data.radius=3", "data.components=1000").distribution
    radii = known.centres.norm(dim=1)
    assert radii[0] == 0
    assert float(radii[-1]) == pytest.approx(3)
    assert known.centres[-1].tolist() == pytest.approx([-3, 0], abs=1e-9)  # at half a turn past the first
    angles = torch.atan2(known.centres[1:, 1], known.centres[1:, 0]) % (2 * pi)
    whole = 2 * pi * torch.round((radii[1:] / 3 * 3 * pi - angles) / (2 * pi))
    torch.testing.assert_close(radii[1:], 3 * (angles + whole) / (3 * pi))
    steps = known.centres.diff(dim=0).norm(dim=1)
    assert float(steps.max() / steps.min()) < 1.01


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("num_classes", 10, "set it to 8"),
        ("shape", [1, 8, 8], r"set it to \[2\]"),
        ("range", [-1, 1], "set it to null"),
    ],
)
def test_facts_that_contradict_the_distribution_are_refused(key, value, remedy):
    with refuses(f".{key}", value, "contradicts the data", remedy):
        ring(**{key: value})


def test_fewer_samples_than_a_batch_are_refused():
    with refuses(".batch_size", 512, "exceeds the 100 training samples"):
        ring(size=100)


@pytest.mark.parametrize(
    ("name", "override", "key", "reason", "remedy"),
    [
        (
            "mixture_1d",
            "data.means=[0]",
            "data.means",
            "has 1 elements, data.stds 2, and data.weights 2",
            "give one of each",
        ),
        ("grid", "data.coordinates=[0,1]", "data.num_classes", "contradicts", "set it to 4"),
        ("spiral", "data.num_classes=3", "data.num_classes", "contradicts", "set it to 100"),
    ],
)
def test_impossible_toys_are_refused(name: str, override: str, key: str, reason: str, remedy: str):
    with refuses(key, reason=reason, remedy=remedy):
        toy(name, override)


def test_the_config_of_a_ring_has_as_many_classes_as_modes():
    cfg = compose("data=ring", "data.modes=12")
    data = instantiate(OmegaConf.create(cfg.data))
    assert (data.num_classes, len(data.distribution.centres), len(data)) == (12, 12, 50_000)
