"""Rows of a table as samples: which columns, how they are scaled and split, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support.commands import play
from support.data_streams import read_split
from support.refusals import refuses

from ganlab.data.table import Table

COLUMNS = {"size": np.arange(20) * 3.0 + 5, "age": np.random.default_rng(0).normal(40, 9, 20)}
KINDS = ["10", "9", "9", "9"] * 5


def write(file: Path, separator: str = ",", **changes: str) -> Path:
    """A table of the columns name, size, kind and age; `changes` replaces cells, such as size7="x"."""
    lines = [separator.join(["name", "size", "kind", "age"])]
    for i in range(20):
        cells = {"name": f"n{i}", "kind": KINDS[i]} | {key: repr(float(x[i])) for key, x in COLUMNS.items()}
        lines.append(
            separator.join(changes.get(f"{key}{i}", cells[key]) for key in ("name", "size", "kind", "age"))
        )
    file.write_text("\n".join(lines) + "\n")
    return file


def table(path: Path, **changes: Any) -> Table:
    settings = OmegaConf.to_container(OmegaConf.load("conf/data/table.yaml"))
    settings |= {"path": str(path), "shape": [2], "batch_size": 4, "label": "kind"} | changes
    del settings["_target_"]
    return Table(**settings)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_standardised_by_the_training_rows(tmp_path: Path, separator: str) -> None:
    data = table(write(tmp_path / "t.csv", separator))
    (train, labels), (test, test_labels) = read_split(data), read_split(data, "test")
    assert (train.shape, test.shape) == ((16, 2), (4, 2))
    assert train.dtype == torch.float32
    torch.testing.assert_close(train.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(train.std(0), torch.ones(2))
    assert data.class_names == ("9", "10")  # by number
    # Each row of the file is in one split, with its label. The size tells which row it is.
    sizes = torch.cat([train, test])[:, 0].double()
    rows = sizes.argsort().argsort().tolist()
    assert sorted(rows) == [*range(20)]
    assert rows[:16] == sorted(rows[:16])
    expected = [data.class_names.index(KINDS[row]) for row in rows]
    assert torch.cat([labels, test_labels]).tolist() == expected
    ages = torch.from_numpy(COLUMNS["age"])[rows]
    shifted = (ages - ages[:16].mean()) / ages[:16].std()
    torch.testing.assert_close(torch.cat([train, test])[:, 1].double(), shifted, atol=1e-5, rtol=0)


def test_columns_are_scaled_to_a_range_by_the_training_rows(tmp_path: Path) -> None:
    data = table(write(tmp_path / "t.csv"), range=[-2, 3], label=None, columns=["age", "size"])
    x, labels = read_split(data)
    torch.testing.assert_close(x.amin(0), torch.tensor([-2.0, -2]))
    torch.testing.assert_close(x.amax(0), torch.tensor([3.0, 3]))
    assert labels is None
    assert data.num_classes is None
    widths = (read_split(data, "test")[0][:, 1].diff() / x[:, 1].diff().min()).tolist()
    assert widths == pytest.approx([round(width) for width in widths], abs=1e-4)  # sizes are equally spaced


def test_only_the_samples_that_are_kept_count(tmp_path: Path) -> None:
    data = table(write(tmp_path / "t.csv"), classes=["9"], validation=3, per_class=6)
    x, labels = read_split(data)
    assert (len(x), len(data.sources["validation"]), data.class_names) == (6, 3, ("9",))
    torch.testing.assert_close(x.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert labels.tolist() == [0] * 6


def test_the_splits_are_the_same_in_every_run(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv")
    assert table(file).fingerprint() == table(file).fingerprint()
    assert "test" not in table(file, test=0.0).sources
    assert table(file, range=[0, 1]).fingerprint() == table(file).fingerprint()  # of the cells
    assert table(file).fingerprint() != table(write(tmp_path / "u.csv", age3="7")).fingerprint()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"age4": ""}, "line 6, column age is empty"),
        ({"size0": "x"}, "line 2, column size has x, which is not a finite number"),
        ({"age19": "nan"}, "line 21, column age has nan, which is not a finite number"),
        ({"kind7": ""}, "line 9, column kind is empty"),
        ({"age3": "1,2"}, "line 5 has 5 cells, but there are 4 columns"),
        ({"name3": '"a'}, r"cannot be read \(.*"),
    ],
)
def test_impossible_cells_are_refused_by_their_place(
    tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    file = write(tmp_path / "t.csv", **changes)
    with refuses(".path", str(file), reason):
        table(file)


@pytest.mark.parametrize(
    ("changes", "key", "reason", "remedy"),
    [
        ({"shape": [1]}, ".shape", "contradicts the data", r"set it to \[2\]"),
        ({"num_classes": 3}, ".num_classes", "contradicts the data", "set it to 2"),
        ({"columns": ["age", "none"]}, ".columns", "is not a column", "choose from name, size, kind, age"),
        ({"columns": ["age", "age"]}, ".columns", "names a column twice", "remove one"),
        ({"label": "none"}, ".label", "is not a column", "choose from name, size, kind, age"),
        ({"columns": ["name", "age"]}, ".path", "line 2, column name has n0, which is not", "leave out"),
        ({"path": "none.csv"}, ".path", "cannot be read .*No such file", ""),
        ({"batch_size": 17}, ".batch_size", "exceeds the 16 training samples", "lower it"),
    ],
)
def test_impossible_settings_are_refused(
    tmp_path: Path, changes: dict[str, Any], key: str, reason: str, remedy: str
) -> None:
    file = write(tmp_path / "t.csv")
    with refuses(key, reason=reason, remedy=remedy):
        table(**({"path": file} | changes))


def test_constant_columns_and_double_names_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", **{f"age{i}": "0.1" for i in range(20)})
    with refuses(".columns", ["age"], "constant in training", "leave them out"):
        table(file)
    file.write_text("a,a\n1,2\n")
    with refuses(".path", str(file), "two columns have one name"):
        table(file)


def test_parquet_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"")
    with refuses(".path", str(tmp_path / "t.parquet"), "needs the package pyarrow", "pip install pyarrow"):
        table(tmp_path / "t.parquet")


def test_a_parquet_file_has_the_samples_of_a_csv_file(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    file = tmp_path / "t.parquet"
    names = [f"n{i}" for i in range(20)]
    parquet.write_table(
        pyarrow.table({"name": names, "size": COLUMNS["size"], "kind": KINDS, "age": COLUMNS["age"]}), file
    )
    assert table(file).fingerprint() == table(write(tmp_path / "t.csv")).fingerprint()
    parquet.write_table(pyarrow.table({"size": [1.0, None, 3.0], "kind": ["a", "b", "a"]}), file)
    with refuses(".path", str(file), "row 2, column size is empty"):
        table(file, shape=[1], batch_size=1)


def test_a_run_learns_a_table(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv")
    settings = (f"data.path={file}", "data.columns=[age]", "data.batch_size=8", "metric=wasserstein")
    play(tmp_path / "run", "data=table", *settings, "steps=3", "evaluation.n=50")
    assert (tmp_path / "run" / "samples").is_dir()
    labelled = (
        f"data.path={file}",
        "data.shape=[2]",
        "data.label=kind",
        "data.batch_size=8",
        "metric=one_nn",
    )
    play(tmp_path / "two", "data=table", *labelled, "trick=label_conditioning", "steps=3", "evaluation.n=50")
