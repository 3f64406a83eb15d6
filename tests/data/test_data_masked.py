"""Images of which a part is missing: the masks, what is left, and what the trick paste_known returns."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from support.image_folders import write_image
from support.refusals import refuses
from support.small_games import game, play_steps

from ganlab.config.build import build_data
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.data.masked import stroke_mask
from ganlab.run import run
from ganlab.sample import sample

RANDOM = ("rectangle", "pixels", "strokes")
KINDS = ("centre", *RANDOM, "downscale")


def masked(*overrides: str) -> Data:
    return build_data(compose("logger=csv", "data=masked", *overrides))


def folder(root: Path, *overrides: str) -> Data:
    """Colour images of a folder as the other data."""
    for i in range(8):
        write_image(root / f"{i}.png", i, (9, 12))
    sizes = ("data.of.height=8", "data.of.width=12", "data.of.batch_size=4", "data.of.num_workers=0")
    return masked("data@data.of=folder", f"data.of.root={root}", *sizes, "metric=none", *overrides)


def batches(data: Data, n: int, seed: int = 0, **parts: int) -> list[Any]:
    return [batch.real for batch in islice(data.stream(seed, lambda: 0, "cpu", **parts), n)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_agrees_with_the_image(kind: str) -> None:
    data = masked(f"data.kind={kind}", "data.size=0.5")
    for x, condition, _ in batches(data, 3):
        if kind == "downscale":
            assert condition.shape == x.shape
            assert 0.01 < (condition - x).abs().mean() < 0.5
            continue
        known, mask = condition[:, :1], condition[:, 1:]
        assert set(mask.unique().tolist()) == {-1.0, 1.0}
        assert torch.equal(known, torch.where(mask > 0, x, torch.full_like(x, -1)))
        share = float((mask < 0).float().mean())
        assert share == pytest.approx(0.25 if kind in ("centre", "rectangle") else 0.5, abs=0.1)


def test_the_centre_is_in_the_centre() -> None:
    mask = batches(masked(), 1)[0].condition[0, 1] > 0
    rows, columns = (~mask).nonzero().T
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (2, 5, 2, 5)


@pytest.mark.parametrize("kind", RANDOM)
def test_masks_are_a_function_of_the_seed(kind: str) -> None:
    settings = f"data.kind={kind}", "data.size=0.4"
    data, again = masked(*settings), masked(*settings)
    one, same, other = batches(data, 2), batches(again, 2), batches(data, 2, seed=1)
    assert all(torch.equal(a.condition, b.condition) for a, b in zip(one, same, strict=True))
    masks = [mask for batch in one + other for mask in (batch.condition[:, 1:] > 0).unbind()]
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > (25 if kind == "rectangle" else 200)
    halves = [batches(data, 1, rank=rank, world_size=2)[0].condition for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), one[0].condition)
    # Held-out images have one mask each, whatever the seed of the run, until mask_seed changes.
    held, again_held = (next(d.split("test", "cpu", 50))[1] for d in (data, again))
    assert torch.equal(held, again_held)
    assert torch.equal(data.conditions("test")(50), held)
    assert not torch.equal(next(masked(*settings, "data.mask_seed=1").split("test", "cpu", 50))[1], held)
    assert data.fingerprint() == again.fingerprint()
    assert data.fingerprint() != masked(*settings, "data.mask_seed=1").fingerprint()


def test_strokes_just_reach_their_share() -> None:
    for share in (0.1, 0.5, 0.8):
        missing = [
            float((~stroke_mask(28, 28, share, torch.Generator().manual_seed(i))).float().mean())
            for i in range(20)
        ]
        assert min(missing) >= share
        assert max(missing) < share + 0.17


@pytest.mark.parametrize("in_memory", [True, False])
def test_pictures_of_a_folder_lose_their_colours(tmp_path: Path, in_memory: bool) -> None:
    data = folder(tmp_path, "data.kind=grey", "data.size=null", f"data.of.in_memory={in_memory}")
    (x, condition, _), *_ = batches(data, 1)
    assert condition.shape == (4, 1, 8, 12)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((x * weights).sum(1, keepdim=True), condition, atol=0.005, rtol=0)


def test_an_image_and_what_is_left_of_it_are_mirrored_as_one(tmp_path: Path) -> None:
    data = folder(
        tmp_path, "data.of.flip=true", "data.of.crop=random", "data.kind=pixels", "data.of.validation=2"
    )
    assert {split: len(source) for split, source in data.sources.items()} == {"train": 6, "validation": 2}
    for x, condition, _ in batches(data, 4):
        known, mask = condition[:, :3], condition[:, 3:]
        assert torch.equal(known, torch.where(mask > 0, x, torch.full_like(x, -1)))


def test_impossible_masks_are_refused(tmp_path: Path) -> None:
    with refuses("data.size", 0.5, "does not go with kind=grey", "set it to null"):
        masked("data.kind=grey")
    with refuses("data.size", None, "does not go with kind=centre", "set a share"):
        masked("data.size=null")
    with refuses("data.kind", "grey", "needs images of three channels"):
        masked("data.kind=grey", "data.size=null")
    with refuses("data.of", reason="has conditions of its own"):
        masked("data@data.of=half_digits")
    with refuses("data.of.labelled", reason="has no effect here", remedy="set it to null"):
        masked("data.of.labelled=20")
    with refuses("data.condition", reason="must be an image of the shape \\[2, 8, 8\\]"):
        masked("data.condition.shape=[3,8,8]")


@pytest.mark.parametrize("tricks", [[], ["virtual_batch_norm"], ["ema", "generator_dropout"]])
def test_known_pixels_come_back_bit_for_bit(tricks: list[str]) -> None:
    module = game("non_saturating", ["paste_known", *tricks], model="inpainting")
    play_steps(module, 2)
    condition = next(build_data(compose("data=masked", "data.kind=pixels")).split("test", "cpu", 40))[1]
    samples = module.game.sample(40, conditions=condition)
    is_known = condition[:, 1:] > 0
    assert torch.equal(samples[is_known], condition[:, :1][is_known])
    assert not torch.equal(samples, condition[:, :1])
    everything = torch.cat([condition[:, :1], torch.ones_like(condition[:, 1:])], 1)
    assert torch.equal(module.game.sample(40, conditions=everything), condition[:, :1])


def test_nothing_is_pasted_without_a_mask() -> None:
    with refuses("trick", "paste_known", "a last channel with the name mask", "choose data=masked"):
        game("non_saturating", ["paste_known"], model="pix2pix")


def test_a_run_on_masked_images_continues_when_these_have_moved(tmp_path: Path) -> None:
    folder(tmp_path / "old", "data.kind=strokes")
    sizes = ("data.of.height=8", "data.of.width=8", "data.of.batch_size=4", "data.of.num_workers=0")
    small = ("model=pix2pix_small", "model.generator.width=4", "metric=none", "logger=csv", "steps=1")
    source = ("data=masked", "data@data.of=folder", f"data.of.root={tmp_path / 'old'}", "data.kind=strokes")
    run_dir = tmp_path / "run"
    given = [*source, *sizes, *small, f"run_dir={run_dir}"]
    run(compose(*given), given)
    (tmp_path / "old").rename(tmp_path / "new")
    steps, moved = [f"resume={run_dir}", "steps=2"], f"data.of.root={tmp_path / 'new'}"
    run(compose(*steps), [*steps, moved])
    drawn = [f"run_dir={run_dir}", "n=4", f"root={tmp_path / 'new'}", "condition=train"]
    assert sample(compose(*drawn, config_name="sample"), drawn).is_file()
    with refuses("resume", str(run_dir), "but data.of.batch_size would change"):
        run(compose(*steps), [*steps, moved, "data.of.batch_size=2"])
