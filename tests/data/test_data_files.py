"""Image files as a source: the same batches from memory and from files, and unreadable files."""

from __future__ import annotations

import os
import re
from hashlib import sha256

import pytest
import torch
from support.data_streams import first_batches, read_split, same_batches
from support.image_folders import image_folder, write_image
from support.refusals import refuses

from ganlab.core.errors import ConfigError
from ganlab.data import files


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("crop", ["none", "center", "random"])
def test_files_and_memory_give_the_same_batches_bit_for_bit(album, crop, num_workers):
    settings = {"crop": crop, "flip": True, "batch_size": 3, "width": 6}
    held = image_folder(album, in_memory=True, **settings)
    read = image_folder(album, in_memory=False, num_workers=num_workers, **settings)
    batches = first_batches(held, 7)
    assert batches[0][0].shape == (3, 3, 8, 6)
    assert same_batches(batches, first_batches(read, 7))
    assert same_batches(batches[4:], first_batches(read, 3, start=4))
    assert same_batches(list(held.split("train", "cpu", 4)), list(read.split("train", "cpu", 4)))
    assert len(held) == len(read) == 11


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_subset_reads_no_other_files(album, num_workers):
    held = image_folder(album, in_memory=True, width=6)
    chosen = {int(label) for _, label in held.subset("train", 2, "cpu", 1)}
    (spoilt,) = {"a", "b", "c"} - {"abc"[label] for label in chosen}
    expected = list(held.subset("train", 2, "cpu", 1))
    data = image_folder(album, in_memory=False, num_workers=num_workers, width=6)
    for path in (album / spoilt).iterdir():
        path.write_bytes(b"")
    assert same_batches(list(data.subset("train", 2, "cpu", 1)), expected)


def test_random_crops_and_flips_differ_from_step_to_step(album):
    data = image_folder(album, crop="random", flip=True, batch_size=11)
    by_class = [x[y.argsort(stable=True)] for x, y in first_batches(data, 4)]
    assert all(not torch.equal(by_class[0], other) for other in by_class[1:])


def test_ranks_together_read_the_global_batch_from_files(album):
    settings = {"crop": "random", "flip": True, "batch_size": 4, "in_memory": False}
    parts = [first_batches(image_folder(album, **settings), 4, rank=r, world_size=2) for r in (0, 1)]
    whole = [(torch.cat([x, u]), torch.cat([y, v])) for (x, y), (u, v) in zip(*parts, strict=True)]
    assert same_batches(whole, first_batches(image_folder(album, **settings), 4))


