"""Frechet distance and inception score against closed forms, scipy and torchmetrics."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from support.refusals import refuses
from torch import Tensor, nn

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.metrics.base import GENERATED, SampleMetric
from ganlab.metrics.extractors import Classifier
from ganlab.metrics.features import Features, round_to_256_levels
from ganlab.metrics.fidelity import FrechetDistance, InceptionScore


class Pixels(nn.Module):
    """An extractor whose features are the pixels, and whose logits are `factor` times the pixels."""

    name, sha256, preprocessing, libraries, dtype = "pixels", "", {}, (), torch.float64

    def __init__(self, num_features: int, factor: float = 1.0):
        super().__init__()
        self.num_features = num_features
        self.factor = factor

    def extract(self, x: Tensor) -> Features:
        return Features(x.flatten(1), self.factor * x.flatten(1))


def images(n: int, seed: int, brightness: float = 1.0) -> Tensor:
    """Smooth random images, [n, 1, 8, 8]."""
    coarse = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return brightness * nn.functional.interpolate(coarse, size=8, mode="bilinear")


def measure(metric: SampleMetric, real: Tensor, fake: Tensor) -> dict[str, float]:
    """The metric's values, with the samples in uneven batches."""
    for split in (*metric.references, GENERATED):
        for rows in torch.split(fake if split == GENERATED else real, 70):
            metric.update(rows, split)
    return metric.compute()


def frechet(real: Tensor, fake: Tensor) -> float:
    """The formula of Heusel et al. (2017), in numpy."""
    x, y = real.numpy(), fake.numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    squared_distance = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(squared_distance + np.trace(cov_x + cov_y - 2 * sqrtm(cov_x @ cov_y).real))


def test_frechet_distance_is_the_formula_on_the_features() -> None:
    classifier = Classifier.load("digits").double()
    real, fake = images(300, 0), images(200, 1, brightness=0.7)
    expected = frechet(*(classifier.features(round_to_256_levels(x)) for x in (real, fake)))
    values = measure(FrechetDistance("digits", "train"), real, fake)
    assert values == pytest.approx({"fid/digits_train": expected}, rel=1e-5)


def test_frechet_distance_of_gaussians_is_the_closed_form() -> None:
    # For Gaussians with independent coordinates, means m, m' and standard deviations s, s', the distance is
    # |m - m'|^2 + |s - s'|^2. These Gaussians lie within [0, 1].
    mean, std = torch.tensor([0.4, 0.6, 0.5]), torch.tensor([0.02, 0.08, 0.05])
    noise_real, noise_fake = torch.randn(2, 20_000, 3, generator=torch.Generator().manual_seed(0))
    real, fake = 0.5 + 0.05 * noise_real, mean + std * noise_fake
    expected = ((mean - 0.5).square() + (std - 0.05).square()).sum().item()
    values = measure(FrechetDistance(Pixels(3), "train"), real[..., None, None], fake[..., None, None])
    assert values["fid/pixels_train"] == pytest.approx(expected, rel=0.02)


def test_frechet_distance_to_itself_is_zero_and_never_below() -> None:
    for x in (images(150, 0), torch.full((60, 1, 8, 8), 0.5), *(images(80, seed) for seed in (1, 2, 3))):
        distance = measure(FrechetDistance("digits", "train"), x, x)["fid/digits_train"]
        assert 0 <= distance < 1e-5


def test_frechet_distance_rounds_to_256_levels() -> None:
    # Changes of less than half a level are lost by rounding, as in a file.
    real, fake = images(100, 0), round_to_256_levels(images(100, 1))
    moved = (fake + 0.4 / 255 * torch.rand_like(fake)).clamp(0, 1)
    of_fake, of_moved = (measure(FrechetDistance("digits", "train"), real, x) for x in (fake, moved))
    assert of_fake == of_moved


@pytest.mark.parametrize(("n_real", "n_fake", "few"), [(48, 60, "48 real"), (60, 48, "48 generated")])
def test_frechet_distance_of_too_few_samples_is_refused(n_real: int, n_fake: int, few: str) -> None:
    remedy = "metric.kid.subset_size=48, or an extractor of fewer features"
    with refuses("", reason=f"48 features needs 49 samples, and there are {few} ones", remedy=remedy):
        measure(FrechetDistance("digits", "train"), images(n_real, 0), images(n_fake, 1))


