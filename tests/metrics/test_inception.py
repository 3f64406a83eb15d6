"""Inception against torch-fidelity's own command, on the same files and with the same weights."""

from __future__ import annotations

import hashlib
import json
import pickle
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import finish, start
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.data.folder import EvaluationFolder
from ganlab.evaluate import evaluate
from ganlab.metrics.extractors import Inception
from ganlab.metrics.fidelity import InceptionScore

SHALLOW = 64  # a layer near the input, which takes seconds for 140 images


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights like torch-fidelity's, because the published ones are not always available."""

    class WithoutWeights(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args, **kwargs) -> None:
            """Does nothing, because the constructor would load the weights of a file."""

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save({}, path)
    network = WithoutWeights("without_weights", ["2048"], str(path))
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        if weight.ndim > 1:  # with torch's default initialisation the activations vanish
            nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
    torch.save(network.state_dict(), path)
    return path


def pictures(n: int, seed: int, channels: int = 3) -> Tensor:
    """Smooth random images of 256 levels, [n, channels, 24, 32] in [0, 1]."""
    coarse = torch.rand(n, channels, 6, 8, generator=torch.Generator().manual_seed(seed))
    coarse **= 1 + seed  # images of different seeds also differ in brightness
    fine = nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")
    return (fine * 255).round() / 255


def save_images(x: Tensor, folder: Path) -> Path:
    folder.mkdir()
    for i, image in enumerate((x * 255).round().byte().permute(0, 2, 3, 1).numpy()):
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{i:03d}.png")
    return folder


def run_torch_fidelity(weights: Path, *options: str) -> dict[str, float]:
    """The values of torch-fidelity's own command, in a process that has imported torch."""
    common = ("--cpu", "--json", "--silent", "--no-cache", "--save-cpu-ram")
    files = ("--feature-extractor-weights-path", str(weights))
    code, out, err = finish(start(*common, *files, *options, module=("torch_fidelity.fidelity",)))
    assert code == 0, err
    return json.loads(out)


def measure(weights: Path, *line: str) -> dict[str, dict]:
    overrides = ["extractor=inception", f"metric.weights={weights}", *line]
    return evaluate(compose(*overrides, config_name="evaluate"), overrides)


@on_one_day_of(2)
def test_distances_are_those_of_torch_fidelity_on_the_same_files(weights: Path, tmp_path: Path) -> None:
    fake = save_images(pictures(70, 0), tmp_path / "fake")
    real = save_images(pictures(70, 1), tmp_path / "real")
    options = ["--fid", "--feature-layer-fid", str(SHALLOW), "--kid", "--feature-layer-kid", str(SHALLOW)]
    options += ["--kid-subset-size", "50", "--input1", str(fake), "--input2", str(real)]
    expected = run_torch_fidelity(weights, *options)
    kid = ("metric=[fid,kid]", "metric.kid.subset_size=50")
    records = measure(weights, f"generated={fake}", f"real={real}", f"extractor.layer={SHALLOW}", *kid)
    keys = {"fid": "frechet_inception_distance", "kid": "kernel_inception_distance_mean"}
    for prefix, key in keys.items():
        assert records[f"{prefix}/inception64_train_70"]["value"] == pytest.approx(expected[key], rel=1e-5)
    record = records["fid/inception64_train_70"]
    assert record["value"] > 0.01
    assert record["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert record["torch-fidelity"] == version("torch-fidelity")
    assert (record["resize"], record["antialias"]) == ("bilinear to 299x299 as TensorFlow 1", "none")


@on_one_day_of(2)
def test_the_score_is_that_of_torch_fidelity_on_the_same_files(weights: Path, tmp_path: Path) -> None:
    folder = save_images(pictures(8, 0), tmp_path / "fake")
    expected = run_torch_fidelity(weights, "--isc", "--isc-splits", "2", "--input1", str(folder))
    line = (f"generated={folder}", f"real={folder}", "metric=is", "metric.is.splits=2")
    with refuses("metric.is.splits", 2, "1000 samples are needed, and there are 8 generated ones"):
        measure(weights, *line)
    metric = InceptionScore(Inception(str(weights), 2048), splits=2)
    images = EvaluationFolder("generated", str(folder), 3).split("train", "cpu", 8)
    x, _ = next(images)
    metric.update(x)
    (score,) = metric.values()  # `compute` would refuse so few images, but the formula is the same
    assert score - 1 == pytest.approx(expected["inception_score_mean"] - 1, rel=1e-2)  # both are about 2e-4
    assert score > 1.0001


def test_the_last_layer_has_logits_and_grey_is_three_equal_channels(weights: Path) -> None:
    network = Inception(str(weights), 2048)
    grey = pictures(2, 0, channels=1).double()
    of_grey = network.extract(grey)
    assert of_grey.features.shape == (2, 2048)
    assert of_grey.logits.shape == (2, 1008)
    of_colour = network.extract(grey.expand(-1, 3, -1, -1))
    assert torch.equal(of_grey.features, of_colour.features)
    assert network.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    with refuses("extractor", "inception", "takes images of 1 or 3 channels"):
        network.extract(torch.zeros(2, 2, 8, 8))


def test_a_failed_download_names_the_alternatives_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", "http://127.0.0.1:9/no-6726825d.pth"
    )
    with pytest.raises(
        ConfigError, match=r"cannot be downloaded \(.*\). Set metric.weights to a copy"
    ) as caught:
        Inception(None, 2048).extract(torch.zeros(1, 3, 8, 8))
    assert "\n" not in str(caught.value)


def test_other_files_than_weights_are_refused_before_they_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    trap, missing, other = tmp_path / "trap.pth", tmp_path / "missing.pth", tmp_path / "other.pth"
    trap.write_bytes(pickle.dumps(Trap(), protocol=2))
    torch.save({"weight": torch.zeros(2)}, other)
    for path, message in (
        (trap, "cannot be read as weights"),
        (missing, "cannot be read as weights"),
        (other, "not the weights of Inception"),
    ):
        with refuses("metric.weights", path, message):
            Inception(str(path), 2048).extract(torch.zeros(1, 3, 8, 8))
    assert not (tmp_path / "sprung").exists()


def test_a_shallow_layer_has_no_classes(weights: Path) -> None:
    with refuses(reason="this layer of the extractor has no class logits"):
        InceptionScore(Inception(str(weights), SHALLOW), splits=2).update(pictures(4, 0))
