"""The table of all tricks is the code's: run `make docs` where these fail."""

import re
from pathlib import Path

import docs
import pytest
import torch
from ganhacks import GANHACKS
from torch import nn

from ganlab.config.compose import compose
from ganlab.training.build import build


def test_the_table_of_tricks_is_up_to_date() -> None:
    """But for what is refused, which the contract compares with what it builds."""
    assert docs.README.read_text() == docs.document(docs.written()), "run make docs"


def test_every_trick_names_what_it_does_and_its_paper() -> None:
    for trick in docs.options("trick"):
        sentence, paper = docs.what(docs.trick_class(trick))
        assert 20 < len(sentence) < 200, (trick, sentence)
        assert re.search(r"[A-Z]\S+.* (19|20)\d\d", paper), (trick, paper)


def test_a_cost_says_where_it_was_measured_unless_on_the_dcgan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(docs, "COSTS", tmp_path / "costs.csv")
    docs.COSTS.write_text(
        "trick,per cent of a round,workload,machine\n"
        'r1,31,"DCGAN 28x28, batch 64",a Cray\n'
        'r2,7,"MLP 1200-1200, batch 64",a Cray\n'
        "ema,,,an abacus\n"
    )
    rows = docs.cells("\n".join(docs.overview(["ema", "r1", "r2"], set())))[2:]
    assert [row[4] for row in rows] == ["", "31", "7 (MLP)"]
    assert "Measured on a Cray; an abacus." in docs.measured(docs.costs())


def test_there_are_seventeen_ganhacks() -> None:
    assert len(GANHACKS) == 17


def test_no_relu_is_left_where_there_are_to_be_no_sparse_gradients() -> None:
    game = build(compose("logger=csv", *GANHACKS[4][1])).game
    kinds = {type(layer) for layer in game.modules()}
    assert nn.LeakyReLU in kinds
    assert not {nn.ReLU, nn.MaxPool2d} & kinds


def test_dropout_stays_on_in_testing_where_it_is_to() -> None:
    tip = build(compose("logger=csv", *GANHACKS[16][1])).game.eval()
    off = build(compose("logger=csv", "trick=generator_dropout")).game.eval()
    off.load_state_dict(tip.state_dict())
    assert not torch.equal(tip.sample(4), off.sample(4))


def commands(tip: int) -> list[list[str]]:
    """The settings of a tip, and in the place of some or beside them those that its remark names."""
    _, settings, remark = GANHACKS[tip]
    named = [part.split() for part in re.findall(r"`([^`]*)`", remark)]
    keyed = [{word.split("=")[0]: word for word in (*settings, *part)} for part in ([], *named)]
    return [list(words.values()) for words in keyed if all("=" in word for word in words.values())]


@pytest.mark.parametrize(("tip", "settings"), [(i, settings) for i in range(17) for settings in commands(i)])
def test_the_settings_of_a_ganhack_build(tip: int, settings: list[str]) -> None:
    build(compose("logger=csv", *settings))


def test_every_trick_has_a_cost() -> None:
    for row in docs.costs():
        assert docs.cost(row) or row["machine"] == "", row
    assert {row["trick"] for row in docs.costs()} == set(docs.options("trick")), "run scripts/bench_tricks.py"
