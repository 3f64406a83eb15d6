"""The scripts that train extractors and segmenters."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import segmenter
import torch
import train_classifier
from PIL import Image
from support.commands import play
from support.refusals import refuses

from ganlab.metrics.extractors import Classifier

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
    assert segmenter.scores(right, right, 3) == {"pixels": 1, "classes": 1, "iou": 1}
    found = torch.tensor([[0, 0, 1, 1]])
    expected = {"pixels": 3 / 4, "classes": (2 / 3 + 1) / 2, "iou": (2 / 3 + 1 / 2) / 2}
    assert segmenter.scores(found, right, 3) == pytest.approx(expected)


def test_classes_are_the_frequent_colours_of_smeared_maps() -> None:
    maps = torch.from_numpy(COLOURS)[[0, 0, 0, 1, 1, 2]].T.reshape(1, 3, 2, 3) / 127.5 - 1
    maps = (maps + 0.05 * torch.randn(maps.shape)).clamp(-1, 1)
    colours = segmenter.palette(maps)
    assert torch.equal(segmenter.classes_of(maps, colours)[0].flatten(), torch.tensor([0, 0, 0, 1, 1, 2]))


def test_a_segmenter_learns_labels_and_writes_an_extractor(pairs: Path, tmp_path: Path, monkeypatch) -> None:
    extractor, table = tmp_path / "shares.safetensors", tmp_path / "scores.csv"
    given = [str(pairs), "--side", "16", "--epochs", "15", "--width", "8", "--output", str(table)]
    monkeypatch.setattr(sys, "argv", ["segmenter.py", *given, "--extractor", str(extractor)])
    segmenter.main()
    head, real, majority = table.read_text().splitlines()
    assert head == "photos,pixels,classes,iou"
    assert float(real.split(",")[1]) > 0.9 > 0.7 > float(majority.split(",")[1])
    assert Classifier.load(str(extractor)).shape == (3, 16, 16)
    settings = ["data=folder", f"data.root={pairs / 'trainA'}", "data.height=16", "data.batch_size=8"]
    metric = ["extractor=trained", f"extractor.name={extractor}", "metric=kid", "metric.kid.subset_size=20"]
    small = ["data.num_workers=0", "evaluation.n=30", "metric.kid.bootstrap=20", "steps=1"]
    assert [*play(tmp_path / "run", *settings, *metric, *small)] == ["kid/shares_train_30"]


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
    output.write_bytes(b"other")
    with refuses("extractor", str(output), "has no classifier"):
        Classifier.load(str(output))
    with refuses("extractor", "away.safetensors", "unknown classifier", "scripts/train_classifier.py"):
        Classifier.load("away.safetensors")
