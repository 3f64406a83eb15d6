"""The figures of the theory, compared with formulas; each is drawn after a few steps."""

from __future__ import annotations

import re
import sys
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from support.refusals import refuses
from support.small_games import resolved_config

from ganlab.cli import launch
from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.figures import FIGURES, figures
from ganlab.metrics.synthetic import HighQuality, ModesCovered
from ganlab.theory import inverse_transform, style
from ganlab.theory.costs import generator_cost
from ganlab.theory.runs import DensityRun, SteppedRun, frame_steps
from ganlab.training.train import train
from ganlab.visualize.images import overview, save_frames
from ganlab.visualize.sample_picture import describe_coverage
from ganlab.visualize.views import nearest_images

ANIMATED = {1, 2, 4, 6}
NEIGHBOURS = 7  # a grid of images without axes
TINY = (
    "inverse_transform.samples=40",
    "inverse_transform.frames=3",
    "matching.steps=3",
    "matching.frames=2",
    "intuition.steps=2",
    "adversarial.steps=3",
    "adversarial.frames=3",
    "ring.steps=2",
    "ring.frames=2",
    "neighbours.steps=2",
    "neighbours.rows=1",
    "neighbours.columns=3",
)
ONE_DIMENSIONAL = [str(setting) for setting in compose(config_name="figures").adversarial.settings]


def drawn(output: Path, *overrides: str) -> list[Path]:
    return figures(compose(f"output={output}", *TINY, *overrides, config_name="figures"))


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn while a test runs."""
    found: list[Figure] = []
    new_figure = style.new_figure

    def recorded(width: float, height: float) -> Figure:
        found.append(new_figure(width, height))
        return found[-1]

    monkeypatch.setattr(style, "new_figure", recorded)
    return found


def labels(axes: Axes) -> tuple[set[str], set[str]]:
    """The labels of its two axes; panels that share an axis are labelled at one of them."""
    xs = axes.get_shared_x_axes().get_siblings(axes)
    ys = axes.get_shared_y_axes().get_siblings(axes)
    return {part.get_xlabel() for part in xs} - {""}, {part.get_ylabel() for part in ys} - {""}


def legend_entries(figure: Figure) -> set[str]:
    """The entries of all of its legends."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


@pytest.mark.parametrize("number", range(1, len(FIGURES) + 1))
def test_a_figure_is_drawn(number: int, tmp_path: Path, sheets: list[Figure]) -> None:
    files = drawn(tmp_path, f"figures=[{number}]")
    assert sheets
    for figure in sheets if number != NEIGHBOURS else []:
        assert all(label for axes in figure.axes if axes.axison for label in labels(axes))
        named = {name for axes in figure.axes for name in axes.get_legend_handles_labels()[1]}
        assert len(named) >= 2
        assert legend_entries(figure) == named
    stem = f"{number}_{FIGURES[number - 1]}"
    kinds = ["png", "gif"] if number in ANIMATED else ["png"]
    assert files == [tmp_path / f"{stem}.{kind}" for kind in kinds]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for path in files:
        image = Image.open(path)
        image.load()
        assert min(image.size) > 200
        assert np.asarray(image.convert("L")).std() > 5
    if number in ANIMATED:
        animation = Image.open(files[1])
        assert animation.n_frames > 1
        ends = []
        for i in (0, animation.n_frames - 1):
            animation.seek(i)
            ends.append(np.asarray(animation.convert("RGB")))
        assert not np.array_equal(*ends)


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    def content(folder: str, *overrides: str) -> list[bytes]:
        return [path.read_bytes() for path in drawn(tmp_path / folder, "figures=[4]", *overrides)]

    torch.manual_seed(5)
    one = content("one")
    assert one == content("two")
    assert one != content("three", "seed=1")


def test_steps_equal_those_of_the_run_command(tmp_path: Path) -> None:
    settings = [*ONE_DIMENSIONAL, "logger=csv", "steps=5", f"run_dir={tmp_path / 'run'}", "seed=3"]
    expected = train(compose(*settings)).game.sample(20)
    assert torch.equal(SteppedRun(ONE_DIMENSIONAL, 3).game_after(5).sample(20), expected)


def linear(scale: float, shift: float, *overrides: str) -> DensityRun:
    """A run whose generator is scale * z + shift."""
    run = DensityRun([*ONE_DIMENSIONAL, *overrides], 0, [-4, 5])
    layer = run.game.generator.body[0]
    with torch.no_grad():
        layer.weight.fill_(scale)
        layer.bias.fill_(shift)
    return run


