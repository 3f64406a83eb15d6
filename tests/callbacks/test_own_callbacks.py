"""Callbacks and loggers of the config: their places, their state, and who may name them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from omegaconf import OmegaConf, open_dict
from pytorch_lightning import Callback
from support.commands import QUICK, checkpoint, finish, play, resume, rows, start_two_ranks, summary
from support.daily_sample import on_one_day_of
from support.refusals import refuses
from support.small_games import ROOT

from ganlab.config import identity
from ganlab.config.compose import compose
from ganlab.config.saved_config import check_trust
from ganlab.training.run import PLACES

HERE = __name__


class Recorder(Callback):
    """Records what a step has at its place: whether it is measured, its rows on file, and its checkpoint."""

    seen: ClassVar[list[tuple[str, bool, int, bool]]] = []

    def __init__(self, run_dir: str) -> None:
        self.run_dir, self.steps = Path(run_dir), 0

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        self.steps += 1
        recorded = len(rows(self.run_dir)) if (self.run_dir / "metrics.csv").exists() else 0
        is_saved = (self.run_dir / "checkpoints" / "last.ckpt").exists()
        place = getattr(self, "place", "none")
        Recorder.seen.append((place, bool(module.metrics), recorded, is_saved))

    @property
    def state_key(self) -> str:
        return f"Recorder of {type(self).__name__}"

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


class Early(Recorder):
    place = "clock"


class Saving(Recorder):
    place = "save"


class Late(Recorder):
    place = "after"


class Nowhere(Recorder):
    place = "nowhere"


class Ending(Recorder):
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or module.game.run_step == 3


class Unnamed(Recorder):
    pass


def chosen(run_dir: Path, *names: str) -> list[str]:
    return [
        text
        for name in names
        for text in (
            f"+callback.{name.lower()}._target_={HERE}.{name}",
            f"+callback.{name.lower()}.run_dir={run_dir}",
        )
    ]


def test_callbacks_are_called_at_their_places(tmp_path: Path) -> None:
    Recorder.seen.clear()
    run = tmp_path / "run"
    play(run, *chosen(run, "Late", "Saving", "Unnamed", "Early"), "steps=1", "evaluate_every=1")
    assert Recorder.seen == [
        ("clock", False, 0, False),
        ("none", True, 0, False),
        ("save", True, 1, True),  # ganlab's own come first in a place
        ("after", True, 1, True),
    ]


def test_every_callback_of_a_run_declares_a_place(tmp_path: Path) -> None:
    for module in ("progress", "pictures", "record", "profile", "stop"):
        text = (ROOT / "ganlab" / "training" / "callbacks" / f"{module}.py").read_text()
        assert text.count("(Callback):") == sum(text.count(f'    place = "{place}"\n') for place in PLACES)
    with refuses("callback.nowhere", "nowhere", "is no place", "clock, measure"):
        play(tmp_path / "run", *chosen(tmp_path, "Nowhere"), "steps=1")
    assert not (tmp_path / "run").exists()
    with refuses("callback.mine._target_", "torch.nn.Identity", "Callback"):
        play(tmp_path / "run", "+callback.mine._target_=torch.nn.Identity", "steps=1")


def test_a_callback_that_would_never_act_is_refused(tmp_path: Path) -> None:
    stopping = (
        "+callback.stop={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: generator/adversarial}"
    )
    with refuses("callback.stop", "EarlyStopping", "acts in on_validation_end", "on_train_batch_end"):
        play(tmp_path / "run", stopping, "steps=1", "metric=none")
    saving = "+callback.save._target_=pytorch_lightning.callbacks.ModelCheckpoint"
    with refuses("callback.save", "ModelCheckpoint", "ganlab writes the checkpoints", "checkpoint_every"):
        play(tmp_path / "run", saving, "steps=1", "metric=none")


def states(run_dir: Path) -> dict[str, Any]:
    return {key: state for key, state in checkpoint(run_dir)["callbacks"].items() if "Recorder" in key}


def test_their_state_is_in_checkpoints_and_resumes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    play(run, *chosen(run, "Unnamed"), "steps=3")
    resume(run, "steps=5")
    assert states(run) == {"Recorder of Unnamed": {"steps": 5}}
    resume(run, "steps=6", *chosen(run, "Early"))  # a callback may be added, as a logger may
    assert states(run)["Recorder of Early"] == {"steps": 1}


def test_a_callback_may_end_a_run_which_can_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert play(run, *chosen(run, "Ending"), "steps=5")  # it is measured all the same
    assert (summary(run)["status"], summary(run)["reason"], summary(run)["steps"]) == (
        "stopped",
        "a callback",
        3,
    )
    resume(run, "steps=5")
    assert (summary(run)["status"], summary(run)["steps"]) == ("finished", 5)


def test_the_shipped_time_limit_ends_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    play(run, "callback=time_limit", 'callback.time_limit.duration="00:00:00:01"', "steps=1000000")
    assert summary(run)["status"] == "stopped"
    assert "Timer" in checkpoint(run)["callbacks"]


@on_one_day_of(3)
def test_two_processes_have_the_same_callbacks_and_numbers(tmp_path: Path) -> None:
    metric = ["metric=none", "+metric.mine._target_=metrics.test_torchmetric.Gap"]
    found = []
    for name, two in (("one", []), ("two", ["trainer=ddp", "trainer.devices=2"])):
        run = tmp_path / name
        overrides = [
            *QUICK,
            *chosen(run, "Saving"),
            *metric,
            *two,
            "steps=2",
            "model.generator.batch_norm=false",
            f"run_dir={run}",
        ]
        overrides = [text.replace(HERE, f"callbacks.{HERE.rpartition('.')[2]}") for text in overrides]
        code, _, err = finish(start_two_ranks(*overrides))
        assert code == 0, err
        assert states(run) == {"Recorder of Saving": {"steps": 1}}
        found.append(summary(run)["metrics"]["mine/train_100"])
    assert found[0]["value"] == pytest.approx(found[1]["value"], rel=1e-4)
    assert {**found[0], "value": 0} == {**found[1], "value": 0}


def node(target: str, group: str = "callback") -> Any:
    return OmegaConf.create({group: {"mine": {"_target_": target}}})


@pytest.mark.parametrize(
    ("group", "target", "trust"),
    [
        ("callback", "my_package.Mine", ()),
        ("callback", "pytorch_lightning.callbacks.ModelCheckpoint", ("pytorch_lightning",)),
        ("metric", "pytorch_lightning.callbacks.Timer", ()),
        ("logger", "pytorch_lightning.callbacks.Timer", ()),
        ("metric", "torchmetrics.image.FrechetInceptionDistance", ()),
    ],
)
def test_a_strangers_config_names_only_shipped_callbacks(
    group: str, target: str, trust: Sequence[str]
) -> None:
    check_trust(node("pytorch_lightning.callbacks.Timer"))
    if trust:
        check_trust(node(target, group), trust)
    with pytest.raises(ValueError, match="not on the list"):
        check_trust(node(target, group))


def test_a_run_without_callbacks_has_the_hash_that_it_had_before() -> None:
    plain, limited = compose(), compose("callback=time_limit")
    before = compose()
    with open_dict(before):
        del before.callback
    assert identity.config(plain) == identity.config(before) != identity.config(limited)


def test_a_run_that_is_older_than_callbacks_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    play(run, "steps=1")
    config = OmegaConf.load(run / "config.yaml")
    del config["callback"]
    (run / "config.yaml").write_text(OmegaConf.to_yaml(config))
    resume(run, "steps=2")
    assert summary(run)["steps"] == 2


def test_loggers_of_lightning_get_the_metrics_of_each_step(tmp_path: Path) -> None:
    logger = "pytorch_lightning.loggers.CSVLogger"
    added = [f"+logger.csv._target_={logger}", f"+logger.csv.save_dir={tmp_path}", "+logger.csv.version=0"]
    play(tmp_path / "run", *added, "steps=6", "log_every=2", "evaluate_every=4")
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    own = rows(tmp_path / "run")
    assert [row["step"] for row in logged] == [row["step"] for row in own] == ["2", "4", "6"]
    for one, other in zip(logged, own, strict=True):
        for name, text in other.items():
            assert text == one[name] == "" or float(text) == pytest.approx(float(one[name]), rel=1e-5)
    assert torch.tensor([float(row["generator/adversarial"]) for row in logged]).isfinite().all()
