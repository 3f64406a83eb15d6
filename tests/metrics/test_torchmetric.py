"""Metrics of torchmetrics in a run: what they are called with, what is kept, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import assert_same_run, checkpoint, play, resume, rows, summary
from support.refusals import refuses
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image import FrechetInceptionDistance, PeakSignalNoiseRatio, TotalVariation

from ganlab import load
from ganlab.config.build import build_data, instantiate_group
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.metrics.base import Game, GameMetric
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.torchmetric import adapt
from ganlab.run import run

HERE = __name__


class Quarter(nn.Module):
    """The features of images: four of their pixels."""

    num_features = 4

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 2:4, 2:4].flatten(1).float() / 255


class Gap(Metric):
    """The distance of the mean of all values of real and of generated images."""

    higher_is_better = False
    ranges: list[tuple[float, float]] = []  # what it was called with  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(2))
        self.add_state("counts", torch.zeros(2))

    def update(self, images: Tensor, real: bool) -> None:
        Gap.ranges.append((float(images.min()), float(images.max())))
        self.sums[int(real)] += images.sum()
        self.counts[int(real)] += images.numel()

    def compute(self) -> Tensor:
        means = self.sums / self.counts
        return (means[0] - means[1]).abs()


class SignedGap(Gap):
    image_range = (-1, 1)


class RawGap(Gap):
    image_range = None


class Undirected(Gap):
    higher_is_better = None


class Mapped(Gap):
    def compute(self) -> Any:
        return {"a": 1.0}


class Buggy(Gap):
    def compute(self) -> Tensor:
        return self.total / 2


class Infinite(Gap):
    def compute(self) -> Tensor:
        return torch.tensor(torch.inf)


class Renamed(Gap):
    def update(self, fake: Tensor, is_real: bool) -> None:
        super().update(fake, is_real)


class Late(GameMetric):
    """Fails in the fourth step, until it is mended."""

    names = ("late",)
    higher_is_better = True
    mended = False

    def measure(self, game: Game, seed: int) -> float:
        if game.run_step == 4 and not Late.mended:
            raise RuntimeError("too late")
        return game.run_step

    def protocol(self) -> dict[str, int]:
        return {}


class Many(Gap):
    def update(self, a: Tensor, b: Tensor, c: Tensor) -> None: ...


class Random(Gap):
    def compute(self) -> Tensor:
        return torch.rand(())


def chosen(target: str, **settings: Any) -> list[str]:
    nodes = {"_target_": target, **settings}
    return ["metric=none", *(f"+metric.mine.{key}={value}" for key, value in nodes.items())]


def evaluation(*overrides: str, n: int = 100, n_real: int = 100) -> Evaluation:
    cfg = compose(*overrides)
    return Evaluation(instantiate_group(cfg, "metric"), build_data(cfg), n, n_real, 0)


def measured(evaluated: Evaluation, x: Tensor) -> float:
    (value,) = evaluated.measure([x], torch.device("cpu")).values()
    return value


def test_values_are_those_of_torchmetrics_itself_at_each_evaluation() -> None:
    data = build_data(compose())
    real, fake = (next(data.subset(split, 100, "cpu", 100))[0] for split in ("train", "test"))
    levels = [((x + 1) * 127.5).round().byte() for x in (real, fake)]
    expected = FrechetInceptionDistance(Quarter(), input_img_size=(1, 8, 8))
    for x, is_real in zip(levels, (True, False), strict=True):
        expected.update(x, real=is_real)
    evaluated = evaluation(
        *chosen("torchmetrics.image.FrechetInceptionDistance", input_img_size="[1,8,8]"),
        f"+metric.mine.feature._target_={HERE}.Quarter",
    )
    for _ in range(2):  # real samples are kept, generated ones are not
        assert measured(evaluated, fake) == pytest.approx(float(expected.compute()), rel=1e-5)
    assert evaluated.floors["mine/train_100"]["floor_split"] == "test"
    protocol = evaluated.protocols["mine/train_100"]
    assert protocol["metric._target_"] == "torchmetrics.image.FrechetInceptionDistance"
    assert (protocol["n_real"], protocol["n_fake"], protocol["image_range"]) == (100, 100, "uint8")
    assert protocol["torchmetrics"]
    assert measured(evaluated, -fake) > 2 * float(expected.compute())


def test_of_several_results_the_first_is_the_value_and_random_subsets_are_fixed() -> None:
    overrides = chosen("torchmetrics.image.KernelInceptionDistance", subset_size=50, subsets=5)
    evaluated = evaluation(*overrides, f"+metric.mine.feature._target_={HERE}.Quarter")
    fake = torch.rand(100, 1, 8, 8) * 2 - 1
    torch.default_generator.manual_seed(1)
    one = measured(evaluated, fake)
    torch.default_generator.manual_seed(2)
    state = torch.get_rng_state()
    assert measured(evaluated, fake) == one
    assert torch.equal(torch.get_rng_state(), state)
    assert evaluated.protocols["mine/train_100"]["beside"].keys() == {"result_2"}
    with refuses("metric.mine.subset_size", 50, "there are 49 generated"):
        evaluation(*overrides, f"+metric.mine.feature._target_={HERE}.Quarter", n=49)


@pytest.mark.parametrize(("name", "low", "high"), [("Gap", 0, 1), ("SignedGap", -1, 1), ("RawGap", -1, 1)])
def test_images_are_in_the_range_that_the_metric_declares(name: str, low: int, high: int) -> None:
    Gap.ranges.clear()
    x = torch.full((100, 1, 8, 8), -1.0)
    x[0] = 1
    measured(evaluation(*chosen(f"{HERE}.{name}")), x)
    assert Gap.ranges[-1] == (low, high)


def test_a_metric_of_generated_images_alone_has_no_reference() -> None:
    evaluated = evaluation(*chosen("torchmetrics.image.TotalVariation", reduction="mean"))
    x = torch.rand(100, 1, 8, 8) * 2 - 1
    expected = TotalVariation("mean")
    expected.update(((x + 1) * 127.5).round() / 255)
    assert measured(evaluated, x) == pytest.approx(float(expected.compute()))
    assert evaluated.protocols["mine/100"]["split"] == "none"


def test_pairs_are_compared_in_paired_data_only(tmp_path: Path) -> None:
    overrides = chosen("torchmetrics.image.PeakSignalNoiseRatio", data_range=1.0)
    with refuses("metric", "mine", "each condition has its right sample"):
        evaluation(*overrides)
    small = ("model.generator.width=4", "model.discriminator.width=4", "steps=2", "logger=csv")
    cfg = compose("experiment=pix2pix_digits", *overrides, *small, f"run_dir={tmp_path / 'run'}")
    found = run(cfg, [])
    data, game = build_data(cfg), load(tmp_path / "run")
    expected = PeakSignalNoiseRatio(data_range=1.0)
    for i, (x, condition) in enumerate(data.split("test", "cpu", 100)):
        pair = (game.sample(len(x), seed=i, conditions=condition), x)
        expected.update(*(((y + 1) * 127.5).round() / 255 for y in pair))
    assert found == {"mine/test_360": pytest.approx(float(expected.compute()), rel=1e-4)}
    assert summary(tmp_path / "run")["metrics"]["mine/test_360"]["better"] == "higher"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (f"{HERE}.Undirected", "whether higher is better. Set the attribute"),
        (f"{HERE}.Many", "has update"),
        ("torchmetrics.image.FrechetInceptionDistance", "channels"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_training(target: str, reason: str) -> None:
    settings = {} if HERE in target else {"feature._target_": f"{HERE}.Three", "input_img_size": "[1,8,8]"}
    with pytest.raises(ConfigError, match=reason):
        evaluation(*chosen(target, **settings))


class Three(nn.Conv2d):
    """Features of images with three channels."""

    num_features = 4

    def __init__(self) -> None:
        super().__init__(3, 4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).flatten(1)


def test_results_that_are_no_number_are_refused_by_name() -> None:
    with refuses("metric", "mine", "computes dict"):
        measured(evaluation(*chosen(f"{HERE}.Mapped")), torch.zeros(100, 1, 8, 8))


@pytest.mark.parametrize(("name", "reason"), [("Mapped", "computes dict"), ("Buggy", "no attribute 'total'")])
def test_a_metric_that_cannot_compute_is_refused_before_the_first_step(
    name: str, reason: str, tmp_path: Path
) -> None:
    with refuses("metric", "mine", reason):
        play(tmp_path / "run", *chosen(f"{HERE}.{name}"), "steps=2")
    assert not (tmp_path / "run").exists()


def test_a_metric_that_fails_later_loses_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = (*chosen(f"{HERE}.Late"), "evaluate_every=4", "checkpoint_every=100", "steps=6", "log_every=1")
    with pytest.raises(RuntimeError, match="too late"):
        play(tmp_path / "run", *late)
    assert summary(tmp_path / "run")["status"] == "failed"
    assert checkpoint(tmp_path / "run")["state_dict"]["game._extra_state"]["step"] == 4
    monkeypatch.setattr(Late, "mended", True)
    assert resume(tmp_path / "run") == {"late": 6}
    play(tmp_path / "whole", *late)
    # The row of the step whose metric failed has all but the metric.
    whole, continued = rows(tmp_path / "whole"), rows(tmp_path / "run")
    assert continued == [{**row, "late": row["late"] if row["step"] == "6" else ""} for row in whole]
    found, expected = (checkpoint(tmp_path / name)["state_dict"] for name in ("run", "whole"))
    assert all(torch.equal(found[name], value) for name, value in expected.items() if torch.is_tensor(value))


def test_a_value_that_is_not_finite_says_where_it_may_come_from(tmp_path: Path, capsys) -> None:
    assert play(tmp_path / "run", *chosen(f"{HERE}.Infinite"), "steps=1") == {"mine/train_100": torch.inf}
    assert "(not finite, as with too few samples" in capsys.readouterr().out


def test_a_parameter_of_another_name_is_named() -> None:
    with refuses("metric", "mine", r"has update\(fake, is_real\) without a parameter named real"):
        evaluation(*chosen(f"{HERE}.Renamed"))


def test_other_classes_are_refused() -> None:
    assert adapt(nn.Identity(), "mine", {}, "train").__class__ is nn.Identity
    with refuses("metric.mine._target_", "torch.nn.Identity", "SampleMetric"):
        instantiate_group(compose(*chosen("torch.nn.Identity")), "metric")


def test_a_resumed_run_has_the_numbers_of_an_uninterrupted_one(tmp_path: Path) -> None:
    overrides = [*chosen(f"{HERE}.Random"), "+metric.gap._target_=" + f"{HERE}.Gap", "evaluate_every=2"]
    play(tmp_path / "whole", *overrides, "steps=6")
    play(tmp_path / "part", *overrides, "steps=4")
    resume(tmp_path / "part", "steps=6")
    assert_same_run(tmp_path / "whole", tmp_path / "part")
