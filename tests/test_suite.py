"""The files of a suite: suite.yaml, whose errors name the line, and results.csv, complete or cut off."""

from __future__ import annotations

import dataclasses
import fcntl
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from support.studies import ROW, write_suite

from ganlab.core.errors import ConfigError
from ganlab.suites import suite
from ganlab.suites.results import Row

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


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("[r1, nobody]", "line 12: order: nobody is no arm: choose from plain, r1, ema"),
        ("[r1]", "line 12: order: give at least two arms, best first, or leave it out"),
        ("[r1, r1]", "line 12: order: r1 stands there twice"),
    ],
)
def test_an_order_lists_arms_of_the_suite(order: str, message: str, tmp_path: Path) -> None:
    assert suite.read(write_suite(tmp_path / "tricks", f"{GOOD}order: [ema, plain]\n")).order == [
        "ema",
        "plain",
    ]
    with pytest.raises(ConfigError, match=message):
        suite.read(write_suite(tmp_path / "tricks", f"{GOOD}order: {order}\n"))


def test_a_suite_has_the_contents_of_its_file(tmp_path: Path) -> None:
    found = suite.read(write_suite(tmp_path / "tricks", GOOD))
    assert (found.name, found.seeds, found.reference) == ("tricks", [0, 1], "plain")
    assert found.base == ["model=gan", "metric=[fid,is]", "steps=4"]
    assert list(found.arms) == ["plain", "r1", "ema"]
    assert found.arms["r1"].published == {"fid": (7.9, 0.1), "is": (8.0, None)}
    assert found.arms["ema"].overrides == ["trick=ema"]
    assert found.at("arms.ema") == f"{tmp_path}/tricks/suite.yaml, line 10"
    assert (found.budget, found.note) == (None, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("question: Does", "questoin: Does", "line 1: questoin is unknown in the suite: choose from"),
        ("seeds: 2\n", "", "line 1: the suite lacks seeds"),
        ("overrides: [trick=r1]", "override: [trick=r1]", "line 8: override is unknown in arms.r1"),
        ("  ema:", "  r1:", "line 9: r1 stands twice in arms"),
        ("  ema:", "  e ma:", "line 10: arm e ma names folders"),
        ("  ema:", "  7:", "line 9: 7 is no name: quote it"),
        ("fid: [7.9, 0.1]", "kid: 1", "line 8: arms.r1.published: kid is not in metrics"),
        ("[7.9, 0.1]", "low", "line 8: arms.r1.published.fid: low must be a number"),
        ("source: Nobody 2014, table 1\n", "", "line 7: arms.r1 has published values"),
        ("seeds: 2", "seeds: [1, 1]", "line 3: seeds: .* must be one or more, each once"),
        ("seeds: 2", "seeds: 0", "line 3: seeds: 0 must be a whole number of at least 1 or a list"),
        ("metrics: [fid, is]", "metrics: []", "line 4: metrics is empty"),
        ("'metric=[fid,is]'", "metric=[fid,is]", "line 2: .*; quote what holds brackets"),
        ("steps=4", "steps: 4", "line 2: base: .* must be a list, each a string"),
        ("source:", "reference: none\nsource:", "line 5: reference: none is no arm: choose one of plain"),
        ("Does R1 help?", "[1]", "line 1: question: .* must be a text"),
        ("steps=4]", "steps=4, steps=4]", "line 2: base: steps=4 stands there twice"),
        (GOOD, "- a list", "line 1: the suite must be a mapping"),
        (GOOD, "", "suite.yaml: the suite must be a mapping"),
    ],
)
def test_an_invalid_suite_is_refused_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    folder = write_suite(tmp_path / "tricks", GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        suite.read(folder)


def test_a_folder_without_a_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no suite.yaml that can be read: give a folder"):
        suite.read(tmp_path)


def test_suites_and_results_are_read_without_torch() -> None:
    code = "import ganlab.suites.suite, ganlab.suites.results, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    failed = dataclasses.replace(
        ROW, status="failed", reason='no "disk",\nno run', value=None, metrics={}, seconds=float("inf")
    )
    assert Row.read(path) == ([], None)
    assert ROW.append(path) is None
    failed.append(path)
    assert path.read_text().startswith("arm,seed,status,reason,config,data,code,commit,steps,images,seconds")
    assert len(path.read_text().splitlines()) == 3
    found, note = Row.read(path)
    assert (found[0], note) == (ROW, None)
    assert found[1] == dataclasses.replace(failed, reason='no "disk", no run')


def test_a_half_written_last_row_is_reported_and_overwritten_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    ROW.append(path)
    ROW.append(path)
    complete = path.read_bytes()
    for end in (
        complete.rindex(b"\n"),
        complete.rindex(b"r1,3,fin") + 7,
    ):  # without its end; only its start
        path.write_bytes(complete[:end])
        found, note = Row.read(path)
        assert found == [ROW]
        assert note is not None
        assert "the last row is half-written and is left out ('r1,3" in note
    assert "a half-written last row was cut off" in str(ROW.append(path))
    assert path.read_bytes() == complete
    path.write_bytes(complete[:20])  # part of the header
    assert Row.read(path)[0] == []
    ROW.append(path)
    assert Row.read(path) == ([ROW], None)


def test_other_files_and_broken_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("step,loss\n1,2\n")
    with pytest.raises(ConfigError, match="is no results of a suite"):
        Row.read(path)
    path.unlink()
    ROW.append(path)
    good = path.read_text()
    for old, new in (("finished", "begun"), (",3,", ",three,"), ("r1,", "")):
        head, _, row = good.partition("\n")
        path.write_text(f"{head}\n{row.replace(old, new, 1)}{row}")
        with pytest.raises(
            ConfigError, match=r"results.csv, line 2 is no row of results: repair it, or remove"
        ):
            Row.read(path)


def test_readers_and_writers_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    ROW.append(path)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = [Thread(target=ROW.append, args=(path,)), Thread(target=Row.read, args=(path,))]
        for thread in waiting:
            thread.start()
            thread.join(0.1)
            assert thread.is_alive()
    for thread in waiting:
        thread.join(10)
    assert Row.read(path) == ([ROW, ROW], None)
