"""results.csv: rows as they were written, merges of several processes, and refusals of what is no row."""

from __future__ import annotations

import csv
import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from support.small_games import ROOT
from support.studies import ROW

from ganlab.core.errors import ConfigError
from ganlab.studies.table import OLD, Row, merge, read, text_of


def add(folder: Path, *rows: Row) -> None:
    merge(folder / "results.csv", rows, FileLock(folder / "results.lock"))


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    failed = dataclasses.replace(
        ROW, seed=4, status="failed", reason='=no "disk",\nno <b>run</b>', value=None, metrics={}, steps=0
    )
    trial = dataclasses.replace(ROW, arm="trial0", course={"10": 2.5}, parameters={"a": "b"}, space="f" * 12)
    assert read(path) == []
    add(tmp_path, ROW, failed, trial)
    assert path.read_text().startswith("arm,seed,status,reason,config,data,code,commit,steps,images,seconds")
    # A cell that begins with = would be run by a spreadsheet.
    assert read(path) == [ROW, dataclasses.replace(failed, reason='\'=no "disk", no <b>run</b>'), trial]
    assert len(path.read_text().splitlines()) == 4
    odd = dataclasses.replace(ROW, seed=5, reason="killed: \x1b[31mterminate \u202e called")
    add(tmp_path, odd)
    assert read(path)[-1].reason == r"killed: \x1b[31mterminate \u202e called"


def test_a_merge_replaces_the_row_of_the_same_run_alone(tmp_path: Path) -> None:
    other = [dataclasses.replace(ROW, **{name: value}) for name, value in (
        ("arm", "ema"), ("seed", 9), ("config", "e" * 12), ("data", "e" * 12), ("numerics", 0),
    )]  # fmt: skip
    add(tmp_path, ROW, *other)
    again = dataclasses.replace(ROW, value=9.0, finished="2027-01-01T00:00:00Z")
    add(tmp_path, again)
    assert read(tmp_path / "results.csv") == [again, *other]
    # A run that was interrupted before it knew its data has ended since.
    begun = dataclasses.replace(ROW, arm="new", status="interrupted", data="")
    add(tmp_path, begun)
    ended = dataclasses.replace(ROW, arm="new")
    add(tmp_path, ended)
    assert read(tmp_path / "results.csv") == [again, *other, ended]


def test_processes_merge_one_after_the_other(tmp_path: Path) -> None:
    rows = [dataclasses.replace(ROW, seed=seed) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: add(tmp_path, row), rows))
    assert sorted(row.seed for row in read(tmp_path / "results.csv")) == list(range(20))


@pytest.mark.parametrize("path", sorted(ROOT.glob("experiments/*/results.csv")), ids=lambda p: p.parent.name)
def test_committed_rows_are_written_as_they_stand(path: Path) -> None:
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    written = list(csv.reader(text_of(read(path)).splitlines()))[1:]
    assert [line[: len(header)] for line in written] == lines


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("value", "abc"),
        ("value", "null"),
        ("value", "[1]"),
        ("value", "1e309"),
        ("value", "1" * 400),
        ("metrics", '{"fid": {}}'),
        ("metrics", '{"fid": {"value": 1' + "0" * 400 + "}}"),
        ("metrics", "[1]"),
        ("metrics", "[" * 3000),
        ("seconds", "nan"),
        ("seconds", ""),
        ("seed", "three"),
        ("seed", "-1"),
        ("steps", "9" * 5000),
        ("status", "begun"),
        ("config", "<b>"),
        ("commit", "12\n# A heading"),
        ("reason", "a\nb"),
        ("arm", "../x"),
        ("arm", ""),
    ],
)
def test_a_cell_that_cannot_be_is_refused_with_its_line(column: str, cell: str, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    header, line, *_ = csv.reader(text_of([ROW]).splitlines())
    changed = [cell if name == column else value for name, value in zip(header, line, strict=True)]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, line, changed])
    with pytest.raises(ConfigError, match=rf"results.csv, line 3: {column}=.*Repair or remove the line"):
        read(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    good = text_of([ROW])
    for content, message in (
        (b"step,loss\n1,2\n", "is no results.csv: its first line is not arm,seed"),
        (good.encode() + b"r1,3,fin", "line 3 has 3 cells, not 19"),
        (good.encode().replace(b"finished", b"fin\xff"), "is no table"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read(path)
    path.write_text(re.sub(r",course.*", "", good.splitlines()[0]) + "\n")
    assert read(path) == []
    assert [one.name for one in dataclasses.fields(Row)][: len(OLD)] == OLD
