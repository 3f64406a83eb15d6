"""Decoding of image files."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from support.data_streams import first_batches, read_split
from support.image_folders import image_folder, write_image
from support.refusals import refuses

from ganlab.data.folder import EvaluationFolder
from ganlab.data.image import ImageSpec, decode_image


def test_pixels_are_read_as_they_were_written(tmp_path):
    pixels = [write_image(tmp_path / f"{i}.png", i) for i in range(3)]
    data = image_folder(tmp_path)
    x, y = read_split(data)
    assert torch.equal((x * 255).round().byte(), torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
    assert y is None
    assert data.num_classes is None


@pytest.mark.parametrize("in_memory", [True, False])
def test_crops_are_of_the_middle_and_none_changes_the_aspect_ratio(tmp_path, in_memory):
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 255  # black, white, black
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    same_size = {"batch_size": 1, "in_memory": in_memory}
    assert read_split(image_folder(tmp_path, crop="center", **same_size))[0].min() == 1
    squeezed = read_split(image_folder(tmp_path, crop="none", **same_size))[0]
    assert abs(squeezed.mean().item() - 1 / 3) < 0.02
    assert read_split(image_folder(tmp_path, crop="random", **same_size))[0].min() == 1  # not augmented


@pytest.mark.parametrize("crop", ["none", "center", "random"])
def test_images_need_not_be_square(album, crop):
    data = image_folder(album, height=5, width=9, crop=crop)
    assert data.shape == (3, 5, 9)
    assert first_batches(data, 1)[0][0].shape == (2, 3, 5, 9)


def test_shrinking_antialiases(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    x, _ = read_split(image_folder(tmp_path, batch_size=1))
    assert (x - 0.5).abs().max() < 0.02


def test_images_of_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "deeper.tif")
    x, _ = read_split(image_folder(tmp_path, channels=1))
    assert (x * 65535 - torch.from_numpy(ramp.astype(np.float32))).abs().max() <= 65535 / 255 / 2 + 1


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path):
    colour = write_image(tmp_path / "colour" / "x.png", 0)
    grey = write_image(tmp_path / "grey" / "x.png", 1, mode="L")
    x, _ = read_split(image_folder(tmp_path / "colour", channels=1, batch_size=1))
    assert x.shape == (1, 1, 8, 8)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(x[0, 0].numpy() * 255 - luma).max() < 1
    x, _ = read_split(image_folder(tmp_path / "grey", channels=3, batch_size=1))
    assert all(torch.equal((x[0, c] * 255).round().byte(), torch.from_numpy(grey)) for c in range(3))


@pytest.mark.filterwarnings("error")
def test_palettes_become_colours_and_opaque_alpha_changes_nothing(tmp_path):
    pixels = write_image(tmp_path / "rgba.png", 0, mode="RGBA")
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([9, 9, 9, 250, 120, 30])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "q.png", transparency=b"\x80\xff")
    x = (read_split(image_folder(tmp_path))[0] * 255).round().byte()
    assert x[0, :, 3, 4].tolist() == x[1, :, 3, 4].tolist() == [250, 120, 30]
    assert torch.equal(x[2], torch.from_numpy(pixels[..., :3]).permute(2, 0, 1))


def square_in_transparency(mode: str) -> Image.Image:
    """A square of mid grey, in transparent pixels of magenta or of a lighter grey."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = (255, 0, 255) if mode != "LA" else 200
    pixels[2:6, 2:6] = (100, 100, 100, 255)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("background", "level"), [("white", 1), ("black", 0), ("#808080", 128 / 255)])
