"""Parzen windows against scikit-learn, against the formula, and on real MNIST digits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from parzen_anchors import centroids
from scipy.special import logsumexp
from support.commands import play, summary
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.small_games import SHARED
from torch import Tensor

from ganlab.config.compose import CONF
from ganlab.data.vision import load_splits
from ganlab.metrics.parzen import Parzen, log_densities

SETTINGS = OmegaConf.to_container(OmegaConf.load(CONF / "metric" / "parzen.yaml"))["parzen"]
needs_mnist = pytest.mark.skipif(not (SHARED / "MNIST").is_dir(), reason="needs MNIST in ../shared/data")


def images(n: int, seed: int) -> Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def measure(metric: Parzen, fakes: Tensor, validation: Tensor, test: Tensor) -> dict[str, float]:
    """The metric's values, with the samples in uneven batches."""
    for split, reals in (("validation", validation), ("test", test)):
        for x in torch.split(reals, 70):
            metric.update(x, split)
    for x in torch.split(fakes, 90):
        metric.update(x)
    return metric.compute()


@pytest.mark.parametrize("width", [0.3, 1.0])  # at 0.2 scikit-learn underflows by 24 nats
def test_log_densities_are_those_of_scikit_learn(width: float) -> None:
    from sklearn.neighbors import KernelDensity

    x, centres = images(1100, 0).flatten(1), images(300, 1).flatten(1)
    expected = KernelDensity(bandwidth=width).fit(centres.double()).score_samples(x.double())
    (log_density,) = log_densities(x, centres, [width])
    assert log_density.dtype == torch.float64
    assert log_density.numpy() == pytest.approx(expected, abs=1e-3)


def formula(x: Tensor, centres: Tensor, width: float) -> np.ndarray:
    """log p of each image of x, in float64, from all differences at once."""
    differences = x.double().flatten(1)[:, None] - centres.double().flatten(1)[None]  # [N, M, D], D = 36
    exponents = -(differences**2).sum(2).numpy() / (2 * width**2)
    return logsumexp(exponents, axis=1) - np.log(len(centres)) - 36 * np.log(width * np.sqrt(2 * np.pi))


def test_log_densities_are_the_formula_at_every_width() -> None:
    x, centres, widths = images(600, 0), images(300, 1), [0.05, 0.1, 0.2, 1.0]
    by_width = log_densities(x.flatten(1), centres.flatten(1), widths)
    for width, log_density in zip(widths, by_width.numpy(), strict=True):
        assert log_density == pytest.approx(formula(x, centres, width), abs=1e-3)


def test_far_from_every_centre_the_logarithm_stays_finite() -> None:
    (log_density,) = log_densities(torch.ones(1, 784), torch.zeros(5, 784), [0.1])
    expected = -784 / 0.02 - 784 * math.log(0.1 * math.sqrt(2 * math.pi))
    assert float(log_density) == pytest.approx(expected, rel=1e-6)


def test_the_width_is_chosen_on_the_first_validation_images_alone() -> None:
    fakes, test = images(200, 0), images(150, 1)
    # Near copies of samples favour a narrow width, images that are far from all samples a wide one.
    validation = torch.cat([images(40, 2), fakes[:160] + 1e-4])
    widths = [0.01, 0.1, 0.3, 3.0]
    for num_validation, best in ((40, 0.3), (None, 0.1)):
        metric = Parzen(widths, num_validation)
        values = measure(metric, fakes, validation, test)
        first = validation[:num_validation]
        assert best == max(widths, key=lambda width: formula(first, fakes, width).mean())
        on_validation, on_test = formula(first, fakes, best), formula(test, fakes, best)
        expected = {"parzen/validation": on_validation.mean(), "parzen/test": on_test.mean()}
        assert values == pytest.approx(expected, rel=1e-5)
        protocol = metric.protocol()
        assert metric.extras["width"] == best
        assert metric.extras["standard_error"] == pytest.approx(on_test.std() / math.sqrt(150), rel=1e-4)
        assert (protocol["n_validation"], protocol["n_test"]) == (len(first), 150)