@pytest.mark.parametrize("scale", [0.6, -0.6])
def test_the_density_of_a_linear_generator_is_a_gaussian(scale: float) -> None:
    run = linear(scale, 1.0)
    q = run.q(0)
    exact = torch.distributions.Normal(1.0, 0.6).log_prob(run.x).exp()
    assert (q - exact).abs().max() < 2e-3 * exact.max()
    # In the tails as well, because figures take the logarithm.
    near = (run.x - 1).abs() < 3
    assert (q.log() - exact.log())[near].abs().max() < 0.02
    # Gaussians of standard deviations 0.5 and 0.6 at 2 and 1, by quadrature.
    expected = (exact - run.p).abs().sum() * (9 / len(run.x)) / 2
    assert run.total_variation(q) == pytest.approx(float(expected), abs=1e-3)


def test_the_density_of_a_uniform_latent_is_flat_and_sums_to_one() -> None:
    prior = [
        "model/prior@model.generator.prior=uniform",
        "model.generator.prior.bound=2.0",
    ]
    run = linear(0.5, 1.0, *prior)
    q = run.q(0)
    inside = (run.x - 1).abs() < 0.95
    torch.testing.assert_close(q[inside], torch.full_like(q[inside], 0.5), rtol=1e-3, atol=0)
    assert float(q.sum() * 9 / len(run.x)) == pytest.approx(1, abs=1e-5)


def test_the_density_of_a_generator_that_is_not_injective() -> None:
    """|z| of a standard normal z has twice its density, on one side."""
    run = DensityRun([*ONE_DIMENSIONAL, "model.generator.hidden=[2]"], 0, [-4, 5])
    first, _, last = list(run.game.generator.body)[:3]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        first.bias.zero_()
        last.weight.fill_(1.0)
        last.bias.zero_()
    q = run.q(0)
    exact = torch.distributions.HalfNormal(1.0).log_prob(run.x.clamp_min(0)).exp() * (run.x > 0)
    assert (q - exact)[run.x.abs() > 0.05].abs().max() < 2e-3


def test_the_oracle_and_the_optimal_discriminator() -> None:
    """Gaussians of one standard deviation s: p/q = exp(d (x - m) / s^2), d their distance, m the middle."""
    run = linear(0.5, 1.0)
    q = run.q(0)
    odds = ((run.x - 1.5) / 0.25).exp()
    near = (run.x - 1.5).abs() < 1.5
    larger = torch.maximum(odds, 1 / odds)
    ratio = run.log_ratio(q)
    accuracy, best = ratio.abs().sigmoid(), ratio.sigmoid()
    assert (accuracy - larger / (1 + larger))[near].abs().max() < 5e-3
    assert (best - odds / (1 + odds))[near].abs().max() < 5e-3
    far = (run.x < -1.5) | (run.x > 4.5)
    assert best[far].isnan().all()
    assert accuracy[far].isnan().all()


SLOPES = {
    "minimax": lambda d: -d,
    "non_saturating": lambda d: d - 1,
    "maximum_likelihood": lambda d: -d / (1 - d),
}
COSTS = {
    "minimax": lambda d: log(1 - d),
    "non_saturating": lambda d: -log(d),
    "maximum_likelihood": lambda d: -d / (1 - d),
}


def test_the_objectives_of_the_figures() -> None:
    cfg = compose(config_name="figures")
    assert list(cfg.matching.objectives) == ["moments", "mmd"]
    assert set(cfg.costs.objectives) == set(COSTS)


@pytest.mark.parametrize("name", COSTS)
def test_the_costs_are_their_formulas(name: str) -> None:
    judged = [0.01, 0.3, 0.5, 0.9, 0.99]
    objective = instantiate(resolved_config(f"objective={name}").objective)
    found, slope = generator_cost(objective, torch.tensor(judged, dtype=torch.float64).logit())
    assert found.tolist() == pytest.approx([COSTS[name](d) for d in judged])
    assert slope.tolist() == pytest.approx([SLOPES[name](d) for d in judged])


def test_the_inverse_transform_is_the_gaussian_quantile(sheets: list[Figure]) -> None:
    inverse_transform.draw(samples=20, frames=2, seed=0)
    *paths, _ = sheets[-1].axes[0].lines  # the last line is F
    ends = [(path.get_xdata()[1], path.get_ydata()[0]) for path in paths]
    assert len(ends) == 20
    normal = torch.distributions.Normal(0.0, 1.0)
    for x, u in ends:
        assert float(normal.cdf(torch.tensor(x))) == pytest.approx(u)


