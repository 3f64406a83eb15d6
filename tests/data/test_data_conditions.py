"""Images as conditions: they move with their samples, and users choose them for samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.refusals import refuses

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.core.batch import ConditionSpec
from ganlab.core.errors import ConfigError
from ganlab.data.base import Data
from ganlab.data.conditions import given_conditions
from ganlab.data.sources import TensorSource

IMAGE = ConditionSpec("image", (1, 2, 4))
SETTINGS = {"range": (-1, 1)}  # of data that do not say how files are read


def pairs(flip: bool) -> Data:
    """Images of 12 different values, each with a condition of the opposite values."""
    x = torch.randint(256, (12, 2, 2, 4), dtype=torch.uint8)
    x[:, 1] = 255 - x[:, 0]
    return Data((1, 2, 4), None, (-1, 1), 4, {"train": TensorSource(x, None, flip)}, condition=IMAGE)


@pytest.mark.parametrize("flip", [False, True])
def test_a_condition_moves_with_its_sample(flip: bool) -> None:
    data = pairs(flip)
    batches = iter(data.stream(0, lambda: 0, "cpu"))
    unchanged = []
    for _ in range(6):
        real, _, rows = next(batches)
        assert real.x.shape == real.condition.shape == (4, 1, 2, 4)
        assert torch.allclose(real.condition, -real.x, atol=1e-6)
        stored = torch.cat([x for x, _ in data.samples_at("train", rows, "cpu", 4)])
        unchanged += [torch.equal(one, other) for one, other in zip(real.x, stored, strict=True)]
    assert all(unchanged) != flip
    assert any(unchanged)


def test_the_upper_half_of_a_digit_is_its_condition() -> None:
    data = build_data(compose("data=half_digits"))
    x, half = next(data.split("test", "cpu", 360))
    assert torch.equal(half[:, :, :4], x[:, :, :4])
    assert (half[:, :, 4:] == -1).all()
    assert torch.equal(data.conditions("test")(365)[360:], half[:5])


def test_samples_are_asked_for_held_out_conditions_or_the_given_ones() -> None:
    cfg = compose("experiment=pix2pix_digits", "model.generator.width=4", "model.discriminator.width=4")
    data = build_data(cfg)
    game = build_game(cfg, data)
    held_out = data.conditions("test")(3)
    assert torch.equal(game.asked(3), held_out)
    assert torch.equal(game.sample(3, seed=2), game.sample(3, seed=2, conditions=held_out))
    assert not torch.equal(game.sample(3, seed=2), game.sample(3, seed=2, conditions=held_out.flip(0)))
    assert torch.equal(game.asked(4, held_out[0])[3], held_out[0])
    with refuses("condition", [5, 5], "must have the shape"):
        game.sample(1, conditions=torch.zeros(5, 5))
    for wrong in (torch.zeros(1, 8, 8).long(), torch.ones(1, 8, 8).bool()):
        with refuses("condition", reason="is not of the kind image"):
            game.sample(1, conditions=wrong)
    with refuses("condition", reason="not finite"):
        game.sample(1, conditions=torch.full((1, 8, 8), torch.nan))
    with refuses("condition", reason="needs a condition: image"):
        build_game(cfg).sample(1)


def test_a_user_names_a_split_a_file_or_a_folder(tmp_path: Path) -> None:
    data = pairs(flip=False)
    assert torch.equal(
        given_conditions("train", IMAGE, SETTINGS, lambda: data)(3), data.conditions("train")(3)
    )
    for i, grey in enumerate((0, 255)):
        Image.new("L", (8, 4), grey).save(tmp_path / f"{i}.png")
    found = given_conditions(str(tmp_path), IMAGE, SETTINGS, lambda: data)
    assert found.name == "2 images from files"
    assert found(3).flatten(1).mean(1).tolist() == [-1, 1, -1]
    (tmp_path / "below" / "empty").mkdir(parents=True)
    Image.new("L", (8, 4), 0).save(tmp_path / "below" / "2.png")
    assert given_conditions(str(tmp_path), IMAGE, SETTINGS, lambda: data).name == "3 images from files"
    with refuses("condition", str(tmp_path / "below" / "empty"), "contains no images"):
        given_conditions(str(tmp_path / "below" / "empty"), IMAGE, SETTINGS, lambda: data)
    one = given_conditions(str(tmp_path / "1.png"), IMAGE, SETTINGS, lambda: data)
    assert torch.equal(one(2), torch.ones(2, 1, 2, 4))
    with refuses("condition", "nowhere", "neither a split of the data nor a file"):
        given_conditions("nowhere", IMAGE, SETTINGS, lambda: data)
    for split in ("test", "held_out"):
        with refuses("condition", split, "no such split"):
            given_conditions(split, IMAGE, SETTINGS, lambda: data)
    with refuses("condition", "test", "told no image", "remove it"):
        given_conditions("test", None, SETTINGS, lambda: data)
    with refuses("condition", "test", "told no image", "class=<name or number>"):
        given_conditions("test", ConditionSpec("class", num_classes=3), SETTINGS, lambda: data)
    with refuses("condition", str(tmp_path), "no file can be a condition of the shape", "name a split"):
        given_conditions(str(tmp_path), ConditionSpec("image", (2, 2, 4)), SETTINGS, lambda: data)


def test_files_are_read_as_the_images_of_the_run(tmp_path: Path) -> None:
    """Left to right: transparent, black and white, at twice the width of a condition and half as high."""
    pixels = np.zeros((2, 8, 4), np.uint8)
    pixels[:, 2:, 3] = pixels[:, 6:, :3] = 255
    Image.fromarray(pixels).save(tmp_path / "strip.png")
    deep = np.full((2, 4), 1000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")

    def read(name: str, **settings: Any) -> torch.Tensor:
        found = given_conditions(str(tmp_path / name), IMAGE, {**SETTINGS, **settings}, lambda: pairs(False))
        return found(1)[0, 0]

    assert read("strip.png")[0].tolist() == [-1, -1, -1, -1]  # by default, the centre is cropped
    assert read("strip.png", crop="random").equal(read("strip.png", crop="center"))
    white, black = (read("strip.png", crop="none", background=name)[0] for name in ("white", "black"))
    assert white[0] > 0 > white[1]
    assert black[0] == -1
    assert black[3] > 0
    assert read("deep.png", white=1000).unique().tolist() == [1]
    with pytest.raises(ConfigError, match="but white is data.white=500"):
        read("deep.png", white=500)


def test_conditions_lie_in_the_channels_of_their_samples() -> None:
    x, spec = torch.zeros(4, 6, 8, 8), ConditionSpec("image", (5, 4, 8))
    with refuses(".condition", spec, r"samples of the shape \[1, 8, 8\]", "set the height and the width"):
        Data((1, 8, 8), None, None, 4, {"train": TensorSource(x, None, False)}, condition=spec)
    with refuses(".condition", IMAGE, r"samples of the shape \[2\]", "which must be images"):
        Data((2,), None, None, 4, {"train": TensorSource(torch.zeros(4, 3), None, False)}, condition=IMAGE)


def test_a_spec_is_refused_that_contradicts_its_kind() -> None:
    with refuses(".shape", [4], "needs 3 numbers"):
        ConditionSpec("image", (4,))
    with refuses(".num_classes", 3, "is needed for classes"):
        ConditionSpec("vector", (4,), num_classes=3)
