"""Errors of samples that answer conditions, and the games that give no answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.commands import play
from support.refusals import refuses
from support.small_games import game, home_data
from torch import Tensor, nn

from ganlab.config.build import instantiate_group
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.metrics.paired import InputSensitivity
from ganlab.networks.base import Conditioned


@pytest.mark.parametrize(
    ("data", "metric"), [("half_digits", "pair_error"), ("missing_digits", "imputation_error")]
)
def test_a_game_that_is_told_nothing_is_refused_before_it_is_trained(
    data: str, metric: str, tmp_path: Path
) -> None:
    with refuses("metric", metric, "needs a generator that is told", "model=pix2pix, or another metric"):
        play(tmp_path / "run", f"data={data}", f"metric={metric}", "steps=2")
    assert not (tmp_path / "run").exists()


class Answer(Conditioned):
    """Gives the same answer to all, copies the condition, adds noise, or knows the right answers."""

    def __init__(self, kind: str, data: Data) -> None:
        super().__init__()
        self.kind, self.weight = kind, nn.Parameter(torch.zeros(()))
        self.x, self.condition = next(data.split("test", "cpu", 1000))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        if self.kind == "constant":
            return condition * 0 + 0.5
        if self.kind == "right":
            return self.x[torch.cdist(condition.flatten(1), self.condition.flatten(1)).argmin(1)]
        return condition + (latent[:, :1, None, None] if self.kind == "noisy copy" else 0)


EXPECTED = {  # the sensitivities to the input and to the noise, and the change of the input
    "constant": (0, 0, None),
    "copy": (None, 0, 0),
    "noisy copy": (None, "above 0", "above 0"),
    "right": (1, 0, 1),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_sensitivities_show_what_is_ignored_or_copied(kind: str) -> None:
    data, game_ = home_data("pix2pix"), game(model="pix2pix").game
    game_.generator.body = Answer(kind, data)
    metric = InputSensitivity()
    metric.setup(data, 100, 100)
    metric.observe_game(game_, 0)
    assert [*metric.compute()] == [*metric.names]
    for value, expected in zip(metric.compute().values(), EXPECTED[kind], strict=True):
        if expected == "above 0" or expected is None:
            assert value > 0.05
        else:
            assert value == pytest.approx(expected, abs=1e-6)
    metric.reset()


def test_similarities_of_right_answers_are_perfect() -> None:
    small = ["+metric.ssim.kernel_size=3", "+metric.ssim.sigma=0.5", "metric=[psnr,ssim]", "logger=csv"]
    cfg = compose("experiment=pix2pix_digits", *small)
    data, game_ = home_data("pix2pix"), game(model="pix2pix").game
    for kind, check in (
        ("right", lambda psnr, ssim: psnr > 60 and ssim > 0.999),
        ("copy", lambda p, s: s < 0.9),
    ):
        game_.generator.body = Answer(kind, data)
        values = {}
        for name, metric in instantiate_group(cfg, "metric").items():
            metric.setup(data, 100, 100)
            metric.observe_game(game_, 0)
            values[name] = [*metric.compute().values()][0]
        assert check(values["psnr"], values["ssim"]), values
