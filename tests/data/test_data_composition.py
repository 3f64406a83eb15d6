"""Which samples are in which split: classes, validation samples, and what is kept of each class."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict
from support.data_streams import first_batches, read_split, same_batches
from support.image_folders import image_folder, write_image
from support.refusals import refuses

from ganlab.config import identity
from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.data.base import Data
from ganlab.data.composition import Composition
from ganlab.data.sources import TensorSource

LABELS = torch.tensor([0] * 8 + [1] * 12 + [2] * 20)
NAMES = ("cat", "dog", "boot")


def numbered(batch_size: int = 2, labelled: int | None = None, **composition: Any) -> Data:
    """Points of the value of their row: 40 for training and 20 for testing, whose classes are uneven."""
    train, test = torch.arange(40.0)[:, None], torch.arange(100.0, 120)[:, None]
    sources = {
        "train": TensorSource(train, LABELS, flip=False),
        "test": TensorSource(test, LABELS[::2], flip=False),
    }
    settings: Composition = composition  # type: ignore[assignment]
    return Data((1,), 3, None, batch_size, sources, NAMES, labelled=labelled, **settings)


def rows(data: Data, split: str = "train") -> list[int]:
    return read_split(data, split)[0].flatten().int().tolist()


def test_chosen_classes_are_numbered_in_the_order_of_the_list() -> None:
    data = numbered(classes=["boot", 0])
    assert (data.num_classes, data.class_names) == (2, ("boot", "cat"))
    assert rows(data) == [*range(8), *range(20, 40)]
    assert read_split(data)[1].tolist() == [1] * 8 + [0] * 20
    assert data.class_counts() == [20, 8]
    assert data.class_counts("test") == [10, 4]
    assert data.proportional_labels(7).bincount().tolist() == [5, 2]
    assert data.condition.num_classes == 2
    held_out, labels = read_split(data, "held_out")
    assert held_out.flatten().tolist() == [*range(104, 110)]
    assert labels is None
    assert data.class_counts("held_out") is None


def test_without_a_test_split_training_samples_are_held_out() -> None:
    source = TensorSource(torch.arange(40.0)[:, None], LABELS, flip=False)
    data = Data((1,), 3, None, 4, {"train": source}, classes=[1])
    assert rows(data, "held_out") == [*range(8), *range(20, 40)]
    assert data.class_names == ("1",)  # without names, the numbers of the whole data set


def test_without_the_settings_nothing_changes() -> None:
    assert rows(numbered()) == [*range(40)]
    assert numbered().fingerprint() == numbered(classes=None, share=None, per_class=None).fingerprint()
    assert set(numbered().sources) == {"train", "test"}
    assert numbered().fingerprint() != numbered(per_class=2).fingerprint()


def test_only_the_training_split_is_thinned_and_less_is_a_part_of_more() -> None:
    small, large = numbered(per_class=3), numbered(per_class=6)
    assert small.class_counts() == [3, 3, 3]
    assert large.class_counts() == [6, 6, 6]
    assert set(rows(small)) < set(rows(large))
    assert rows(small) == sorted(rows(small))
    assert rows(small) != [0, 1, 2, 8, 9, 10, 20, 21, 22]  # a random choice
    assert rows(small, "test") == [*range(100, 120)]
    few, more = numbered(share={"boot": 0.1}), numbered(share={2: 0.5, "dog": 0.5})
    assert few.class_counts() == [8, 12, 2]
    assert more.class_counts() == [8, 6, 10]
    assert {row for row in rows(few) if row >= 20} < set(rows(more))
    assert numbered(share={"boot": 1e-6}).class_counts() == [8, 12, 1]
    assert numbered(share={"boot": 1}).class_counts() == [8, 12, 20]


def test_the_settings_act_in_a_fixed_order() -> None:
    last = numbered(classes=[2, 1], validation=5, validation_choice="last", per_class=10, share={"dog": 0.5})
    assert rows(last, "validation") == [*range(35, 40)]  # of the classes only, before anything is thinned
    assert last.class_counts("validation") == [5, 0]
    assert last.class_counts() == [10, 5]  # the share is one of `per_class`
    labelled = numbered(per_class=6, labelled=6).labelled_subset
    assert labelled.labels.bincount().tolist() == [6, 6, 6]
    with refuses(".labelled", 21, "takes 7 samples of each class, but one class has only 6"):
        numbered(per_class=6, labelled=21)


@pytest.mark.parametrize("name", ["random", "last"])
def test_a_validation_split_has_samples_that_no_other_has(name: str) -> None:
    data = numbered(validation=10, validation_choice=name)
    validation = rows(data, "validation")
    assert sorted([*rows(data), *validation]) == [*range(40)]
    assert (validation == [*range(30, 40)]) == (name == "last")


def test_the_seed_of_the_run_changes_no_choice() -> None:
    settings = (
        "data.per_class=20",
        "data.share={3: 0.5}",
        "data.validation=9",
        "data.classes=[3,4]",
        "data.batch_size=8",
    )
    one, other = (build_data(compose(*settings, f"seed={seed}")) for seed in (0, 1))
    assert one.fingerprint() == other.fingerprint()
    assert one.class_counts() == [10, 20]


def test_indices_count_within_the_chosen_samples() -> None:
    data = numbered(classes=["dog", "boot"], per_class=7)
    seen = set()
    for batch in itertools.islice(data.stream(0, lambda: 0, "cpu"), 14):
        (stored, labels), *_ = data.samples_at("train", batch.indices, "cpu", 2)
        assert torch.equal(batch.real.x, stored)
        assert torch.equal(batch.real.condition, labels)
        seen |= set(batch.indices.tolist())
    assert seen == set(range(14))


@pytest.mark.parametrize(
    ("settings", "key", "value", "reason"),
    [
        ({"classes": ["cow"]}, ".classes", "cow", "is not a class of the data"),
        ({"classes": [3]}, ".classes", 3, "is not a class of the data"),
        ({"classes": [-1]}, ".classes", -1, "is not a class of the data"),
        ({"classes": ["cat", 0]}, ".classes", ["cat", 0], "gives a class twice"),
        ({"share": {"cow": 0.5}}, ".share", "cow", "is not a class of the data"),
        ({"share": {"dog": 0.5}, "classes": [0]}, ".share", "dog", "is held out by data.classes"),
        ({"share": {"dog": 0.0}}, ".share.dog", 0.0, "above 0 and at most 1"),
        ({"share": {1: 1.5}}, ".share.dog", 1.5, "above 0 and at most 1"),
        ({"per_class": 9}, ".per_class", 9, "exceeds the smallest class, which has 8 training samples"),
        ({"validation": 40, "validation_choice": "last"}, ".validation", 40, "holds out all 40 samples"),
        ({"validation": 4}, ".validation_choice", None, "is needed by data.validation"),
        ({"batch_size": 9, "per_class": 2}, ".batch_size", 9, "exceeds the 6 training samples"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], key: str, value: Any, reason: str) -> None:
    with refuses(key, value, reason):
        numbered(**settings)


@pytest.mark.parametrize("setting", [{"classes": [0]}, {"per_class": 1}, {"share": {0: 0.5}}])
def test_data_without_labels_are_refused(setting: dict[str, Any]) -> None:
    (key, value) = next(iter(setting.items()))
    with refuses(f".{key}", value, "needs data with labels"):
        Data((1,), None, None, 1, {"train": TensorSource(torch.zeros(4, 1), None, flip=False)}, **setting)


def test_a_game_is_told_the_chosen_classes_with_and_without_data() -> None:
    overrides = ("data.classes=[7,1,4]", "trick=label_conditioning")
    cfg = compose(*overrides, "model.generator.hidden=[4]", "model.discriminator.hidden=[4]")
    data = build_data(cfg)
    for game in (build_game(cfg, data), build_game(cfg)):
        assert game.generator.num_classes == 3
        assert game.asked(4).tolist() == [0, 1, 2, 0]
    assert data.class_names == ("7", "1", "4")
    assert cfg.data.num_classes == 10


def test_a_run_without_the_settings_has_the_hash_that_it_had() -> None:
    cfg = compose("experiment=ring_modes")
    assert identity.config(cfg) == "6aab4be28687"  # in the committed rows
    cfg = compose()
    bare = compose()
    with open_dict(bare):
        for key in ("classes", "per_class", "share"):
            del bare.data[key]
    assert identity.config(cfg) == identity.config(bare)
    assert identity.config(cfg) != identity.config(compose("data.per_class=9"))


def test_a_part_of_a_toy_has_the_distribution_of_this_part() -> None:
    data = build_data(compose("data=mixture_1d", "data.weights=[1,3]", "+data.classes=[1]", "data.size=900"))
    assert data.distribution.centres.tolist() == [[1.5]]
    assert data.distribution.weights.tolist() == [1]
    x, labels = read_split(data, "test")
    assert (
        len(x)
        == len(labels)
        == build_data(compose("data=mixture_1d", "data.weights=[1,3]", "data.size=900")).class_counts("test")[
            1
        ]
    )
    assert abs(float(x.mean()) - 1.5) < 0.1


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_folder_is_composed_before_it_is_read(album: Path, in_memory: bool, num_workers: int) -> None:
    """An unreadable file is replaced by one of the chosen classes, never by one that is held out."""
    (album / "a" / "9.png").write_text("")  # the last of its class, before the first of class b
    (album / "b" / "1.png").write_text("")  # held out, and so not read
    settings = {"on_corrupt": "skip", "batch_size": 8, "crop": "random", "flip": True}
    data = image_folder(album, classes=["c", "a"], in_memory=in_memory, num_workers=num_workers, **settings)
    assert data.class_names == ("c", "a")
    (x, labels), *_ = batches = first_batches(data, 3)
    assert labels.bincount().tolist() == [5, 3]  # the first of class c in the place of the last of class a
    held = image_folder(album, classes=["c", "a"], in_memory=True, **settings)
    assert same_batches(batches, first_batches(held, 3))
    assert str(album / "a" / "9.png") in data.skipped
    assert len(data) == 8
    assert data.fingerprint() == held.fingerprint() != image_folder(album, **settings).fingerprint()


def test_a_folder_has_validation_and_labelled_images(album: Path) -> None:
    data = image_folder(album, validation=3, per_class=2, labelled=3, batch_size=3)
    assert data.class_counts() == [2, 2, 2]
    assert sum(data.class_counts("validation")) == 3
    labelled = next(iter(data.stream(0, lambda: 0, "cpu"))).labelled
    assert sorted(labelled.condition.tolist()) == [0, 1, 2]
    with refuses(".classes", reason="needs data with labels"):
        write_image(album / "flat" / "0.png", 0)
        image_folder(album / "flat", classes=[0], batch_size=1)


def test_all_images_of_a_class_move_with_their_conditions() -> None:
    """Conditions are images here, so that classes only choose samples."""
    data = build_data(
        compose("data=half_digits", "+data.classes=[1]", "+data.per_class=40", "data.batch_size=8")
    )
    assert (len(data), data.num_classes, data.class_names) == (40, None, ("1",))
    x, half = read_split(data)
    assert torch.equal(half[:, :, :4], x[:, :, :4])
