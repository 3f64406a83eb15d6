"""Errors of classifiers that a game makes, against scikit-learn and by hand."""

from __future__ import annotations

import pytest
import torch
from commands import play
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from table import SMALL, game

from ganlab.cli import compose
from ganlab.config import build_data, build_game
from ganlab.errors import Refused
from ganlab.metrics.classification import ClassificationAccuracy
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.transfer import LinearProbe, NearestNeighbourError


def digits(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return next(build_data(compose(*SMALL)).split(split, "cpu", 2000))


def test_the_nearest_sample_says_the_class() -> None:
    cfg = compose(*SMALL, "trick=label_conditioning")
    played = build_game(cfg)
    evaluation = Evaluation({"one_nn": NearestNeighbourError()}, build_data(cfg), n=200, n_real=10, seed=0)
    evaluation.suits(played)
    found = evaluation(played)
    samples, (x, labels) = played.sample(200, seed=0), digits("test")
    machine = KNeighborsClassifier(1).fit(samples.flatten(1), played.labels(200))
    assert found == {"1nn_error/test_200": pytest.approx(1 - machine.score(x.flatten(1), labels))}
    record = evaluation.record(found, played)["1nn_error/test_200"]
    assert (record["n_fake"], record["split"]) == (200, "test")
    assert "floor" not in record


def test_a_generator_that_knows_the_classes_makes_none_wrong() -> None:
    x, labels = digits("test")
    cfg = compose(*SMALL, "trick=label_conditioning")
    played, metric = build_game(cfg), NearestNeighbourError()
    metric.check(build_data(cfg), 360, 10)
    played.sample, played.labels = lambda n, seed: x, lambda n: labels
    metric.look(played, 0)
    assert metric.compute() == {"1nn_error/test_360": 0.0}


def test_a_classifier_that_learned_from_samples_is_tested_on_real_images() -> None:
    """A generator that repeats the training images teaches as much as they do, one of noise nothing."""
    cfg = compose(*SMALL, "trick=label_conditioning")
    data, played = build_data(cfg), build_game(cfg)
    x, y = (torch.cat(part) for part in zip(*data.choice("train", 600, "cpu", 1000), strict=True))
    noise = 2 * torch.rand_like(x) - 1
    before = torch.get_rng_state()
    metric = ClassificationAccuracy(epochs=12, lr=0.004)
    metric.check(data, 600, 10)
    found = {}
    for name, samples in {"copies": x, "noise": noise}.items():
        played.sample, played.labels = lambda n, seed, samples=samples: samples, lambda n: y
        metric.look(played, 0)
        found[name] = metric.compute()["classification_accuracy/test_600"]
        assert metric.beside()["real"] == found["copies"]
        metric.reset()
    assert torch.equal(torch.get_rng_state(), before)
    assert found["copies"] > 0.8
    assert found["noise"] < 0.3


def test_the_probe_is_a_linear_machine_on_the_features() -> None:
    cfg = compose(*SMALL)
    played = build_game(cfg)
    evaluation = Evaluation({"probe": LinearProbe(500, 0.1)}, build_data(cfg), n=10, n_real=10, seed=0)
    evaluation.suits(played)
    found = evaluation(played)["linear_probe/test_500"]
    chosen = build_data(cfg).choice("train", 500, "cpu", 500)
    (x, y), (t, s) = next(chosen), digits("test")
    played.discriminator.eval()
    seen = [played.discriminator(part).features.detach() for part in (x, t)]
    mean, spread = seen[0].mean(0), seen[0].std(0, correction=0)
    spread[spread == 0] = 1
    machine = LinearSVC(C=0.1, dual=False, random_state=0).fit((seen[0] - mean) / spread, y)
    assert found == pytest.approx(1 - machine.score((seen[1] - mean) / spread, s), abs=0.006)  # two of 360
    assert 0.02 < found < 0.5


def test_a_game_without_a_discriminator_has_nothing_to_probe() -> None:
    with pytest.raises(Refused, match="linear_probe/test needs a discriminator"):
        LinearProbe(10, 1.0).suits(game("mmd").game)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metric=one_nn", "1nn_error/test_60 needs a generator that can be asked for classes"),
        ("metric=classification_accuracy", "classification_accuracy/test_60 needs a generator that can be"),
        (
            "metric=classification_accuracy metric.classification_accuracy.lr=-1 trick=label_conditioning",
            "metric.classification_accuracy.lr=-1 must be a positive number",
        ),
        ("metric=linear_probe trick=label_conditioning", "without their classes, which this one does not"),
        ("metric=linear_probe trick=packing", "shows the discriminator single images"),
        (
            "metric=linear_probe metric.linear_probe.cost=0",
            "metric.linear_probe.cost=0 must be a positive number",
        ),
        ("metric=linear_probe metric.linear_probe.n_train=0", "n_train=0 must be a whole number"),
    ],
)
def test_what_no_such_classifier_can_be_made_of_is_refused(line: str, message: str, tmp_path) -> None:
    with pytest.raises(Refused, match=message):
        play(tmp_path / "run", *line.split())
