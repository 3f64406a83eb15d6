"""Errors of samples that answer conditions, and the games that give no answers."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from support.commands import play
from support.refusals import refuses
from support.small_games import game, home_data
from torch import Tensor, nn
from torchmetrics.functional.image import lpips
from torchvision import models

from ganlab import build
from ganlab.config.build import build_data, instantiate_group
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.metrics.paired import InputSensitivity
from ganlab.metrics.perceptual import LPIPS
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


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """An AlexNet of random weights, and its file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.alexnet().eval()
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(network.state_dict(), path)
    return network, path


def photos(folder: Path, side: int) -> DictConfig:
    """A config of three pairs of noise in each split, and of networks for them."""
    random = np.random.default_rng(0)
    for name in ("trainA", "trainB", "testA", "testB"):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    settings = ("data=paired_folder", f"data.root={folder}", f"data.height={side}", "data.num_workers=0")
    networks = ("model=pix2pix", "model.generator.width=2", "model.discriminator.receptive_field=1")
    return compose(*settings, *networks, "data.batch_size=2")


@torch.no_grad()
def test_perceptual_distances_are_those_of_the_paper(alexnet: tuple[nn.Module, Path], tmp_path: Path) -> None:
    (network, path), cfg = alexnet, photos(tmp_path, 64)
    data, game_ = build_data(cfg), build(cfg)
    game_.generator.body = Answer("copy", data)
    metric = LPIPS(str(path))
    metric.setup(data, 3, 3)
    metric.observe_game(game_, 0)
    # The shift and scale of the authors' network, and the weights of the distances of its layers.
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    file = Path(lpips.__file__).parent / "lpips_models" / "alex.pth"
    linear = torch.load(file, map_location="cpu", weights_only=True)
    x, condition = next(data.split("test", "cpu", 3))
    distance, pair = torch.zeros(3), [(x - shift) / scale, (condition - shift) / scale]
    for i, layers in enumerate(((0, 2), (2, 5), (5, 8), (8, 10), (10, 12))):
        pair = [network.features[slice(*layers)](h) for h in pair]
        unit, unit_other = (h / h.square().sum(1, keepdim=True).sqrt() for h in pair)
        squares = (unit - unit_other).square() * linear[f"lin{i}.model.1.weight"]
        distance += squares.sum(1).mean((1, 2))
    assert metric.compute() == {"lpips/test": pytest.approx(float(distance.mean()), rel=1e-4)}
    assert metric.protocol()["weights"] == sha256(path.read_bytes()).hexdigest()[:16]


def test_what_is_no_alexnet_and_small_images_are_refused(
    alexnet: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    for name, content in (("broken", b"x"), ("other", None)):
        path = tmp_path / name
        torch.save({"features.0.weight": torch.zeros(2)}, path)
        path.write_bytes(content or path.read_bytes())
        with refuses("metric.lpips.weights", str(path), "is no file of AlexNet", "alexnet-owt-7be5be79.pth"):
            instantiate_group(compose("metric=lpips", f"metric.lpips.weights={path}"), "metric")
    with refuses(reason="needs images of 3 channels and 63 x 63 pixels, not \\[3, 62, 62\\]"):
        LPIPS(str(alexnet[1])).setup(build_data(photos(tmp_path / "small", 62)), 3, 3)