def test_workers_do_not_use_the_default_generator(album):
    before = torch.get_rng_state()
    first_batches(image_folder(album, in_memory=False, num_workers=2), 2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def broken(album):
    """The album with a truncated image (c, last but one) and a text named like an image (b, first)."""
    truncated = album / "c" / "2.png"
    truncated.write_bytes(truncated.read_bytes()[:-40])
    (album / "b" / "1.png").write_text("not an image")
    (album / ".hidden.png").write_text("")
    (album / "a" / ".DS_Store").write_text("")
    return album


@pytest.mark.parametrize("reading", [{"in_memory": True}, {"in_memory": True, "num_workers": 2}])
def test_an_unreadable_file_is_refused_by_name_before_training(broken, reading):
    with pytest.raises(ConfigError) as refusal:
        image_folder(broken, **reading)
    sentence = r"[^\n]*b/1.png cannot be read as an image \([^\n]*\)"
    remedy = "Repair or remove it, or set data.on_corrupt=skip"
    assert re.fullmatch(rf"{sentence}\. {remedy}\.", str(refusal.value))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_unreadable_file_is_refused_by_name_when_it_is_read(broken, num_workers):
    data = image_folder(broken, in_memory=False, num_workers=num_workers)
    remedy = "repair or remove it, or set data.on_corrupt=skip"
    with refuses(reason=r"(b/1|c/2).png cannot be read as an image [^\n]*$", remedy=remedy):
        first_batches(data, 10)
    with refuses(reason="b/1.png cannot be read as an image", remedy=remedy):
        read_split(data)


def test_unreadable_files_can_be_skipped_and_memory_and_files_agree(broken):
    (broken / "notes.txt").write_text("a, b, c")
    (broken / "b" / "7.png").write_text("")
    settings = {"crop": "random", "flip": True, "batch_size": 11, "on_corrupt": "skip"}
    held = image_folder(broken, in_memory=True, **settings)
    lost = [str(broken / name) for name in ("notes.txt", "b/1.png", "b/7.png", "c/2.png")]
    assert held.skipped == lost
    read = [image_folder(broken, in_memory=False, num_workers=n, **settings) for n in (0, 2)]
    assert read[0].skipped == lost[:1]
    batches = first_batches(held, 4)
    assert same_batches(batches, first_batches(read[0], 4))
    assert same_batches(batches[2:], first_batches(read[1], 2, start=2))
    assert sorted(read[0].skipped) == sorted(read[1].skipped) == sorted(lost)
    # b/4 replaces b/1, and c/5 replaces b/7 and c/2: each label is that of the replacement.
    assert batches[0][1].bincount().tolist() == [4, 2, 5]
    assert read_split(held)[1].tolist() == read_split(read[1])[1].tolist() == [0] * 4 + [1] * 1 + [2] * 3


def test_the_first_readable_image_follows_the_last(tmp_path):
    for i in range(3):
        write_image(tmp_path / f"{i}.png", i)
    (tmp_path / "3.png").write_text("")
    for in_memory in (True, False):
        x, _ = first_batches(image_folder(tmp_path, on_corrupt="skip", batch_size=4, in_memory=in_memory), 1)[
            0
        ]
        first = read_split(image_folder(tmp_path, on_corrupt="skip", in_memory=in_memory))[0][0]
        assert sum(torch.equal(one, first) for one in x) == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_folder_of_unreadable_files_is_refused(tmp_path, num_workers):
    for i in range(3):
        (tmp_path / f"{i}.png").write_text("")
    settings = {"on_corrupt": "skip", "num_workers": num_workers}
    with refuses(reason="none of the 3 images can be read", remedy="set data.root"):
        image_folder(tmp_path, in_memory=True, **settings)
    with refuses(reason="none of the 3 images can be read", remedy="set data.root"):
        first_batches(image_folder(tmp_path, in_memory=False, **settings), 1)


NAMES = ("caf\udce9", "line\nend", "bell\a", "plain")


def test_names_of_any_bytes_are_hashed_and_printed_escaped(tmp_path):
    for i, name in enumerate(NAMES):
        write_image(tmp_path / f"{name} class" / f"{i}.png", i)
        write_image(tmp_path / f"{name} class" / f"{name}.png", i)
        (tmp_path / f"{name} class" / f"empty {name}.png").write_text("")
    data = image_folder(tmp_path, on_corrupt="skip", in_memory=True)
    assert len(data.fingerprint()) == 64
    for text in (*data.skipped, *data.class_names):
        assert text.isprintable()
        text.encode()
    assert data.class_names[1:3] == ("caf\\udce9 class", "line\\nend class")
    with pytest.raises(ConfigError, match=r"empty .* cannot be read") as refusal:
        image_folder(tmp_path, in_memory=True)
    assert str(refusal.value).isprintable()
    (tmp_path / "x\udce9.txt").write_text("")
    with pytest.raises(ConfigError, match=r"x\\udce9.txt is not an image"):
        image_folder(tmp_path)
    (tmp_path / "x\udce9.png").write_text("")
    with pytest.raises(ConfigError, match=r"both images \(x\\udce9.png\)"):
        image_folder(tmp_path)


def test_a_fingerprint_depends_on_names_order_and_contents(album, tmp_path_factory):
    def fingerprint() -> str:
        return image_folder(album, on_corrupt="skip", in_memory=False).fingerprint()

    (album / "a" / "nowhere.png").symlink_to("nowhere")
    os.mkfifo(album / "a" / "pipe.png")
    seen = [fingerprint()]
    assert image_folder(album, on_corrupt="skip", in_memory=True).fingerprint() == seen[0]
    moved = album.rename(tmp_path_factory.mktemp("moved") / "album")
    assert image_folder(moved, on_corrupt="skip", in_memory=False).fingerprint() == seen[0]
    moved.rename(album)
    one = album / "b" / "1.png"
    content = one.read_bytes()
    one.write_bytes(content[:-20] + b"x" + content[-19:])  # of the same size
    seen.append(fingerprint())
    (album / "a").rename(album / "z")
    seen.append(fingerprint())
    (album / "b" / "1.png").rename(album / "b" / "1b.png")
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)


def test_a_fingerprint_of_large_data_reads_a_part_of_it(album, monkeypatch):
    read = []
    monkeypatch.setattr(files, "sha256", lambda piece: read.append(piece) or sha256(piece))
    for most, num_read in ((1, 1), (2**30, 11)):
        monkeypatch.setattr(files, "MAX_TOTAL_BYTES", most)
        read.clear()
        assert len(image_folder(album, in_memory=False).fingerprint()) == 64
        assert len(read) == num_read
