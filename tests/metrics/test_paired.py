"""Errors of samples that answer conditions, and the games that give no answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import play
from support.refusals import refuses


@pytest.mark.parametrize(
    ("data", "metric"), [("half_digits", "pair_error"), ("missing_digits", "imputation_error")]
)
def test_a_game_that_is_told_nothing_is_refused_before_it_is_trained(
    data: str, metric: str, tmp_path: Path
) -> None:
    with refuses("metric", metric, "needs a generator that is told", "model=pix2pix, or another metric"):
        play(tmp_path / "run", f"data={data}", f"metric={metric}", "steps=2")
    assert not (tmp_path / "run").exists()
