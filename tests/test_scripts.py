"""The scripts that train extractors and segmenters."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import segmenter
import torch
import train_classifier
from PIL import Image
from safetensors.torch import save_file
from support.commands import summary
from support.refusals import refuses

from ganlab.config.build import instantiate_group
from ganlab.config.compose import compose
from ganlab.metrics.extractors import Classifier
from ganlab.metrics.segmentation import Segmenter, segmentation_scores
from ganlab.run import run

COLOURS = np.array([[0, 0, 255], [255, 85, 0], [0, 255, 255]], np.uint8)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Photos that are dark on the left, or on the right, and their label maps."""
    for split, i in ((split, i) for split in ("train", "test") for i in range(32)):
        rng = np.random.default_rng(i)
        classes = np.zeros((16, 16), int)
        classes[:, rng.integers(3, 12) :] = 1 + i % 2
        photo = np.array([[40] * 3, [128] * 3, [220] * 3])[classes] + rng.integers(-20, 20, (16, 16, 3))
        for side, image in (("A", photo), ("B", COLOURS[classes])):
            file = tmp_path / "pairs" / f"{split}{side}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).save(file)
    return tmp_path / "pairs"


def test_scores_are_those_of_a_confusion_matrix() -> None:
    right = torch.tensor([[0, 0, 0, 1]])
    assert segmentation_scores(right, right, 3) == (1, 1, 1)
    found = torch.tensor([[0, 0, 1, 1]])
    assert segmentation_scores(found, right, 3) == pytest.approx(
        (3 / 4, (2 / 3 + 1) / 2, (2 / 3 + 1 / 2) / 2)
    )


def test_classes_are_the_frequent_colours_of_smeared_maps() -> None:
    maps = torch.from_numpy(COLOURS)[[0, 0, 0, 1, 1, 2]].T.reshape(1, 3, 2, 3) / 255
    maps = (maps + 0.02 * torch.randn(maps.shape)).clamp(0, 1)
    found = Segmenter(3, segmenter.palette(maps), 4).classes(maps)
    assert torch.equal(found, torch.tensor([[[0, 0, 0], [1, 1, 2]]]))


def test_a_segmenter_scores_a_run_and_comes_with_an_extractor(
    pairs: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    file, extractor = tmp_path / "segmenter.safetensors", tmp_path / "shares.safetensors"
    given = [str(pairs), "--side", "16", "--epochs", "40", "--width", "8", "--output", str(file)]
    monkeypatch.setattr(sys, "argv", ["segmenter.py", *given, "--extractor", str(extractor)])
    segmenter.main()
    real, majority = (float(line.split()[-6].strip(":,")) for line in capsys.readouterr().out.splitlines())
    assert real > 0.9 > 0.7 > majority
    assert Classifier.load(str(extractor)).shape == (3, 16, 16)
    settings = ["data=paired_folder", f"data.root={pairs}", "data.direction=BtoA", "data.height=16"]
    small = ["data.batch_size=8", "data.num_workers=0", "evaluation.n=30", "evaluation.split=test", "steps=1"]
    networks = ["model=pix2pix", "model.generator.width=4", "model.discriminator.receptive_field=16"]
    metrics = ["metric=[fcn_score,kid]", f"metric.fcn_score.segmenter={file}", "metric.kid.subset_size=20"]
    own = ["extractor=trained", f"extractor.name={extractor}", "metric.kid.bootstrap=20", "logger=csv"]
    run_dir = tmp_path / "run"
    given = [*settings, *small, *networks, *metrics, *own, f"run_dir={run_dir}"]
    values = run(compose(*given), given)
    assert {*values} == {"fcn_pixels/test", "fcn_classes/test", "fcn_iou/test", "kid/shares_test_30"}
    assert values["fcn_pixels/test"] < real
    record = summary(run_dir)["metrics"]["fcn_pixels/test"]
    assert (round(record["floor"], 4), record["floor_n"], record["floor_split"]) == (real, 32, "test")
    assert round(record["beside"]["most_frequent_class_fcn_pixels/test"], 4) == majority
    grey = [*settings, "data.channels=1", *small, *networks, "metric=fcn_score", metrics[1], "logger=csv"]
    grey.append(f"run_dir={tmp_path / 'grey'}")
    with refuses("metric.fcn_score.segmenter", reason="was trained on images of \\[3, 3\\] channels"):
        run(compose(*grey), grey)
    assert not (tmp_path / "grey" / "checkpoints").exists()  # it was refused before training
    with refuses("metric.fcn_score.segmenter", str(extractor), "is no segmenter", "scripts/segmenter.py"):
        compose_and_build_metric(str(extractor))


def compose_and_build_metric(path: str) -> None:
    instantiate_group(compose("metric=fcn_score", f"metric.fcn_score.segmenter={path}"), "metric")


def test_a_classifier_of_a_folder_is_an_extractor(tmp_path: Path, monkeypatch) -> None:
    for i in range(40):
        file = tmp_path / "photos" / ("bright", "dark")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 100, (16, 16, 3))
        Image.fromarray((noise + 150 * (i % 2 == 0)).astype(np.uint8)).save(file)
    output = tmp_path / "photos.safetensors"
    given = [str(tmp_path / "photos"), "--side", "16", "--epochs", "12", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["train_classifier.py", *given])
    deterministic = torch.are_deterministic_algorithms_enabled()
    train_classifier.main()
    torch.use_deterministic_algorithms(deterministic)
    classifier = Classifier.load(str(output))
    assert (classifier.name, classifier.head.out_features) == ("photos", 2)
    assert classifier.predict(torch.full((1, 3, 16, 16), 0.8)).item() == 0
    assert classifier.predict(torch.full((1, 3, 16, 16), 0.2)).item() == 1
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    with refuses("metric.fcn_score.segmenter", str(pipe), "is no segmenter"):
        compose_and_build_metric(str(pipe))
    save_file({"x": torch.zeros(1)}, output, metadata={"architecture": "{"})
    with refuses("metric.fcn_score.segmenter", str(output), "is no segmenter"):
        compose_and_build_metric(str(output))
    with refuses("extractor", str(output), "has no classifier"):
        Classifier.load(str(output))
    output.write_bytes(b"other")
    with refuses("extractor", str(output), "has no classifier"):
        Classifier.load(str(output))
    with refuses("extractor", "away.safetensors", "unknown classifier", "scripts/train_classifier.py"):
        Classifier.load("away.safetensors")
