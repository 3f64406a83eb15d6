"""Modes of stacked digits, counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support.commands import play, summary
from support.refusals import refuses
from support.small_games import SHARED
from torch import Tensor, nn

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.metrics.features import Features
from ganlab.metrics.synthetic import StackedModes

needs_mnist = pytest.mark.skipif(not (SHARED / "MNIST").is_dir(), reason="needs MNIST in ../shared/data")


class Brightness(nn.Module):
    """An extractor that classifies grey images by their brightness, into ten classes."""

    name, sha256, num_features = "brightness", "", 1
    preprocessing, libraries, dtype = {}, (), torch.float64

    def extract(self, x: Tensor) -> Features:
        brightness = (x.flatten(1).mean(1, keepdim=True) * 9).round()  # [N, 1], from 0 to 9
        return Features(brightness, -(brightness - torch.arange(10)).abs())


def stacks(*numbers: int) -> Tensor:
    """Images [N, 3, 4, 4] whose channels are as bright as the digits of the numbers."""
    digits = torch.tensor([[int(digit) for digit in f"{number:03d}"] for number in numbers])
    return (digits / 9)[:, :, None, None].expand(-1, -1, 4, 4)


def test_modes_are_numbers_of_three_digits() -> None:
    metric = StackedModes(Brightness())
    metric.update(stacks(7, 7, 999))
    metric.update(stacks(123, 321))
    assert metric.references == ()
    fractions = [2 / 5, 1 / 5, 1 / 5, 1 / 5]
    reverse_kl = sum(q * math.log(1000 * q) for q in fractions)
    assert metric.compute() == pytest.approx({"modes/brightness": 4, "reverse_kl/brightness": reverse_kl})
    metric.reset()
    metric.update(stacks(*range(1000)))
    assert metric.compute() == pytest.approx({"modes/brightness": 1000, "reverse_kl/brightness": 0}, abs=1e-9)


def test_more_modes_and_less_divergence_are_better() -> None:
    metric = StackedModes(Brightness())
    assert metric.higher_is_better_by_name() == dict(zip(metric.names, (True, False), strict=True))


@needs_mnist
def test_the_data_are_three_digits_and_their_number() -> None:
    overrides = ["data=stacked_mnist", f"data.root={SHARED}", "data.size=500"]
    data, rebuilt_data = build_data(compose(*overrides)), build_data(compose(*overrides))
    digits = build_data(compose("data=mnist", f"data.root={SHARED}")).sources["train"]
    x, labels = next(data.split("train", "cpu", 100))
    assert x.shape == (100, 3, 28, 28)
    parts = data.sources["train"].parts[:100]  # the rows of the stacked digits, [100, 3]
    assert torch.equal(((x + 1) / 2 * 255).round().byte(), digits.x[parts].squeeze(2))
    assert labels.tolist() == [100 * a + 10 * b + c for a, b, c in digits.labels[parts].tolist()]
    assert torch.equal(rebuilt_data.sources["train"].parts, data.sources["train"].parts)
    assert len(data) == 500
    assert len(data.sources["test"]) == 26_000
    assert len({*data.sources["test"].labels.tolist()}) == 1000


@needs_mnist
def test_a_run_reports_its_modes(tmp_path: Path) -> None:
    line = ["data=stacked_mnist", f"data.root={SHARED}", "data.size=300", "data.test_size=400"]
    values = play(tmp_path / "run", *line, "steps=2", "evaluation.n=200", "monitor=reverse_kl")
    assert set(values) == {"modes/mnist_200", "reverse_kl/mnist_200"}
    record = summary(tmp_path / "run")["metrics"]["modes/mnist_200"]
    assert record["floor"] > 150  # of 200 different numbers, drawn from a thousand
    assert record["extractor"] == "mnist"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("data=stacked_mnist data.num_classes=10", "num_classes=10: contradicts the data. Set it to 1000"),
        ("data=stacked_mnist data.size=0", "data.size=0: must be a whole number"),
        ("data=stacked_mnist data.root=nowhere", "nowhere"),
    ],
)
def test_unsuitable_stacks_are_refused(line: str, message: str, tmp_path: Path, monkeypatch) -> None:
    def offline(*_: object) -> None:
        raise ConfigError("nowhere")

    monkeypatch.setattr("ganlab.data.vision._download", offline)
    with pytest.raises(ConfigError, match=message):
        play(tmp_path / "run", *line.split())


def test_other_data_than_stacks_are_refused(tmp_path: Path) -> None:
    with refuses("metric", "stacked", r"these samples have the shape \[1, 8, 8\]", "data=stacked_mnist"):
        play(tmp_path / "run", "metric=stacked")
