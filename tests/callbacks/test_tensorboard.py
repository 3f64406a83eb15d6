from pathlib import Path

import pytest
from support.commands import play, resume, rows


def test_tensorboard_has_the_rows_of_the_metrics_file(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    play(tmp_path / "run", "logger=tensorboard", "steps=4", "log_every=1", "sample_every=2")
    resume(tmp_path / "run", "steps=6")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    losses = events.Scalars("generator/adversarial")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5, 6]
    for event, row in zip(losses, rows(tmp_path / "run"), strict=True):
        assert event.value == pytest.approx(float(row["generator/adversarial"]))
    assert [event.step for event in events.Images("samples")] == [2, 4, 6]
