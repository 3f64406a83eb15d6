"""Metrics of toy data on constructed samples whose values are known."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import pytest
import torch
from support.commands import play, summary
from support.refusals import refuses
from torch import Tensor

from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.core.randomness import seeded_generator
from ganlab.data.toy import Toy
from ganlab.evaluate import print_records
from ganlab.metrics.synthetic import HighQuality, ModesCovered, ReverseKL, Wasserstein


def toy(*overrides: str) -> Toy:
    return instantiate(compose(*overrides, "data.size=1000").data)


def mode_values(data: Toy, *batches: Tensor) -> dict[str, float]:
    """The values of the three metrics of modes for batches of samples."""
    values = {}
    for metric in (ModesCovered(), HighQuality(), ReverseKL()):
        metric.setup(data, n_fake=1, n_real=1)
        for x in batches:
            metric.update(x)
        values |= metric.compute()
    return values


def samples_at_centres(data: Toy, counts: list[int], deviations: float = 0.0) -> Tensor:
    """Samples at the centres of the modes, `counts[i]` of them at centre i.

    They are shifted along the first axis by a number of standard deviations.
    """
    modes = data.distribution
    x = modes.centres.repeat_interleave(torch.tensor(counts), dim=0)
    x[:, 0] += deviations * modes.stds.repeat_interleave(torch.tensor(counts), dim=0)
    return x


def test_even_samples_at_all_centres_are_perfect() -> None:
    data = toy("data=ring")
    assert mode_values(data, samples_at_centres(data, [5] * 8)) == pytest.approx(
        {"modes": 8, "high_quality": 1, "reverse_kl": 0}, abs=1e-12
    )


def test_uneven_samples_have_the_divergence_of_their_fractions() -> None:
    data = toy("data=ring")
    # The modes have the fractions 1/2, 1/4, 1/4: log 8 minus their entropy, 1.5 log 2, is 1.5 log 2.
    values = mode_values(
        data,
        samples_at_centres(data, [4, 0, 2, 0, 0, 0, 0, 0]),
        samples_at_centres(data, [0, 0, 0, 2, 0, 0, 0, 0]),
    )
    assert values == pytest.approx({"modes": 3, "high_quality": 1, "reverse_kl": 1.5 * log(2)})


def test_high_quality_ends_at_three_deviations() -> None:
    data = toy("data=grid")
    inside = samples_at_centres(data, [1] * 25, deviations=2.999)
    outside = samples_at_centres(data, [3] + [0] * 24, deviations=3.001)
    values = mode_values(data, inside, outside)
    # Samples outside count as samples, but are not in the histogram.
    assert values == pytest.approx({"modes": 25, "high_quality": 25 / 28, "reverse_kl": 0}, abs=1e-12)


def test_samples_of_one_mode_or_of_none_have_the_largest_divergence() -> None:
    data = toy("data=ring")
    values = mode_values(data, samples_at_centres(data, [7] + [0] * 7))
    assert values == pytest.approx({"modes": 1, "high_quality": 1, "reverse_kl": log(8)})
    values = mode_values(data, torch.zeros(5, 2))
    assert values == pytest.approx({"modes": 0, "high_quality": 0, "reverse_kl": log(8)})


def test_modes_of_unlike_weights_and_deviations() -> None:
    data = toy("data=mixture_1d", "data.means=[-1,1]", "data.stds=[1,0.1]", "data.weights=[1,3]")
    # The sample 0.6 is 4 standard deviations from the centre 1, but only 1.6 larger ones from the centre -1.
    values = mode_values(data, torch.tensor([[0.6], [1.0]]))
    expected = 0.5 * log(0.5 / 0.25) + 0.5 * log(0.5 / 0.75)
    assert values == pytest.approx({"modes": 2, "high_quality": 1, "reverse_kl": expected})


def test_exact_samples_reach_the_values_of_the_plane() -> None:
    data = toy("data=ring")
    x, _ = data.distribution.sample(100_000, seeded_generator(0))
    values = mode_values(data, x)
    assert values["modes"] == 8
    assert values["high_quality"] == pytest.approx(1 - exp(-4.5), abs=0.002)
    # The expected value for n samples of M equally likely modes is (M - 1) / 2n.
    assert values["reverse_kl"] < 5 * 7 / 200_000


def test_real_samples_are_unused_and_reset_drops_generated_ones() -> None:
    data = toy("data=ring")
    metric = ModesCovered()
    metric.setup(data, n_fake=1, n_real=1)
    metric.update(samples_at_centres(data, [1] * 8), "train")
    with refuses(reason="modes is undefined without samples"):
        metric.compute()
    metric.update(samples_at_centres(data, [1] * 8))
    assert metric.protocol()["n_fake"] == 8
    metric.reset()
    metric.update(samples_at_centres(data, [1] + [0] * 7))
    assert metric.compute() == {"modes": 1}
    assert metric.protocol() | {"torch": ""} == {
        "num_modes": 8,
        "high_quality_within_std": 3.0,
        "n_real": 0,
        "n_fake": 1,
        "dtype": "float64",
        "torch": "",
    }


def test_wasserstein_is_the_shift_and_the_area_between_distribution_functions() -> None:
    metric = Wasserstein()
    x = torch.randn(500, 1, generator=seeded_generator(0))
    metric.update(x, "train")
    metric.update(x[torch.randperm(500)] - 0.25)
    assert metric.compute() == pytest.approx({"wasserstein": 0.25}, rel=1e-5)
    metric.reset()
    assert (metric.protocol()["n_real"], metric.protocol()["n_fake"]) == (500, 0)
    metric.update(torch.cat([x, x]))
    assert metric.compute() == pytest.approx({"wasserstein": 0}, abs=1e-9)


def test_wasserstein_of_two_gaussians_is_the_closed_form() -> None:
    # On the line the distance is the mean absolute difference of the quantiles. These are z for N(0, 1) and
    # 2 + 2 z for N(2, 4), so the difference is 2 + z. With the density phi and the distribution function Phi
    # of N(0, 1), the mean of |2 + z| is 2 (2 Phi(2) - 1) + 2 phi(2).
    probabilities = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    z = torch.special.ndtri(probabilities)[:, None]
    metric = Wasserstein()
    metric.update(z, "train")
    metric.update(2 + 2 * z)
    phi = exp(-2) / (2 * torch.pi) ** 0.5
    expected = 2 * (2 * float(torch.special.ndtr(torch.tensor(2.0).double())) - 1) + 2 * phi
    assert metric.compute()["wasserstein"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("line", "metric", "reason"),
    [
        ("data=digits metric=modes", "modes", "needs data with known modes"),
        ("data=ring metric=wasserstein", "wasserstein", r"shape \[1\], not \[2\]"),
        ("data=ring metric=[fid,is]", "fid", "measures images, and these data are points"),
    ],
)
def test_data_that_a_metric_cannot_measure_are_refused(
    line: str, metric: str, reason: str, tmp_path: Path
) -> None:
    with refuses("metric", metric, reason, "choose metric=none"):
        play(tmp_path / "run", *line.split())


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("ring", {"modes", "high_quality", "reverse_kl"}),
        ("mixture_1d", {"wasserstein", "modes", "high_quality", "reverse_kl"}),
        ("spiral data.components=12", {"modes", "high_quality", "reverse_kl"}),
    ],
)
def test_a_run_is_measured_by_the_metrics_of_its_data(
    data: str, names: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"data={data}".split()
    values = play(tmp_path / "run", *line, "data.size=400", "steps=2", "evaluation.n=300")
    assert set(values) == names
    records = summary(tmp_path / "run")["metrics"]
    assert records["modes"]["n_fake"] == 300
    assert records["modes"]["floor"] == compose(*line).data.num_classes
    assert records["high_quality"]["floor"] > 0.95
    print_records(records)
    assert "images:" not in capsys.readouterr().out  # the floor is that of points
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 1


def test_the_published_number_of_samples() -> None:
    assert compose("data=grid").evaluation.n == 2500
    assert compose("data=grid", "evaluation.n=7").evaluation.n == 7
