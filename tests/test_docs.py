"""The page of tricks is generated from the code: if these tests fail, run `make docs`."""

import re
import subprocess
import sys
from pathlib import Path

import docs
import pytest
import torch
from ganhacks import GANHACKS
from support.modules import build
from torch import nn

from ganlab import listings
from ganlab.config.compose import compose


def test_the_page_of_tricks_is_up_to_date() -> None:
    """test_contract.py and test_pairs.py compare the refused combinations with what they build."""
    assert docs.README.read_text() == docs.page(docs.read_refused()), "run make docs"


def test_refused_combinations_are_read_as_they_were_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(docs, "REFUSED", tmp_path / "refused.json")
    objectives, pairs = {("r1", "mmd"), ("r1", "energy"), ("r2", "mmd")}, {("lecam", "r1")}
    refused = docs.Refused(objectives, pairs, {("packing", "pix2pix")})
    docs.write_refused(refused)
    assert docs.read_refused() == refused


def test_every_trick_has_a_summary_and_a_paper() -> None:
    for trick in docs.option_names("trick"):
        sentence, paper = docs.summary(docs.trick_class(trick))
        assert 20 < len(sentence) < 200, (trick, sentence)
        assert re.search(r"[A-Z]\S+.* (19|20)\d\d", paper), (trick, paper)


def test_a_cost_names_its_network_unless_it_is_the_dcgan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(listings, "COSTS", tmp_path / "costs.csv")
    listings.COSTS.write_text(
        "trick,per cent of a step,workload,machine\n"
        'r1,31,"DCGAN 28x28, batch 64",a Cray\n'
        'r2,7,"MLP 1200-1200, batch 64",a Cray\n'
        "ema,,,an abacus\n"
    )
    rows = [re.split(r"(?<!\\) \| ", line) for line in docs.trick_table(["ema", "r1", "r2"], set())[2:]]
    assert [row[4] for row in rows] == ["", "31", "7 (MLP)"]
    assert "Measured on a Cray; an abacus." in docs.cost_note(docs.read_costs())


def test_there_are_seventeen_ganhacks() -> None:
    assert len(GANHACKS) == 17


def test_the_ganhack_against_sparse_gradients_leaves_no_relu() -> None:
    game = build(compose("logger=csv", *GANHACKS[4][1])).game
    kinds = {type(layer) for layer in game.modules()}
    assert nn.LeakyReLU in kinds
    assert not {nn.ReLU, nn.MaxPool2d} & kinds


def test_the_ganhack_of_dropout_keeps_it_on_when_sampling() -> None:
    with_dropout = build(compose("logger=csv", *GANHACKS[16][1])).game.eval()
    without = build(compose("logger=csv", "trick=generator_dropout")).game.eval()
    without.load_state_dict(with_dropout.state_dict())
    assert not torch.equal(with_dropout.sample(4), without.sample(4))


def override_variants(tip: int) -> list[list[str]]:
    """The overrides of a tip, and these with each alternative that its remark names."""
    _, settings, remark = GANHACKS[tip]
    variants = [code.split() for code in re.findall(r"`([^`]*)`", remark)]
    by_key = [{word.split("=")[0]: word for word in (*settings, *variant)} for variant in ([], *variants)]
    return [list(words.values()) for words in by_key if all("=" in word for word in words.values())]


@pytest.mark.parametrize(
    ("tip", "settings"), [(i, settings) for i in range(17) for settings in override_variants(i)]
)
def test_the_settings_of_a_ganhack_build(tip: int, settings: list[str]) -> None:
    build(compose("logger=csv", *settings))


def test_every_trick_has_a_cost() -> None:
    for row in docs.read_costs():
        assert docs.cost_cell(row) or row["machine"] == "", row
    measured = {row["trick"] for row in docs.read_costs()}
    assert measured == set(docs.option_names("trick")), "run scripts/bench_tricks.py"


@pytest.mark.for_test_all
def test_the_site_is_built_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "-f",
        "scripts/mkdocs.yml",
        "-d",
        tmp_path,
    ]
    result = subprocess.run(command, cwd=docs.ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "One player's view of a step" in (tmp_path / "reference" / "core.turn.html").read_text()
    assert (tmp_path / "experiments" / "digits.png").is_file()
