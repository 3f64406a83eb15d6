"""suite.yaml and sweep.yaml: their contents, and refusals that name the line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from support.studies import SEARCH, write_search, write_suite

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.studies.search import distribution, ends
from ganlab.studies.spec import read_search, read_study, read_suite

GOOD = """\
question: Does R1 help?
base: [model=gan, 'metric=[fid,is]', steps=4]
seeds: 2
metrics: [fid, is]
source: Nobody 2014, table 1
arms:
  plain: {}
  r1: {overrides: [trick=r1], published: {fid: [7.9, 0.1], is: 8}}
  ema:
    overrides:
      - trick=ema
"""
NOTE = 'note: "It costs ${5, or ${no:thing}"\n'  # texts are taken as they are
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))


def test_a_suite_has_the_contents_of_its_file(tmp_path: Path) -> None:
    found = read_suite(
        write_suite(tmp_path / "tricks", f"{GOOD}order: [ema, plain]\nignore: [device]\n{NOTE}")
    )
    assert (found.name, found.seeds, found.reference, found.order) == (
        "tricks", [0, 1], "plain", ["ema", "plain"],
    )  # fmt: skip
    assert found.base == ["model=gan", "metric=[fid,is]", "steps=4"]
    assert list(found.arms) == ["plain", "r1", "ema"]
    assert found.arms["r1"].published == {"fid": (7.9, 0.1), "is": (8.0, None)}
    assert found.arms["ema"].overrides == ["trick=ema"]
    assert found.at("arms.ema") == f"{tmp_path}/tricks/suite.yaml, line 9"
    assert (found.budget, found.note, found.ignore, found.comparisons) == (
        None, "It costs ${5, or ${no:thing}", ["device"], 2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("question: Does", "questoin: Does", "line 1: questoin: is unknown. Choose from question, base"),
        ("seeds: 2\n", "", "suite.yaml: lacks seeds"),
        ("plain: {}", "plain: ''", "line 7: arms.plain=: must be a mapping"),
        ("overrides: [trick=r1]", "override: [trick=r1]", "line 8: arms.r1.override: is unknown"),
        ("  ema:", "  r1:", "line 9: found duplicate key r1. Write plain values, each key once"),
        ("  ema:", "  e ma:", "line 9: arms.e ma: arm 'e ma' names folders"),
        ("  ema:", "  ../x:", "line 9: arms.../x: arm '../x' names folders"),
        ("  ema:", "  7:", "line 9: arms.7: arm 7 names folders"),
        ("fid: [7.9, 0.1]", "kid: 1", "line 8: arms.r1.published.kid: is not in metrics"),
        ("[7.9, 0.1]", "low", "line 8: arms.r1.published=.*low.*: must be a mapping, each a number or"),
        ("[7.9, 0.1]", ".inf", "line 8: arms.r1.published=.*inf.*: must be a mapping, each a number or"),
        ("source: Nobody 2014, table 1\n", "", "line 7: arms.r1.published.fid: has no source"),
        ("seeds: 2", "seeds: [1, 1]", "line 3: seeds: 1 stands there twice"),
        ("seeds: 2", "seeds: 0", "line 3: seeds=0: must be a whole number of at least 1"),
        ("seeds: 2", "seeds: 999999999999", "line 3: seeds=9+: must be .* and at most 10000"),
        ("seeds: 2", "seeds: [a]", "line 3: seeds=.*a.*: must be .* a list of 1 or more"),
        ("metrics: [fid, is]", "metrics: []", r"line 4: metrics=\[\]: must be a list of 1 or more"),
        ("'metric=[fid,is]'", "metric=[fid,is]", "line 2: .* and quote what holds brackets"),
        ("steps=4", "steps: 4", "line 2: base=.*: must be a list, each a string. Quote"),
        ("source:", "reference: none\nsource:", "line 5: reference: none is no arm. Choose from plain"),
        ("Does R1 help?", "[1]", "line 1: question=.*: must be a string"),
        ("Does R1 help?", "''", "line 1: question: is empty"),
        ("steps=4]", "steps=4, steps=4]", "line 2: base: steps=4 stands there twice"),
        (GOOD, "- a list", "is no mapping"),
        ("Does R1 help?", "1e-5", "line 1: question=1e-05: must be a string"),
        ("Does R1 help?", "'\x00'", "suite.yaml: special characters are not allowed"),
        (GOOD, "", "is no mapping"),
        (GOOD, f"question: {'[' * 3000}", "suite.yaml: .* or too deeply nested, in line 1. Write plain"),
        (GOOD, LAUGHS, "suite.yaml: has an alias, a tag or an interpolation, .* in line 1. Write plain"),
        ("source:", "order: [r1, nobody]\nsource:", "line 5: order: nobody is no arm. Choose from plain"),
        ("source:", "order: [r1]\nsource:", "line 5: order: has one arm"),
        ("source:", "ignore: [data]\nsource:", "line 5: ignore=.*: must be .*each one of device, torch"),
    ],
)  # fmt: skip
def test_an_invalid_suite_is_refused_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    folder, began = write_suite(tmp_path / "tricks", GOOD.replace(old, new, 1)), time.monotonic()
    with pytest.raises(ConfigError, match=message):
        read_suite(folder)
    assert time.monotonic() - began < 10


def test_a_folder_without_a_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no suite.yaml that can be read. Give a folder"):
        read_suite(tmp_path)


def test_a_command_takes_a_suite_or_a_sweep() -> None:
    with pytest.raises(ConfigError, match="suite=a and sweep=b exclude each other. Give one of them"):
        read_study(compose("suite=a", "sweep=b", config_name="report"))
    with pytest.raises(ConfigError, match="suite is missing: give the folder of one"):
        read_study(compose(config_name="report"))


def test_suites_and_tables_are_read_without_torch() -> None:
    code = (
        "import ganlab.studies.spec, ganlab.studies.table, sys; "
        "sys.exit(bool({'torch', 'optuna', 'pandas'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "expected", "first_and_last"),
    [
        ("interval(0.5, 2)", FloatDistribution(0.5, 2), [0.5, 2]),
        ("tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True), [1e-4, 1e-2]),
        ("int(interval(1, 9))", IntDistribution(1, 9), [1, 9]),
        ("range(8, 25, step=8)", IntDistribution(8, 24, step=8), [8, 24]),
        ("range(8, 24, step=8)", IntDistribution(8, 16, step=8), [8, 16]),
        ("range(0.1, 0.4, step=0.1)", FloatDistribution(0.1, 0.3, step=0.1), [0.1, 0.3]),
        ("choice(a, [r1,ema], 'b c')", CategoricalDistribution(["a", "[r1,ema]", "b\\ c"]), None),
    ],
)
def test_ranges_are_written_in_the_grammar_of_hydra(
    text: str, expected: object, first_and_last: list | None
) -> None:
    found = distribution(text)
    assert type(found) is type(expected)
    assert ends(found) == pytest.approx(first_and_last or list(found.choices))
    if first_and_last is None:
        assert found == expected
    else:
        assert (found.log, found.step) == (expected.log, expected.step)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 3", "trails: 3", "line 4: trails: is unknown. Choose from question"),
        ("seed: 0\n", "", "sweep.yaml: lacks seed"),
        ("trials: 3", "trials: 0", "line 4: trials=0: must be .* of at least 1"),
        ("trials: 3", "trials: many", "line 4: trials=many: must be a whole number"),
        ("1e-5, 1e-2", "1e-2, 1e-5", "line 7: parameters.opt.*: .*must be above its beginning"),
        ("1e-5, 1e-2", "0, 1e-2", "line 7: parameters.opt.*: .*begins above 0"),
        ("interval(1e-5, 1e-2)", "interval(1e-5", "line 7: parameters.opt.*: .*cannot be parsed"),
        ("interval(0.1, 10)", "{low: 0.1}", "line 8: parameters.trick.r1.gamma: .*cannot be parsed"),
        ("interval(0.1, 10)", "0.1", "line 8: .*gamma: 0.1 is no range and no choice. Write"),
        ("step=16", "step=0", "line 9: parameters.data.batch_size"),
        ("range(16, 65, step=16)", "range(16, 16)", "line 9: parameters.data.batch_size: .* has no values"),
        ("least_squares)", "non_saturating)", "line 10: .*objective: a choice needs two"),
        ("choice(non_saturating, least_squares)", "choice(hinge)", "line 10: .*: a choice needs two"),
        ("after: 10", "from: 10", "line 11: prune=.*from.*: has other keys than after. Write prune: {after"),
        ("{after: 10}", "{}", "line 11: prune={}: has other keys than after"),
        ("after: 10", "after: -1", "line 11: prune=.*-1.*: must be a mapping"),
    ],
)  # fmt: skip
def test_an_invalid_search_is_refused_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in SEARCH
    with pytest.raises(ConfigError, match=message):
        read_search(write_search(tmp_path / "quick", SEARCH.replace(old, new, 1)))