def test_the_nearest_images() -> None:
    candidates = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]]).view(3, 1, 2, 2)
    x = torch.tensor([[1.0, 1, 1, 0.4], [0, 0, 0, 0]]).view(2, 1, 2, 2)
    for batches in ([candidates], candidates.split(1)):
        images, distance = nearest_images(x, batches)
        assert torch.equal(images, candidates[[2, 0]])
        assert distance.tolist() == pytest.approx([sqrt(0.16 / 4), 0])


def test_the_coverage_of_the_ring_equals_the_metrics() -> None:
    settings = ["data=ring", "metric=none", "model.generator.hidden=[]", "model.generator.latent_dim=1"]
    run = SteppedRun(settings, 0)
    layer = run.game.generator.body[0]
    with torch.no_grad():
        layer.weight.fill_(0.001)
        layer.bias.copy_(torch.tensor([0.0, 1.0]))
    samples = run.game_after(0).sample(2500)
    assert describe_coverage(samples, run.data.distribution) == "modes 1 of 8, high quality 100%"
    spread = samples + 0.05 * torch.randn(2500, 2, generator=torch.Generator().manual_seed(0))
    values = {}
    for metric in (ModesCovered(), HighQuality()):
        metric.setup(run.data, 2500, 0)
        metric.update(spread)
        values |= metric.compute()
    expected = f"modes {values['modes']:.0f} of 8, high quality {values['high_quality']:.0%}"
    assert describe_coverage(spread, run.data.distribution) == expected
    assert 0 < values["high_quality"] < 0.5


def test_the_steps_of_an_animation() -> None:
    assert frame_steps(100, 5) == [0, 6, 25, 56, 100]
    assert frame_steps(1, 9) == [0, 1]


def test_an_animation_holds_its_frames_and_the_overview_four_of_them(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), "white") for _ in range(7)]
    for i, image in enumerate(frames):
        image.putpixel((i, 5), (213, 94, 0))
    sheet = overview(frames)
    marked = {(x, y) for x in range(40) for y in range(20) if sheet.getpixel((x, y)) != (255, 255, 255)}
    assert marked == {(0, 5), (20 + 2, 5), (4, 15), (20 + 6, 15)}
    animation = Image.open(save_frames(frames, tmp_path / "animation")[1])
    assert animation.n_frames == 7
    for i, image in enumerate(frames):
        animation.seek(i)
        assert np.array_equal(np.asarray(animation.convert("RGB")), np.asarray(image))
    assert [path.suffix for path in save_frames(frames[:1], tmp_path / "still")] == [".png"]


RING = "['data=ring','metric=none']"
REFUSALS = {
    "figures=[8]": r"figures=\[8\].* a list of 1 or more, each a whole number of at least 1 and at most 7",
    "figures=[ring]": r"figures=\[.*ring.*\].* must be a list of 1 or more",
    "figures=[]": r"figures=\[\]",
    "figures=3": "figures=3.* must be a list of 1 or more",
    "seed=-1": "seed=-1.* must be",
    "seed=many": "seed=many.* must be a whole number",
    "figures=[4] adversarial.frames=1": "adversarial.frames=1.* must be a whole number of at least 2",
    "figures=[2] matching.steps=0": "matching.steps=0.* must be",
    "figures=[3] intuition.steps=0": "intuition.steps=0.* must be",
    "figures=[7] neighbours.steps=many": "neighbours.steps=many.* must be",
    "figures=[7] neighbours.rows=0": "neighbours.rows=0.* must be",
    "figures=[1] inverse_transform.samples=-3": "inverse_transform.samples=-3.* must be",
    "figures=[6] ring.settings=['data=digits','metric=none']": "ring.settings=.*: .* in the plane",
    f"figures=[3] intuition.settings={RING}": r"intuition.settings: .* \[2\] with latent_dim=64",
    f"figures=[7] neighbours.settings={RING}": "neighbours.settings: this figure needs images",
    "figures=[5] costs.objectives=[mystery]": "objective=mystery: ",
    "figures=[5] costs.objectives=[mmd]": "costs.objectives=mmd: has no loss on logits",
}


@pytest.mark.parametrize("line", REFUSALS)
def test_a_refusal_is_one_line(line: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = line.split()
    tiny = [o for o in TINY if not any(g.startswith(o.split("=")[0] + "=") for g in given)]
    monkeypatch.setattr(sys, "argv", ["figures", *tiny, *given])
    with pytest.raises(SystemExit) as ended:
        launch("figures", figures)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert re.search(REFUSALS[line], error), error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refuses("output", tmp_path / "file", "cannot be written", "choose another"):
        drawn(tmp_path / "file", "figures=[5]")
