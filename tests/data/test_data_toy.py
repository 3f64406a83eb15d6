"""The ring against its own parameters."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from omegaconf import OmegaConf

from ganlab.data.toy import Ring
from ganlab.errors import Refused


def ring(**changes: object) -> Ring:
    facts = {"modes": 8, "radius": 1.0, "std": 0.01, "size": 20_000, "data_seed": 0, "batch_size": 512}
    facts |= {"shape": [2], "num_classes": 8, "range": None}
    return Ring(**(facts | changes))


def everything(data: Ring, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    return next(data.split(split, "cpu", 10**6))


def test_samples_have_the_modes_and_the_deviation_that_were_asked_for():
    data = ring(modes=5, num_classes=5, radius=3.0, std=0.2)
    x, y = everything(data, "train")
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float32
    assert torch.allclose(data.centres.norm(dim=1), torch.tensor(3.0))
    assert torch.allclose(data.centres[0], torch.tensor([3.0, 0.0]))
    neighbours = (data.centres - data.centres.roll(1, 0)).norm(dim=1)
    assert torch.allclose(neighbours, neighbours.mean().expand(5))
    for mode in range(5):
        rest = x[y == mode] - data.centres[mode]
        assert abs(len(rest) - 4000) < 5 * sqrt(20_000 * 0.2 * 0.8)
        assert rest.mean(0).abs().max() < 5 * 0.2 / sqrt(len(rest))
        assert rest.std(0).sub(0.2).abs().max() < 5 * 0.2 / sqrt(2 * len(rest))


def test_the_samples_depend_on_the_seed_of_the_data_only():
    x, _ = everything(ring(), "train")
    assert torch.equal(x, everything(ring(), "train")[0])
    assert not torch.equal(x, everything(ring(data_seed=1), "train")[0])
    assert not torch.equal(x, everything(ring(), "test")[0])


def test_batches_are_not_scaled():
    data = ring(radius=100.0)
    x, y = next(iter(data.stream(0, lambda: 0, "cpu")))
    assert x.shape == (512, 2)
    assert (x - data.centres[y]).abs().max() < 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 10}, "data.num_classes=10 .*data.num_classes=8"),
        ({"shape": [1, 8, 8]}, r"data.shape=\[1,8,8\] .*data.shape=\[2\]"),
        ({"range": [-1, 1]}, r"data.range=\[-1,1\] .*data.range=null"),
        ({"modes": 0, "num_classes": 0}, "data.modes=0"),
        ({"std": -1.0}, "data.std=-1.0"),
        ({"size": 100}, "batch_size=512 .* 100 "),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(Refused, match=message):
        ring(**change)


def test_the_yaml_builds_it_with_as_many_classes_as_modes():
    cfg = OmegaConf.create({"data": OmegaConf.load("conf/data/ring.yaml")})
    cfg.data.modes = 12
    facts = OmegaConf.to_container(cfg, resolve=True)["data"]
    data = Ring(**{key: value for key, value in facts.items() if key not in ("_target_", "defaults")})
    assert (data.num_classes, data.std, len(data.centres), len(data)) == (12, 0.01, 12, 50_000)
