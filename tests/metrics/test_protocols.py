"""Values of different protocols are not compared."""

from math import inf

import pytest
import torch
import yaml
from hydra.utils import get_class
from support.refusals import refuses
from support.small_games import ROOT, SMALL
from torch import Tensor, nn

from ganlab.config.build import build_data, build_game
from ganlab.config.compose import compose
from ganlab.core.randomness import proportional_classes
from ganlab.data.base import Data, scale
from ganlab.data.sources import TensorSource
from ganlab.metrics.evaluation import Evaluation
from ganlab.metrics.fidelity import FrechetDistance, InceptionScore
from ganlab.metrics.protocols import BOUNDS, bounds, differences, require_same_protocol

RECORD = {"value": 17.0, "step": 3000, "floor": 7.1, "beside": {"width": 1}, "split": "train", "n_fake": 1000}


def test_protocols_differ_in_how_values_are_computed_not_in_results() -> None:
    with_other_results = RECORD | {"value": 3.0, "step": 5, "floor": 9.0, "beside": {}}
    assert differences(RECORD, with_other_results) == {}
    assert differences(RECORD, with_other_results | {"n_fake": 5000}) == {"n_fake": (1000, 5000)}
    assert differences(RECORD, {"split": "train"}) == {"n_fake": (1000, None)}
    assert differences({"split": "train"}, RECORD) == {"n_fake": (None, 1000)}


def test_the_refusal_names_the_sources_and_the_difference() -> None:
    records = {"one": RECORD, "two": RECORD | {"step": 1}, "three": RECORD | {"split": "test"}}
    with refuses("fid", reason="^one and three are not comparable: split is train and test$"):
        require_same_protocol("fid", records)
    require_same_protocol("fid", {name: records[name] for name in ("one", "two")})


def uneven_data() -> Data:
    """Digits 0 and 1, ten to one in the training split, and one to three in the test split."""
    digits = build_data(compose("data=digits")).sources["train"]
    x, labels = digits.x, digits.labels
    zeros, ones = ((labels == label).nonzero()[:, 0] for label in (0, 1))
    rows = {"train": torch.cat([zeros[:130], ones[:13]]), "test": torch.cat([zeros[130:143], ones[13:52]])}
    sources = {
        split: TensorSource(x[indices], labels[indices], flip=False) for split, indices in rows.items()
    }
    return Data(shape=(1, 8, 8), num_classes=2, range=(-1.0, 1.0), batch_size=16, sources=sources)


class PerfectGenerator(nn.Module):
    """A generator that returns real images of the requested classes."""

    def __init__(self, data: Data):
        super().__init__()
        self.data = data
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        source = self.data.sources["train"]
        rows = []
        for z, label in zip(latent, condition, strict=True):
            rows_of_class = (source.labels == label).nonzero()[:, 0]
            # The latent determines the image.
            rows.append(rows_of_class[int(z[0].abs() * 1e4) % len(rows_of_class)])
        return scale(source.x[torch.stack(rows)], (-1.0, 1.0))


def test_samples_have_the_class_proportions_of_the_reference() -> None:
    data = uneven_data()
    cfg = compose(*SMALL, "trick=[label_conditioning,ema]", "data.num_classes=2")
    played = build_game(cfg, data)
    assert played.generator.class_counts == [130, 13]
    played.generator.body = played.tricks["ema"].averages["generator"].body = PerfectGenerator(data)
    metrics = {"fid": FrechetDistance("digits", "train"), "is": InceptionScore("digits", splits=10)}
    evaluation = Evaluation(metrics, data, n=500, n_real=None, seed=0)
    values = evaluation(played)
    record = evaluation.records(values, played)["fid/digits_train_500"]
    assert record["classes"] == "as the reference"
    assert torch.bincount(evaluation.classes).tolist() == [455, 45]
    metric = FrechetDistance("digits", "train")
    metric.setup(data, n_fake=500, n_real=143)
    for x, _ in data.split("train", "cpu", 143):
        metric.update((x + 1) / 2, "train")
    metric.update((played.sample(500) + 1) / 2)  # both classes equally often
    classes_in_turn = metric.compute()
    assert values["fid/digits_train_500"] < 5
    assert classes_in_turn["fid/digits_train_500"] > 50
    of_test = Evaluation({"fid": FrechetDistance("digits", "test")}, data, n=400, n_real=None, seed=0)
    assert torch.bincount(of_test.classes).tolist() == [100, 300]
    both = {split: FrechetDistance("digits", split) for split in ("train", "test")}
    with refuses(reason="the splits train and test have different proportions of classes"):
        Evaluation(both, data, n=400, n_real=None, seed=0).check_game(played)
    game_without_classes = build_game(compose(*SMALL), data)
    Evaluation(both, data, n=400, n_real=None, seed=0).check_game(game_without_classes)


def test_fewer_classes_in_proportion_are_the_first_ones_of_many() -> None:
    assert proportional_classes([5, 5, 5], 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    for counts in ([178, 182, 177, 183], [1000, 3, 7], [1] * 30, [0, 5, 2], [4]):
        many = proportional_classes(counts, n=2000)
        assert all(torch.equal(proportional_classes(counts, n), many[:n]) for n in (0, 1, 7, 500))
        expected = 2000 * torch.tensor(counts) / sum(counts)
        assert (torch.bincount(many, minlength=len(counts)) - expected).abs().max() < 1


def test_every_metric_of_the_configs_has_bounds() -> None:
    names: set[str] = set()
    for path in (ROOT / "conf" / "metric").glob("*.yaml"):
        for name, settings in (yaml.safe_load(path.read_text()) or {}).items():
            if "_target_" in settings:
                metric = get_class(settings["_target_"])
                found = getattr(metric, "name_prefixes", None) or getattr(metric, "names", None)
                # A metric of torchmetrics has the name of its setting.
                names |= {one.split("/")[0] for one in found or [getattr(metric, "name_prefix", name)]}
    assert names == set(BOUNDS)


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        ("fid/digits_train_1k", {"num_modes": 8}, (0, inf)),
        ("autoencoder/precision/digits", {}, (0, 1)),
        ("modes", {"num_modes": 8}, (0, 8)),
        ("modes", {"num_modes": "8"}, (0, inf)),
        ("errors/test", {"n_test": 360}, (0, 360)),
        ("kid/digits", {}, (-inf, inf)),
        ("mine/test", {}, (-inf, inf)),
    ],
)
def test_bounds_are_found_by_the_name_of_the_value(
    name: str, record: dict[str, object], expected: tuple[float, float]
) -> None:
    assert bounds(name, record) == expected