def test_the_config_has_the_widths_of_the_papers() -> None:
    assert SETTINGS["widths"] == pytest.approx(np.logspace(-1, 0, 10), rel=1e-15)
    assert SETTINGS["num_validation"] == 1000
    gmmn = OmegaConf.load(CONF / "experiment" / "gmmn_mnist.yaml").metric.parzen
    assert list(gmmn.widths) == pytest.approx(np.arange(0.1, 0.295, 0.01))
    assert gmmn.num_validation is None


def pixels(train: bool) -> Tensor:
    """The training or test images of MNIST, [N, 1, 28, 28] in [0, 1]."""
    (train_images, _), (test_images, _) = load_splits("MNIST", str(SHARED))
    return (train_images if train else test_images).float() / 255


@on_one_day_of(2)
@needs_mnist
@pytest.mark.parametrize(("n", "expected"), [(10_000, 242.7), (1_000, 121.1)])
def test_the_score_of_real_training_images(n: int, expected: float) -> None:
    """The expected values were measured with a different program, on the same images.

    The standard deviation over twelve choices of 1,000 images is 0.9. The first 1,000 images score 114.2.
    """
    training = pixels(train=True)
    chosen_rows = torch.randperm(50_000, generator=torch.Generator().manual_seed(0))[:n]
    metric = Parzen(SETTINGS["widths"], SETTINGS["num_validation"])
    values = measure(metric, training[chosen_rows], training[50_000:], pixels(train=False))
    assert values["parzen/test"] == pytest.approx(expected, abs=0.5)
    assert metric.protocol()["n_test"] == 10_000


@on_one_day_of(2)
@needs_mnist
def test_k_means_scores_better_than_real_images() -> None:
    """The 1,000 centroids are blurrier than real images, and score higher.

    8 iterations score 284.7, and 285.1 in a different program. 4 iterations, which take half as long, score
    282.8, and from 282.5 to 283.7 with three other seeds.
    """
    training = pixels(train=True)
    metric = Parzen(SETTINGS["widths"], SETTINGS["num_validation"])
    blurred = centroids(training[:50_000], k=1_000, iterations=4, seed=0)
    values = measure(metric, blurred, training[50_000:], pixels(train=False))
    assert values["parzen/test"] == pytest.approx(282.8, abs=1)
    assert metric.extras["width"] == pytest.approx(0.167, abs=1e-3)


def test_reset_drops_generated_samples_and_keeps_real_ones() -> None:
    metric = Parzen([0.1, 0.3], 20)
    first = measure(metric, images(50, 0), images(30, 1), images(40, 2))
    metric.reset()
    with refuses(reason="needs generated samples"):
        metric.compute()
    metric.update(images(50, 0))
    assert metric.compute() == first


def test_missing_real_images_are_refused() -> None:
    metric = Parzen([0.1], None)
    metric.update(images(5, 0), "test")
    metric.update(images(5, 1))
    with refuses(reason="images of validation and test"):
        metric.compute()


def test_a_run_measures_it_together_with_other_metrics(tmp_path: Path) -> None:
    overrides = ["metric=[fid,is,parzen]", "monitor=parzen/validation", "steps=4", "evaluate_every=2"]
    values = play(tmp_path / "run", *overrides, "data.validation=100", "data.range=[0,1]")
    assert set(values) == {"fid/digits_train_100", "is/digits_100", "parzen/validation", "parzen/test"}
    records = summary(tmp_path / "run")["metrics"]
    parzen, frechet = records["parzen/test"], records["fid/digits_train_100"]
    assert (parzen["split"], parzen["floor_split"], parzen["floor_n"]) == ("validation+test", "train", 100)
    assert (frechet["split"], frechet["floor_split"], frechet["floor_n"]) == ("train", "test", 100)
    assert (parzen["n_validation"], parzen["n_test"], parzen["n_fake"]) == (100, 360, 100)
    assert parzen["beside"]["width"] in SETTINGS["widths"]
    assert parzen["beside"]["standard_error"] > 0
    # Real images instead of generated ones score better than an untrained generator's.
    assert parzen["floor"] > parzen["value"]
