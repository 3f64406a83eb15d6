"""The digits against scikit-learn's."""

from __future__ import annotations

import pytest
import torch

from ganlab.data.digits import Digits
from ganlab.errors import Refused


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    found = load_digits()
    data = Digits([1, 8, 8], 10, [-1, 1], 64)
    assert len(data) == 1437
    (x, y) = next(data.split("test", "cpu", 1000))
    assert x.shape == (360, 1, 8, 8)
    assert y.tolist() == found.target[1437:].tolist()
    assert torch.allclose((x[:, 0] + 1) * 8, torch.from_numpy(found.images[1437:]).float(), atol=8 / 255)
    x, y = next(iter(data.stream(0, lambda: 0, "cpu")))
    assert x.shape == (64, 1, 8, 8)
    assert y.dtype == torch.int64
    assert (x.min(), x.max()) == (-1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [1, 16, 16]}, r"data.shape=\[1,16,16\] .*data.shape=\[1,8,8\]"),
        ({"num_classes": 12}, "data.num_classes=12 .*=10"),
        ({"num_classes": None}, "data.num_classes=null"),
        ({"range": [0, 255]}, r"data.range=\[0,255\]"),
        ({"range": None}, "data.range=null"),
    ],
)
def test_declared_facts_that_contradict_the_data_are_refused(change, message):
    facts = {"shape": [1, 8, 8], "num_classes": 10, "range": [-1, 1], "batch_size": 64}
    with pytest.raises(Refused, match=message):
        Digits(**(facts | change))
