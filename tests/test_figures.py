"""The figures: what they show against formulas, and that each is drawn from a few rounds."""

from __future__ import annotations

import sys
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from support.small_games import composed

from ganlab.config.build import instantiate
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.figures import NAMES, figures, main
from ganlab.metrics.modes import HighQuality, ModesCovered
from ganlab.theory import style
from ganlab.theory.adversarial import best
from ganlab.theory.costs import cost
from ganlab.theory.density import Line
from ganlab.theory.intuition import accuracy
from ganlab.theory.inverse_transform import transform
from ganlab.theory.runs import Run, schedule
from ganlab.theory.style import overview, save_frames
from ganlab.training.session import Session
from ganlab.visualize.latent import nearest_images
from ganlab.visualize.portraits import describe_coverage

FILMS = {1, 2, 4, 6}
SHEET = 7  # of images: it has no axes
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
LINE = [str(setting) for setting in compose(config_name="figures").adversarial.settings]


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
    """What stands at its two axes; panels that share an axis are labelled at one of them."""
    along = axes.get_shared_x_axes().get_siblings(axes)
    up = axes.get_shared_y_axes().get_siblings(axes)
    return {part.get_xlabel() for part in along} - {""}, {part.get_ylabel() for part in up} - {""}


def explained(figure: Figure) -> set[str]:
    """The entries of all of its legends."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return {text.get_text() for legend in legends for text in legend.get_texts()}


@pytest.mark.parametrize("number", range(1, len(NAMES) + 1))
def test_a_figure_is_drawn(number: int, tmp_path: Path, sheets: list[Figure]) -> None:
    files = drawn(tmp_path, f"figures=[{number}]")
    assert sheets
    for figure in sheets if number != SHEET else []:
        assert all(at for axes in figure.axes if axes.axison for at in labels(axes))
        named = {name for axes in figure.axes for name in axes.get_legend_handles_labels()[1]}
        assert len(named) >= 2
        assert explained(figure) == named
    stem = f"{number}_{NAMES[number - 1]}"
    kinds = ["png", "gif"] if number in FILMS else ["png"]
    assert files == [tmp_path / f"{stem}.{kind}" for kind in kinds]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for path in files:
        image = Image.open(path)
        image.load()
        assert min(image.size) > 200
        assert np.asarray(image.convert("L")).std() > 5
    if number in FILMS:
        film = Image.open(files[1])
        assert film.n_frames > 1
        shown = []
        for i in (0, film.n_frames - 1):
            film.seek(i)
            shown.append(np.asarray(film.convert("RGB")))
        assert not np.array_equal(*shown)


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    def content(folder: str, *overrides: str) -> list[bytes]:
        return [path.read_bytes() for path in drawn(tmp_path / folder, "figures=[4]", *overrides)]

    torch.manual_seed(5)
    one = content("one")
    assert one == content("two")
    assert one != content("three", "seed=1")


def test_the_rounds_are_those_of_the_run_command(tmp_path: Path) -> None:
    settings = [*LINE, "logger=csv", "steps=5", f"run_dir={tmp_path / 'run'}", "seed=3"]
    session = Session(compose(*settings))
    session.play()
    expected = session.module.game.sample(20)
    assert torch.equal(Run(LINE, 3).play(5).sample(20), expected)


def linear(scale: float, shift: float, *overrides: str) -> Line:
    """A game whose generator is linear, at given weights."""
    line = Line([*LINE, *overrides], 0, [-4, 5])
    layer = line.run.game.generator.body[0]
    with torch.no_grad():
        layer.weight.fill_(scale)
        layer.bias.fill_(shift)
    return line


@pytest.mark.parametrize("scale", [0.6, -0.6])
def test_the_density_of_a_linear_generator_is_a_gaussian(scale: float) -> None:
    line = linear(scale, 1.0)
    made = line.made(0)
    exact = torch.distributions.Normal(1.0, 0.6).log_prob(line.x).exp()
    assert (made - exact).abs().max() < 2e-3 * exact.max()
    # To the tails: the picture takes its logarithm.
    near = (line.x - 1).abs() < 3
    assert (made.log() - exact.log())[near].abs().max() < 0.02
    # Two Gaussians of deviations 0.5 and 0.6 at 2 and 1, by quadrature.
    expected = (exact - line.true).abs().sum() * (9 / len(line.x)) / 2
    assert line.distance(made) == pytest.approx(float(expected), abs=1e-3)


def test_the_density_of_a_uniform_latent_is_flat_and_of_one() -> None:
    prior = [
        "model/prior@model.generator.prior=uniform",
        "model.generator.prior.bound=2.0",
    ]
    line = linear(0.5, 1.0, *prior)
    made = line.made(0)
    inside = (line.x - 1).abs() < 0.95
    torch.testing.assert_close(made[inside], torch.full_like(made[inside], 0.5), rtol=1e-3, atol=0)
    assert float(made.sum() * 9 / len(line.x)) == pytest.approx(1, abs=1e-5)


def test_a_fold_adds_its_branches() -> None:
    """|z| of a standard normal z: twice the density, on one side."""
    line = Line([*LINE, "model.generator.hidden=[2]"], 0, [-4, 5])
    first, _, last = list(line.run.game.generator.body)[:3]
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        first.bias.zero_()
        last.weight.fill_(1.0)
        last.bias.zero_()
    made = line.made(0)
    exact = torch.distributions.HalfNormal(1.0).log_prob(line.x.clamp_min(0)).exp() * (line.x > 0)
    assert (made - exact)[line.x.abs() > 0.05].abs().max() < 2e-3


def test_the_oracle_and_the_best_discriminator_where_they_are_drawn() -> None:
    """Equal deviations s: the odds p/q are exp(d (x - m) / s^2), with d and m of the two centres."""
    line = linear(0.5, 1.0)
    made = line.made(0)
    odds = ((line.x - 1.5) / 0.25).exp()
    near = (line.x - 1.5).abs() < 1.5
    larger = torch.maximum(odds, 1 / odds)
    assert (accuracy(line, made) - larger / (1 + larger))[near].abs().max() < 5e-3
    assert (best(line, made) - odds / (1 + odds))[near].abs().max() < 5e-3
    far = (line.x < -1.5) | (line.x > 4.5)
    assert best(line, made)[far].isnan().all()
    assert accuracy(line, made)[far].isnan().all()


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


def test_the_objectives_that_are_drawn() -> None:
    cfg = compose(config_name="figures")
    assert list(cfg.matching.objectives) == ["moments", "mmd"]
    assert set(cfg.costs.objectives) == set(COSTS)


@pytest.mark.parametrize("name", COSTS)
def test_the_costs_are_their_formulas(name: str) -> None:
    judged = [0.01, 0.3, 0.5, 0.9, 0.99]
    objective = instantiate(composed(f"objective={name}").objective)
    found, slope = cost(objective, torch.tensor(judged, dtype=torch.float64).logit())
    assert found.tolist() == pytest.approx([COSTS[name](d) for d in judged])
    assert slope.tolist() == pytest.approx([SLOPES[name](d) for d in judged])


def test_the_inverse_transform_is_the_gaussian_quantile() -> None:
    u = torch.tensor([0.5, 0.8413447460685429, 0.025], dtype=torch.float64)
    assert transform(u).tolist() == pytest.approx([0, 1, -1.959963984540054])


def test_the_nearest_is_the_nearest() -> None:
    among = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]]).view(3, 1, 2, 2)
    x = torch.tensor([[1.0, 1, 1, 0.4], [0, 0, 0, 0]]).view(2, 1, 2, 2)
    for batches in ([among], among.split(1)):
        images, distance = nearest_images(x, batches)
        assert torch.equal(images, among[[2, 0]])
        assert distance.tolist() == pytest.approx([sqrt(0.16 / 4), 0])


def test_what_is_told_of_the_ring_is_what_the_metrics_say() -> None:
    settings = ["data=ring", "metric=none", "model.generator.hidden=[]", "model.generator.latent_dim=1"]
    run = Run(settings, 0)
    layer = run.game.generator.body[0]
    with torch.no_grad():
        layer.weight.fill_(0.001)
        layer.bias.copy_(torch.tensor([0.0, 1.0]))
    samples = run.play(0).sample(2500)
    assert describe_coverage(samples, run.data.distribution) == "modes 1 of 8, high quality 100%"
    spread = samples + 0.05 * torch.randn(2500, 2, generator=torch.Generator().manual_seed(0))
    numbers = {}
    for metric in (ModesCovered(), HighQuality()):
        metric.check(run.data, 2500, 0)
        metric.update(spread, real=False)
        numbers |= metric.compute()
    told = f"modes {numbers['modes']:.0f} of 8, high quality {numbers['high_quality']:.0%}"
    assert describe_coverage(spread, run.data.distribution) == told
    assert 0 < numbers["high_quality"] < 0.5


def test_the_rounds_that_are_drawn() -> None:
    assert list(schedule(100, 5)) == [0, 6, 25, 56, 100]
    assert list(schedule(1, 9)) == [0, 1]


def test_a_film_holds_its_frames_and_the_overview_four_of_them(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), "white") for _ in range(7)]
    for i, image in enumerate(frames):
        image.putpixel((i, 5), (213, 94, 0))
    sheet = overview(frames)
    marked = {(x, y) for x in range(40) for y in range(20) if sheet.getpixel((x, y)) != (255, 255, 255)}
    assert marked == {(0, 5), (20 + 2, 5), (4, 15), (20 + 6, 15)}
    film = Image.open(save_frames(frames, tmp_path / "film")[1])
    assert film.n_frames == 7
    for i, image in enumerate(frames):
        film.seek(i)
        assert np.array_equal(np.asarray(film.convert("RGB")), np.asarray(image))
    assert [path.suffix for path in save_frames(frames[:1], tmp_path / "still")] == [".png"]


LINES = {
    "figures=[8]": r"figures=\[8\] must be a list of numbers: 1 inverse_transform, 2 matching",
    "figures=[ring]": r"figures=\['ring'\] must be a list of numbers",
    "figures=[]": r"figures=\[\]",
    "figures=3": "figures=3 must be a list of numbers",
    "seed=-1": "seed=-1 must be",
    "seed=many": "seed=many must be a whole number",
    "figures=[4] adversarial.frames=1": "adversarial.frames=1 must be a whole number of at least 2",
    "figures=[2] matching.steps=0": "matching.steps=0 must be",
    "figures=[3] intuition.steps=0": "intuition.steps=0 must be",
    "figures=[7] neighbours.steps=many": "neighbours.steps=many must be",
    "figures=[7] neighbours.rows=0": "neighbours.rows=0 must be",
    "figures=[1] inverse_transform.samples=-3": "inverse_transform.samples=-3 must be",
    "figures=[6] ring.settings=['data=digits','metric=none']": "toy data in the plane",
    "figures=[3] intuition.settings=['data=ring','metric=none']": r"samples of shape \[2\] from 64 latents",
    "figures=[7] neighbours.settings=['data=ring','metric=none']": "shows images",
    "figures=[5] costs.objectives=[mystery]": "objective=mystery: there is no such objective",
    "figures=[5] costs.objectives=[mmd]": "objective mmd judges no samples",
}


@pytest.mark.parametrize("line", LINES)
def test_one_line_says_what_to_do(line: str, tmp_path: Path, capsys, monkeypatch) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    given = line.split()
    tiny = [o for o in TINY if not any(g.startswith(o.split("=")[0] + "=") for g in given)]
    monkeypatch.setattr(sys, "argv", ["figures", *tiny, *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert re.search(LINES[line], error), error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file cannot be written"):
        drawn(tmp_path / "file", "figures=[5]")
