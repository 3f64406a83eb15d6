"""The command ganlab health, and its page."""

import re
from pathlib import Path

import pytest
from support.commands import play, rows
from support.refusals import refuses

from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.health import health


def page(*overrides: str) -> str:
    return health(compose(*overrides, config_name="health")).read_text()


def test_the_page_has_findings_curves_and_samples(tmp_path: Path) -> None:
    often = ("log_every=1", "callback.health.every=2", "metric=none", "sample_every=2")
    play(tmp_path / "a", "steps=8", "optimizer.discriminator.lr=0", *often)
    text = page(f"run_dir={tmp_path / 'a'}")
    assert (tmp_path / "a" / "health.html").read_text() == text
    assert "<td>frozen<td>6<td><td>a step changes the weights of the discriminator" in text
    assert len(re.findall("data:image/png;base64,", text)) == 1
    columns = rows(tmp_path / "a")[-1]
    assert len(re.findall("<polyline", text)) == len([name for name in columns if name.startswith("health/")])
    assert "Samples at step 6:" in text
    assert not re.search(r"(?:src|href)=.(?!data:)", text)  # one file, which needs no other


def test_a_healthy_run_has_a_page_and_another_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "a", "steps=2", "log_every=1", "callback.health.every=2", "metric=none")
    assert "No findings." in page(f"run_dir={tmp_path / 'a'}", f"output={tmp_path / 'mine.html'}")
    with refuses("output", str(tmp_path / "mine.png"), "is no page", "ends in .html"):
        page(f"run_dir={tmp_path / 'a'}", f"output={tmp_path / 'mine.png'}")
    play(tmp_path / "b", "steps=1", "callback=none", "metric=none")
    with refuses("run_dir", tmp_path / "b", "nothing was measured", "train with callback=health"):
        page(f"run_dir={tmp_path / 'b'}")
    with refuses("run_dir", None, "is missing"):
        page()
    with pytest.raises(ConfigError, match="is not a run"):
        page(f"run_dir={tmp_path}")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("metrics.csv", "step,health/fit\n1,many\n", "could not convert string to float"),
        ("metrics.csv", "", "No columns to parse"),
        ("summary.json", '{"health": [{"name": "frozen"}]}', "begins"),
        ("summary.json", '{"health": 7}', "not iterable"),
        ("samples/0000008.png", "no picture", "cannot identify image file"),
    ],
)
def test_a_broken_file_is_one_line(file: str, content: str, reason: str, tmp_path: Path) -> None:
    given = (
        "steps=8",
        "optimizer.discriminator.lr=0",
        "log_every=1",
        "callback.health.every=2",
        "metric=none",
    )
    play(tmp_path / "a", *given)
    (tmp_path / "a" / file).write_text(content)
    with pytest.raises(ConfigError, match=f"{Path(file).parts[0]}.*{reason}"):
        page(f"run_dir={tmp_path / 'a'}")