@pytest.mark.parametrize("size", [8, 16])
def test_the_background_is_seen_through_transparent_pixels(tmp_path, background, level, size):
    square_in_transparency("RGBA").save(tmp_path / "a.png")
    square_in_transparency("RGBA").save(tmp_path / "a.webp", lossless=True, exact=True)
    square_in_transparency("LA").save(tmp_path / "b.png")
    palette = Image.fromarray(np.asarray(square_in_transparency("RGBA"))[..., 3] // 255, "P")
    palette.putpalette([255, 0, 255, 100, 100, 100])
    for ending in ("gif", "png"):
        palette.save(tmp_path / f"c.{ending}", transparency=0)
    rgb = square_in_transparency("RGB")
    rgb.save(tmp_path / "d.png", transparency=(255, 0, 255))
    for channels in (1, 3):
        x = read_split(image_folder(tmp_path, background=background, channels=channels, height=size))[0]
        assert x.shape[0] == 6
        assert (x[:, :, 0, 0] - level).abs().max() < 0.003
        assert x[:, :, size // 2, size // 2].allclose(torch.tensor(100 / 255), atol=0.03)
        rim = x[:, :, size // 4 - 1, size // 2]  # where bicubic interpolation mixes in neighbours
        assert x.shape[1] == 1 or (rim[:, 0] - rim[:, 1]).abs().max() < 0.003  # no magenta


def test_an_image_with_damaged_exif_is_not_rotated(tmp_path):
    image = Image.new("RGB", (8, 8), (200, 30, 30))
    for i, exif in enumerate(
        (b"This_is_not_valid_EXIF", b"Exif\0\0Exif\0\0II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff")
    ):
        image.save(tmp_path / f"{i}.png", exif=exif)
        image.save(tmp_path / f"{i}.jpg", exif=exif)
    x = read_split(image_folder(tmp_path))[0]
    assert x.shape[0] == 6
    assert ((x[:, 0] * 255 - 200).abs() < 3).all()
    assert EvaluationFolder("real", str(tmp_path)).shape == (3, 8, 8)


def test_large_scans_and_long_texts_are_read(tmp_path):
    Image.new("1", (13400, 13400), 1).save(tmp_path / "scan.png")
    info = PngInfo()
    info.add_text("k", "a" * 2_000_000, zip=True)
    Image.new("L", (8, 8), 255).save(tmp_path / "text.png", pnginfo=info)
    assert read_split(image_folder(tmp_path, channels=1))[0].min() == 1


def test_an_image_of_too_many_pixels_is_refused(tmp_path):
    header = struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**15 + 1, 2**15, 1, 0, 0, 0, 0)
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + struct.pack(">II4s", zlib.crc32(header[4:]), 9, b"IDAT")
    )
    for read in (
        lambda: read_split(image_folder(tmp_path, batch_size=1)),
        lambda: EvaluationFolder("real", str(tmp_path)),
    ):
        with refuses(reason="x.png cannot be read as an image .*exceeds limit of 1073741824 pixels"):
            read()


def test_a_lack_of_memory_is_not_blamed_on_the_images(tmp_path, monkeypatch):
    write_image(tmp_path / "x.png", 0)
    monkeypatch.setattr(Image.Image, "resize", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with refuses(reason=r"x.png cannot be read \(MemoryError\)$", remedy="lower data.num_workers"):
        read_split(image_folder(tmp_path, on_corrupt="skip", batch_size=1))


@pytest.mark.parametrize(
    "kind",
    ["cut.png", "cut.jpg", "cut.gif", "cut.webp", "cut.tif", "empty.png", "pipe.png", "nowhere.png"],
)
def test_an_unreadable_file_is_refused_in_one_line(tmp_path, kind):
    file = tmp_path / kind
    if kind == "pipe.png":
        os.mkfifo(file)
    elif kind == "nowhere.png":
        file.symlink_to("nowhere")
    else:
        write_image(file, 0, (40, 40))
        content = file.read_bytes()
        file.write_bytes(content[: 0 if kind == "empty.png" else len(content) // 2])
    for read in (
        lambda: read_split(image_folder(tmp_path, batch_size=1)),
        lambda: read_split(EvaluationFolder("real", str(tmp_path))),
    ):
        with refuses(reason=rf"{kind} cannot be read as an image [^\n]*$", remedy="^repair "):
            read()


def test_several_frames_are_reported_once(tmp_path, capfd):
    frames = [Image.fromarray(np.full((8, 8), 20 * i, np.uint8)) for i in range(1, 6)]
    for ending in ("gif", "png", "tif", "webp"):
        folder = tmp_path / ending
        folder.mkdir()
        for name in "ab":
            frames[0].save(folder / f"{name}.{ending}", save_all=True, append_images=frames[1:])
        for num_workers in (0, 2):
            first_batches(image_folder(folder, in_memory=False, num_workers=num_workers), 3)
        printed = capfd.readouterr().err.splitlines()
        assert len(printed) == 2, (ending, printed)
        assert all("has 5 frames, of which the first is used" in line for line in printed)
    read_split(EvaluationFolder("real", str(tmp_path / "gif")))
    assert "a.gif has 5 frames" in capfd.readouterr().err


def test_white_of_files_of_many_bits_can_be_set_and_dark_ones_are_reported(tmp_path, capfd):
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65
    Image.fromarray(ramp).save(tmp_path / "x.png")
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "x.tif")
    assert read_split(image_folder(tmp_path, channels=1))[0].max() < 0.07
    assert "largest value of" in (printed := capfd.readouterr().err)
    assert "is 4,095 of 65,535, so the image is dark: scale such files, or, in a run on grey" in printed
    assert "perhaps 4095" in printed
    assert len(printed.splitlines()) == 1
    x = read_split(image_folder(tmp_path, channels=1, white=4095))[0]
    assert (x * 4095 - torch.from_numpy(ramp.astype(np.float32))).abs().max() <= 4095 / 255 / 2 + 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("values", [(0, 126_000), (-5, 9_000)])
def test_values_beyond_white_are_refused(tmp_path, values):
    Image.fromarray(np.array([values] * 8, np.int32)).save(tmp_path / "x.tif")
    with refuses(reason=r"pixels are from .* to .*, but white is data.white=65535"):
        read_split(image_folder(tmp_path, channels=1, batch_size=1))


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    pixels[0] = 255  # the first row; by EXIF it is the right side
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    x, _ = read_split(image_folder(tmp_path, channels=1, batch_size=1))
    assert x[0, 0, :, 7].min() == 1
    assert x[0, 0, :, :7].max() == 0


def test_dark_colour_of_16_bits_is_reported(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.full((8, 8, 3), 4032, ">u2")
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    warnings: dict[str, str] = {}
    decode_image(tmp_path / "x.png", ImageSpec(3, 8, 8), warnings)
    assert "is 3,840 of 65,535, so the image is dark" in warnings["dark"]
