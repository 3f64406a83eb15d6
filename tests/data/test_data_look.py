"""How an image file becomes a sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from albums import folder, picture
from PIL import Image
from streams import sweep, take


def test_pixels_arrive_as_they_were_written(tmp_path):
    pixels = [picture(tmp_path / f"{i}.png", i) for i in range(3)]
    data = folder(tmp_path)
    x, y = sweep(data)
    assert torch.equal((x * 255).round().byte(), torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
    assert y is None
    assert data.num_classes is None


@pytest.mark.parametrize("in_memory", [True, False])
def test_crop_takes_the_middle_and_none_squeezes(tmp_path, in_memory):
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 255  # black, white, black
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    same_size = {"batch_size": 1, "in_memory": in_memory}
    assert sweep(folder(tmp_path, crop="center", **same_size))[0].min() == 1
    squeezed = sweep(folder(tmp_path, crop="none", **same_size))[0]
    assert abs(squeezed.mean().item() - 1 / 3) < 0.02
    assert sweep(folder(tmp_path, crop="random", **same_size))[0].min() == 1  # not augmented: the middle


@pytest.mark.parametrize("crop", ["none", "center", "random"])
def test_images_need_not_be_square(album, crop):
    data = folder(album, height=5, width=9, crop=crop)
    assert data.shape == (3, 5, 9)
    assert take(data, 1)[0][0].shape == (2, 3, 5, 9)


def test_shrinking_antialiases(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    x, _ = sweep(folder(tmp_path, batch_size=1))
    assert (x - 0.5).abs().max() < 0.02


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "deeper.tif")
    x, _ = sweep(folder(tmp_path, channels=1))
    assert (x * 65535 - torch.from_numpy(ramp.astype(np.float32))).abs().max() <= 65535 / 255 / 2 + 1


def test_grey_from_colour_and_colour_from_grey(tmp_path):
    colour = picture(tmp_path / "colour" / "x.png", 0)
    grey = picture(tmp_path / "grey" / "x.png", 1, mode="L")
    x, _ = sweep(folder(tmp_path / "colour", channels=1, batch_size=1))
    assert x.shape == (1, 1, 8, 8)
    weighed = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(x[0, 0].numpy() * 255 - weighed).max() < 1
    x, _ = sweep(folder(tmp_path / "grey", channels=3, batch_size=1))
    assert all(torch.equal((x[0, c] * 255).round().byte(), torch.from_numpy(grey)) for c in range(3))


@pytest.mark.filterwarnings("error")
def test_palettes_and_transparency_become_colours(tmp_path):
    pixels = picture(tmp_path / "rgba.png", 0, mode="RGBA")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([9, 9, 9, 250, 120, 30])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "q.png", transparency=b"\xff\x80")
    x = (sweep(folder(tmp_path))[0] * 255).round().byte()
    assert x[0, :, 3, 4].tolist() == x[1, :, 3, 4].tolist() == [250, 120, 30]
    assert torch.equal(x[2], torch.from_numpy(pixels[..., :3]).permute(2, 0, 1))


def test_photographs_stand_upright(tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255  # the first row, which the camera says is the right side
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    x, _ = sweep(folder(tmp_path, channels=1, batch_size=1))
    assert x[0, 0, :, 7].min() == 1
    assert x[0, 0, :, :7].max() == 0
