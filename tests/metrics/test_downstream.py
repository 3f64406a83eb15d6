"""Downstream metrics against scikit-learn, and against values computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from support.commands import play
from support.refusals import refuses
from support.small_games import SMALL, game
from torch import nn

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.metrics.base import GENERATED
from ganlab.metrics.downstream import ClassificationAccuracy, LinearProbe, NearestNeighbourError
from ganlab.metrics.evaluation import Evaluation
from ganlab.networks import dcgan, mlp
from ganlab.networks.base import replace_modules
from ganlab.networks.hidden_activations import hidden_activations


def digits(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images [N, 1, 8, 8] of a split in [-1, 1], and their classes [N]."""
    return next(build_data(compose(*SMALL)).split(split, "cpu", 2000))


def test_the_class_is_that_of_the_nearest_sample() -> None:
    cfg = compose(*SMALL, "trick=label_conditioning")
    played = build_game(cfg)
    evaluation = Evaluation({"one_nn": NearestNeighbourError()}, build_data(cfg), n=200, n_real=10, seed=0)
    evaluation.check_game(played)
    values = evaluation(played)
    classes = build_data(cfg).proportional_labels(200)  # as frequent as in the training data
    samples, (x, labels) = played.sample(200, seed=0, conditions=classes), digits("test")
    classifier = KNeighborsClassifier(n_neighbors=1).fit(samples.flatten(1), classes)
    assert values == {"1nn_error/test_200": pytest.approx(1 - classifier.score(x.flatten(1), labels))}
    record = evaluation.records(values, played)["1nn_error/test_200"]
    assert (record["n_fake"], record["split"]) == (200, "test")
    assert "floor" not in record


def test_a_metric_that_measures_the_game_is_not_measured_with_real_samples() -> None:
    class CountedError(NearestNeighbourError):
        def update(self, x: torch.Tensor, split: str = GENERATED) -> None:
            received.append((split, len(x)))

    cfg, received = compose(*SMALL, "trick=label_conditioning"), []
    Evaluation({"one_nn": CountedError()}, build_data(cfg), n=20, n_real=10, seed=0)(build_game(cfg))
    assert sum(n for split, n in received if split == GENERATED) == 20


def test_a_generator_that_repeats_the_test_images_has_no_error() -> None:
    x, labels = digits("test")
    cfg = compose(*SMALL, "trick=label_conditioning")
    played, metric = build_game(cfg), NearestNeighbourError()
    metric.setup(build_data(cfg), n_fake=360, n_real=10)
    played.sample, played.asked = lambda n, seed, label: x, lambda n, label: labels
    metric.observe_game(played, seed=0)
    assert metric.compute() == {"1nn_error/test_360": 0.0}


def test_a_classifier_trained_on_samples_is_tested_on_real_images() -> None:
    """Copies of the training images are as good as these images, and noise is as bad as guesses."""
    cfg = compose(*SMALL, "trick=label_conditioning")
    data, played = build_data(cfg), build_game(cfg)
    x, y = next(data.subset("train", 600, "cpu", batch_size=600))
    noise = 2 * torch.rand_like(x) - 1
    before = torch.get_rng_state()
    metric = ClassificationAccuracy(epochs=12, lr=0.004)
    metric.setup(data, n_fake=600, n_real=10)
    accuracies = {}
    for name, samples in {"copies": x, "noise": noise}.items():
        played.sample, played.asked = lambda n, seed, label, samples=samples: samples, lambda n, label: y
        metric.observe_game(played, seed=0)
        accuracies[name] = metric.compute()["classification_accuracy/test_600"]
        assert metric.extras["real"] == accuracies["copies"]
        metric.reset()
    assert torch.equal(torch.get_rng_state(), before)
    assert accuracies["copies"] > 0.8
    assert accuracies["noise"] < 0.3


def test_the_probe_is_a_linear_classifier_of_the_features_of_all_layers() -> None:
    cfg = compose(*SMALL, "model.discriminator.hidden=[16,3]")  # the last layer alone is not informative
    played = build_game(cfg)
    probe = LinearProbe(n_train=500, cost=0.1)
    evaluation = Evaluation({"probe": probe}, build_data(cfg), n=10, n_real=10, seed=0)
    evaluation.check_game(played)
    values = evaluation(played)
    record = evaluation.records(values, played)["linear_probe/test_500"]
    assert record["features"] == "all hidden layers, max-pooled to 4x4"
    flatten, linear1, activation1, linear2, activation2 = played.discriminator.body

    def features(x: torch.Tensor) -> torch.Tensor:
        hidden = activation1(linear1(flatten(x)))
        return torch.cat([hidden, activation2(linear2(hidden))], 1).detach()

    x, labels = next(build_data(cfg).subset("train", 500, "cpu", 500))
    x_test, labels_test = digits("test")
    mean, std = features(x).mean(0), features(x).std(0, correction=0)
    std[std == 0] = 1
    classifier = LinearSVC(C=0.1, dual=False, random_state=0).fit((features(x) - mean) / std, labels)
    expected = 1 - classifier.score((features(x_test) - mean) / std, labels_test)
    assert values["linear_probe/test_500"] == pytest.approx(expected, abs=0.006)  # two of 360 images
    assert 0.02 < expected < 0.5


