"""python -m ganlab.compare: values of several runs side by side, if their protocols agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import environment
from support.refusals import refuses

from ganlab.compare import compare
from ganlab.config.compose import compose

HOW = {"extractor": "digits", "n_fake": 1000, "sampler": "generator"}


def run(place: Path, **numbers: dict) -> Path:
    place.mkdir()
    (place / "summary.json").write_text(json.dumps({"status": "finished", "metrics": numbers}))
    return place


def run_compare(*overrides: str) -> dict:
    return compare(compose(*overrides, config_name="compare"), overrides)


def test_common_values_are_in_one_table(tmp_path: Path, capsys) -> None:
    one = run(tmp_path / "one", fid={"value": 17.25, "step": 5, **HOW}, kid={"value": 0.5, **HOW})
    two = tmp_path / "two.json"
    two.write_text(json.dumps({"fid": {"value": 9.5, "floor": 1.0, **HOW}, "is": {"value": 8.0, **HOW}}))
    assert run_compare(f"of=[{one},{two}]") == {"fid": {str(one): 17.25, str(two): 9.5}}
    out = capsys.readouterr().out
    assert "17.250" in out
    assert "9.500" in out
    assert f"not common to all: kid in {one}" in out
    assert "step" in out


def test_control_characters_of_a_file_do_not_reach_the_terminal(tmp_path: Path, capsys) -> None:
    for name in ("one", "two"):
        names = ("fid", "[red]fid[/red]\x1b]0;owned\x07") if name == "one" else ("fid",)
        (tmp_path / name).write_text(json.dumps({each: {"value": 1.0} for each in names}))
    compare(compose(f"of=[{tmp_path / 'one'},{tmp_path / 'two'}]", config_name="compare"))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"[red]fid[/red]\x1b]0;owned\x07" in out


def test_brackets_in_a_name_are_not_markup(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("[red]a", "[bold]b"):
        Path(name).write_text(json.dumps({"fid": {"value": 1.0}}))
    compare(compose("of=['[red]a','[bold]b']", config_name="compare"))
    assert "[red]a  [bold]b" in capsys.readouterr().out


def test_a_full_output_is_one_line_of_error(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(json.dumps({"fid": {"value": 1.0}}))
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "ganlab.compare", "of=[one,two]"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "compare: the output cannot be written: No space left on device\n"


def test_values_of_different_protocols_are_refused_unless_the_difference_is_ignored(
    tmp_path: Path, capsys
) -> None:
    one = run(tmp_path / "one", fid={"value": 17.25, **HOW})
    two = run(tmp_path / "two", fid={"value": 9.5, **HOW, "sampler": "ema"})
    with refuses("fid", reason=".*one and .*two are not comparable: sampler is generator and ema"):
        run_compare(f"of=[{one},{two}]")
    run_compare(f"of=[{one},{two}]", "ignore=[sampler]")
    assert f"fid: sampler is generator in {one} and ema in {two}" in capsys.readouterr().out
    three = run(tmp_path / "three", fid={"value": 9.5, **HOW, "sampler": "ema", "n_fake": 50})
    with refuses("fid", reason="n_fake is 1000 and 50"):
        run_compare(f"of=[{one},{three}]", "ignore=[sampler]")


@pytest.mark.parametrize(
    ("of", "key", "reason"),
    [
        ("[{one}]", "of", "two or more"),
        ("[{one},{one}]", "of", "two or more .*, each once"),
        ("[{one},{empty}]", "of", "has no metric values"),
        ("[{one},{tmp}/missing]", "of", "cannot be read"),
        ("[{one},{odd}]", "of", "has no metric values"),
        ("[{one},{huge}]", "of", "has no metric values"),
        ("[{one},{listed}]", "fid", "listed are not comparable"),
        ("[{one},{other}]", "of", "no value is common to all: .*one has fid; .*other has kid"),
    ],
)
def test_unsuitable_sources_are_refused(of: str, key: str, reason: str, tmp_path: Path) -> None:
    one, empty = run(tmp_path / "one", fid={"value": 1.0, **HOW}), run(tmp_path / "empty")
    other = run(tmp_path / "other", kid={"value": 1.0, **HOW})
    odd, huge = (
        run(tmp_path / name, fid={"value": value}) for name, value in (("odd", "x"), ("huge", 10**400))
    )
    listed = run(tmp_path / "listed", fid={"value": 1.0, "step": [1]})
    places = {"odd": odd, "huge": huge, "listed": listed, "tmp": tmp_path}
    with refuses(key, reason=reason):
        run_compare(f"of={of.format(one=one, empty=empty, other=other, **places)}")
