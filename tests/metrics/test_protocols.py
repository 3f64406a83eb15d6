"""Numbers that were not made alike are not set beside each other."""

import pytest
import torch
from support.small_games import SMALL
from torch import Tensor, nn

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.core.randomness import proportional_classes
from ganlab.data.base import Data, scale
from ganlab.data.sources import Memory
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.fidelity import FrechetDistance, InceptionScore
from ganlab.metrics.protocols import differences, refuse_unlike

RECORD = {"value": 17.0, "step": 3000, "floor": 7.1, "beside": {"width": 1}, "split": "train", "n_fake": 1000}


def test_what_was_found_is_no_difference_and_how_it_was_made_is() -> None:
    other = RECORD | {"value": 3.0, "step": 5, "floor": 9.0, "beside": {}}
    assert differences(RECORD, other) == {}
    assert differences(RECORD, other | {"n_fake": 5000}) == {"n_fake": (1000, 5000)}
    assert differences(RECORD, {"split": "train"}) == {"n_fake": (1000, None)}
    assert differences({"split": "train"}, RECORD) == {"n_fake": (None, 1000)}


def test_the_refusal_names_whose_numbers_and_what_differs() -> None:
    records = {"one": RECORD, "two": RECORD | {"step": 1}, "three": RECORD | {"split": "test"}}
    with pytest.raises(
        ConfigError,
        match="^fid of one and of three do not compare: split is train and test; measure both alike$",
    ):
        refuse_unlike("fid", records)
    refuse_unlike("fid", {name: records[name] for name in ("one", "two")})


def uneven() -> Data:
    """Ten zeros for each one, and another proportion in the test split."""
    every = build_data(compose("data=digits")).sources["train"]
    x, y = every.x, every.labels
    zeros, ones = ((y == label).nonzero()[:, 0] for label in (0, 1))
    rows = {"train": torch.cat([zeros[:130], ones[:13]]), "test": torch.cat([zeros[130:143], ones[13:52]])}
    sources = {split: Memory(x[some], y[some], flip=False) for split, some in rows.items()}
    return Data((1, 8, 8), 2, (-1.0, 1.0), 16, sources)


class Perfect(nn.Module):
    """Real images of the classes that are asked for, in the place of a conditional game's samples."""

    def __init__(self, data: Data):
        super().__init__()
        self.data = data
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        x, y = self.data.sources["train"].x, self.data.sources["train"].labels
        own = [(y == label).nonzero()[:, 0] for label in condition.tolist()]
        chance = (latent[:, 0].abs() * 1e4).long().tolist()
        rows = [some[k % len(some)] for some, k in zip(own, chance, strict=True)]
        return scale(x[torch.stack(rows)], (-1.0, 1.0))


def test_classes_are_asked_for_as_often_as_the_reference_has_them() -> None:
    data = uneven()
    cfg = compose(*SMALL, "trick=[label_conditioning,ema]", "data.num_classes=2")
    played = build_game(cfg, data)
    assert played.generator.class_counts == [130, 13]
    played.generator.body = played.tricks["ema"].averages["generator"].body = Perfect(data)
    metrics = {"fid": FrechetDistance("digits", "train"), "is": InceptionScore("digits", 10)}
    evaluation = Evaluation(metrics, data, 500, None, 0)
    found = evaluation(played)
    record = evaluation.record(found, played)["fid/digits_train_500"]
    assert record["classes"] == "as the reference"
    assert torch.bincount(evaluation.classes).tolist() == [455, 45]
    in_turn = FrechetDistance("digits", "train")
    in_turn.check(data, 500, 143)
    for x, _ in data.split("train", "cpu", 143):
        in_turn.update((x + 1) / 2, real=True)
    in_turn.update((played.sample(500) + 1) / 2, real=False)
    assert found["fid/digits_train_500"] < 5 < 50 < in_turn.compute()["fid/digits_train_500"]
    of_test = Evaluation({"fid": FrechetDistance("digits", "test")}, data, 400, None, 0)
    assert torch.bincount(of_test.classes).tolist() == [100, 300]
    beside = {split: FrechetDistance("digits", split) for split in ("train", "test")}
    with pytest.raises(ConfigError, match="the splits train and test have classes in other proportions"):
        Evaluation(beside, data, 400, None, 0).check_game(played)
    Evaluation(beside, data, 400, None, 0).check_game(build_game(compose(*SMALL), data))  # no classes


def test_classes_in_proportion_hang_not_on_how_many() -> None:
    assert proportional_classes([5, 5, 5], 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    for counts in ([178, 182, 177, 183], [1000, 3, 7], [1] * 30, [0, 5, 2], [4]):
        many = proportional_classes(counts, 2000)
        assert all(torch.equal(proportional_classes(counts, n), many[:n]) for n in (0, 1, 7, 500))
        expected = 2000 * torch.tensor(counts) / sum(counts)
        assert (torch.bincount(many, minlength=len(counts)) - expected).abs().max() < 1