def test_feature_maps_are_pooled_to_a_grid_unless_they_are_smaller() -> None:
    discriminator = dcgan.discriminator(width=3, kernel=4, slope=0.2, shape=[1, 32, 16]).eval()
    discriminator.body.append(nn.Linear(discriminator.num_features, 5))
    discriminator.body.append(nn.Tanh())
    x = torch.rand(6, 1, 32, 16)
    activations, output = [], x
    for layer in discriminator.body:
        output = layer(output)
        if isinstance(layer, nn.LeakyReLU | nn.Tanh):
            activations.append(output)
    assert [tuple(activation.shape[1:]) for activation in activations] == [(3, 16, 8), (6, 8, 4), (5,)]
    # A grid of 4 x 4 has cells of 4 x 2 pixels in maps of 16 x 8, and of 2 x 1 pixels in maps of 8 x 4.
    pooled_by_hand = [
        activations[0].unflatten(3, (4, 2)).unflatten(2, (4, 4)).amax((3, 5)).flatten(1),
        activations[1].unflatten(2, (4, 2)).amax(3).flatten(1),
        activations[2],
    ]
    pooled = hidden_activations(discriminator, x)
    assert all(torch.equal(*pair) for pair in zip(pooled, pooled_by_hand, strict=True))
    small = dcgan.discriminator(width=3, kernel=4, slope=0.2, shape=[1, 8, 8]).eval()
    activations = hidden_activations(small, x[..., :8, :8])
    assert [activation.shape[1] for activation in activations] == [3 * 16, 6 * 4]
    assert not any(layer._forward_hooks for layer in discriminator.modules())


@pytest.mark.parametrize(
    ("tricks", "model", "widths"),
    [
        ("spectral_norm minibatch_discrimination", "dcgan", [64, 32]),
        ("normalisation noise_layers", "dcgan", [64, 32]),
        ("feature_autoencoder weight_norm", "mlp", [16]),  # without the decoder, which receives no images
        ("semi_supervised diff_augment", "dcgan", [64, 32]),
        ("label_conditioning", "mlp", [16]),  # by projection, on which the hidden layers do not depend
    ],
)
def test_hidden_layers_are_found_in_networks_that_tricks_changed(
    tricks: str, model: str, widths: list[int]
) -> None:
    override = "data.labelled=10" if "semi" in tricks else "data.batch_size=16"
    projection = ["trick.label_conditioning.discriminator=projection"] if "label" in tricks else []
    played = game("non_saturating", tricks.split(), "alternating", override, *projection, model=model).game
    LinearProbe(n_train=10, cost=1.0).check_game(played)
    x = torch.rand(4, 1, 8, 8)
    discriminator = played.discriminator.eval()
    activations = hidden_activations(discriminator, x)
    assert [activation.shape[1] for activation in activations] == widths
    of_first = torch.cat(hidden_activations(discriminator, x[:1]), 1)
    assert torch.allclose(torch.cat(activations, 1)[:1], of_first, atol=1e-6)


def test_a_discriminator_without_activations_is_refused() -> None:
    played = game().game
    replace_modules(played.discriminator.body, nn.LeakyReLU, lambda _: nn.Identity())
    with refuses(reason="found no hidden layer in the discriminator"):
        LinearProbe(n_train=10, cost=1.0).check_game(played)


def test_maxout_and_softplus_are_activations() -> None:
    discriminator = mlp.discriminator(
        [6, 4], maxout=2, slope=0.0, dropout=0.5, input_dropout=0.2, shape=[1, 4, 4]
    ).eval()
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(hidden_activations(discriminator, x)[1], discriminator.body(x))
    replace_modules(discriminator.body, mlp.Maxout, lambda layer: nn.Sequential(layer, nn.Softplus()))
    activations = hidden_activations(discriminator, x)
    assert [activation.shape[1] for activation in activations] == [6, 6, 4, 4]


def test_a_game_without_a_discriminator_cannot_be_probed() -> None:
    with refuses(reason="needs a discriminator, and this game has none"):
        LinearProbe(n_train=10, cost=1.0).check_game(game("mmd").game)


@pytest.mark.parametrize(
    ("line", "key", "value", "reason"),
    [
        (
            "metric=one_nn trick=label_conditioning evaluation.n=9",
            "evaluation.n",
            9,
            "cannot learn 10 classes from 9 samples",
        ),
        (
            "metric=linear_probe metric.linear_probe.n_train=9",
            "metric.linear_probe.n_train",
            9,
            "cannot learn 10 classes from 9 samples",
        ),
        ("metric=one_nn", "metric", "one_nn", "needs a class-conditional generator"),
        ("metric=classification_accuracy", "metric", "classification_accuracy", "class-conditional"),
        (
            "metric=linear_probe trick=label_conditioning",
            "metric",
            "linear_probe",
            "single images without classes",
        ),
        ("metric=linear_probe trick=minibatch_stddev", "metric", "linear_probe", "single images"),
        ("metric=linear_probe trick=packing", "metric", "linear_probe", "single images"),
        ("metric=linear_probe model=ali", "metric", "linear_probe", "judges codes"),
    ],
)
def test_unsuitable_games_and_too_few_samples_are_refused(
    line: str, key: str, value: Any, reason: str, tmp_path
) -> None:
    with refuses(key, value, reason):
        play(tmp_path / "run", *line.split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "metric=classification_accuracy metric.classification_accuracy.lr=-1 trick=label_conditioning",
            "metric.classification_accuracy.lr=-1.* must be a positive number",
        ),
        (
            "metric=linear_probe metric.linear_probe.cost=0",
            "metric.linear_probe.cost=0.* must be a positive number",
        ),
        ("metric=linear_probe metric.linear_probe.n_train=0", "n_train=0.* must be a whole number"),
    ],
)
def test_settings_out_of_range_are_refused(line: str, message: str, tmp_path) -> None:
    with pytest.raises(ConfigError, match=message):
        play(tmp_path / "run", *line.split())