def test_reset_drops_generated_samples_and_keeps_real_ones() -> None:
    metric, fake = FrechetDistance("digits", "train"), images(60, 1)
    first = measure(metric, images(90, 0), fake)
    metric.reset()
    assert metric.protocol()["n_real"] == 90
    assert metric.protocol()["n_fake"] == 0
    metric.update(images(60, 2))
    assert metric.compute() != first
    metric.reset()
    metric.update(fake)
    assert metric.compute() == first


@pytest.mark.parametrize("factor", [200, 2000])
def test_inception_score_of_clear_balanced_classes_is_their_number(factor: float) -> None:
    # At 2000 the other classes' probabilities are 0 in float64.
    one_hot = torch.eye(7).repeat(10, 1)[..., None, None]
    values = measure(InceptionScore(Pixels(7, factor), splits=1), one_hot, one_hot)
    assert values == pytest.approx({"is/pixels": 7})


def test_inception_score_of_one_class_is_one() -> None:
    same = torch.zeros(40, 7, 1, 1)
    assert measure(InceptionScore(Pixels(7), splits=4), same, same)["is/pixels"] == pytest.approx(1)


def test_inception_score_is_that_of_torchmetrics() -> None:
    from torchmetrics.image.inception import InceptionScore as Reference

    fake = images(90, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of memory, and of a single split
        reference = Reference(Classifier.load("digits").double(), splits=1)
        reference.update(round_to_256_levels(fake))
        expected = float(reference.compute()[0])
    values = measure(InceptionScore("digits", splits=1), fake, fake)
    assert values["is/digits"] == pytest.approx(expected, rel=1e-9)


def test_inception_score_does_not_use_real_images() -> None:
    metric = InceptionScore("digits", splits=2)
    assert metric.references == ()
    assert metric.protocol()["n_fake"] == 0
    metric.update(images(30, 1))
    metric.reset()
    assert metric.protocol()["n_fake"] == 0


@pytest.mark.parametrize(
    ("n", "remedy"), [(9, "remove the metric"), (20, "lower it to 2"), (99, "lower it to 9")]
)
def test_inception_score_of_splits_smaller_than_the_number_of_classes_is_refused(n: int, remedy: str) -> None:
    reason = f"100 samples are needed, and there are {n} generated ones"
    with refuses(".splits", 10, reason, remedy):
        measure(InceptionScore("digits", splits=10), images(n, 0), images(n, 0))
    data = build_data(compose("data=digits"))
    with refuses(".splits", 10, reason, remedy):
        InceptionScore("digits", splits=10).setup(data, n_fake=n, n_real=n)
    of_imagenet = InceptionScore("digits", splits=2)
    of_imagenet.num_classes = 1008
    with refuses(".splits", 2, "1000 samples are needed, and there are 999 generated"):
        of_imagenet.check_sample_size(n_fake=999, n_real=0)


def new_metrics() -> list[SampleMetric]:
    return [FrechetDistance("digits", "train"), InceptionScore("digits", splits=3)]


def test_values_repeat_and_do_not_use_the_global_generator() -> None:
    values = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        values.append([measure(metric, images(80, 0), images(80, 1)) for metric in new_metrics()])
        assert torch.equal(torch.get_rng_state(), before)
    assert values[0] == values[1]


def test_nothing_warns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in new_metrics():
            measure(metric, images(80, 0), images(80, 1))


def test_protocols_and_values_are_plain() -> None:
    sha256 = Classifier.load("digits").sha256
    for metric in new_metrics():
        values = measure(metric, images(80, 0), images(60, 1))
        protocol = metric.protocol()
        assert {type(value) for value in values.values()} == {float}
        assert {type(value) for value in protocol.values()} <= {str, int, float}
        assert protocol["weights_sha256"] == sha256
        assert protocol["n_fake"] == 60
    assert new_metrics()[1].protocol()["splits"] == 3


@pytest.mark.parametrize("position", [0, 1])
def test_wrong_samples_are_refused(position: int) -> None:
    with refuses("extractor", "digits", "takes images of shape"):
        new_metrics()[position].update(torch.rand(4, 1, 28, 28))
    with refuses(remedy="rescale or clamp"):
        new_metrics()[position].update(2 * torch.rand(400, 1, 8, 8))
