"""Numbers of one's own in metrics.csv and in the loggers, and what names the part that failed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf, open_dict
from pytorch_lightning.loggers import CSVLogger
from support.commands import play, rows
from support.refusals import refuses
from support.small_games import CYCLEGAN
from torch import Tensor, nn
from torch.utils.data import DataLoader

import ganlab
from ganlab.config.load import build_run
from ganlab.config.prepare import build_phases
from ganlab.core.errors import ConfigError
from ganlab.core.turn import Turn
from ganlab.objectives.adversarial import NonSaturating
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play
from ganlab.tricks.base import Terms, Trick

HERE = __name__
TRICK = (f"+trick.mine._target_={HERE}.Spread", "metric=none", "steps=2", "log_every=1")


class Spread(Trick):
    """Logs how far the samples spread, in a hook and as a scalar of the trick."""

    def terms(self, turn: Turn) -> Terms:
        turn.log(f"spread/{turn.player}", turn.fake.x.std())
        return {}

    def scalars(self) -> dict[str, Any]:
        return {"two": 2}


class Wide(Spread):
    def terms(self, turn: Turn) -> Terms:
        turn.log("spread", turn.fake.x.std(0))
        raise AssertionError("refused too late to show where")


class Breaking(Trick):
    def __init__(self, std: float):
        super().__init__()
        self.std = std

    def latents(self, latent: Tensor, turn: Turn) -> Tensor:
        return latent + torch.normal(0.0, self.std, latent.shape)


class Named(Spread):
    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def terms(self, turn: Turn) -> Terms:
        turn.log(self.name, 1)
        return {}


class Counting(NonSaturating):
    def generator_loss(self, turn: Turn) -> Tensor:
        turn.log("count", len(turn.fake.x))
        return super().generator_loss(turn)


class Broken(NonSaturating):
    def generator_loss(self, turn: Turn) -> Tensor:
        raise ValueError("no loss")


class Logging(pl.Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        module.log("mine/step", module.game.run_step)
        module.scalars["mine/half"] = 0.5


class Misusing(pl.Callback):
    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        module.scalars["mine/text"] = "much"


class Failing(pl.Callback):
    def on_train_start(self, *_: Any) -> None:
        raise ValueError("no callback")


def test_tricks_objectives_and_callbacks_log_numbers_of_their_own(tmp_path: Path) -> None:
    own = (f"objective._target_={HERE}.Counting", f"+callback.mine._target_={HERE}.Logging")
    play(tmp_path / "run", *TRICK, *own)
    first, last = rows(tmp_path / "run")
    assert 0 < float(last["spread/generator"]) < 2
    assert last["spread/generator"] != first["spread/generator"]
    named = ("spread/discriminator", "count", "mine/two", "mine/step", "mine/half")
    assert [float(last[name]) for name in named[1:]] == [32, 2, 2, 0.5]
    assert float(first["mine/step"]) == 1
    play(tmp_path / "plain", "metric=none", "steps=2", "log_every=1")
    assert rows(tmp_path / "plain")[1].items() <= last.items()  # to log changes nothing else


def test_the_parts_of_a_composite_log_under_their_names(tmp_path: Path) -> None:
    each = [f"+games.{part}.trick.mine._target_={HERE}.Spread" for part in ("ab", "ba")]
    short = ("metric=none", "steps=1", "logger=csv", f"run_dir={tmp_path / 'run'}")
    ganlab.train(ganlab.compose(*CYCLEGAN, *each, *short))
    (row,) = rows(tmp_path / "run")
    assert {"ab/spread/generator", "ba/spread/generator", "ba/mine/two"} <= row.keys()


def test_what_is_not_one_number_is_refused_by_its_name(tmp_path: Path) -> None:
    with refuses("spread", [1, 8, 8], "must be one number"):
        play(tmp_path / "run", TRICK[0].replace("Spread", "Wide"), *TRICK[1:])
    assert not (tmp_path / "run").exists()
    with refuses("mine/text", "str", "must be one number"):
        play(tmp_path / "run", f"+callback.mine._target_={HERE}.Misusing", *TRICK[1:])


@pytest.mark.parametrize("name", ["", "step", "images", "weight", "generator/adversarial", "a/generator/x"])
def test_a_number_of_ones_own_cannot_have_the_name_of_another(name: str, tmp_path: Path) -> None:
    with refuses(name, reason="is not free", remedy="mine/x"):
        play(tmp_path / "run", f"+trick.mine={{_target_: {HERE}.Named, name: '{name}'}}", *TRICK[1:])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "key", "reason"),
    [
        (f"+trick.mine={{_target_: {HERE}.Breaking, std: -1}}", "trick.mine", "first step failed: normal"),
        (f"objective._target_={HERE}.Broken", "objective", "first step failed: no loss"),
        (f"+callback.mine._target_={HERE}.Failing", "callback.mine", "first step failed: no callback"),
    ],
)
def test_what_fails_in_the_first_step_is_named(override: str, key: str, reason: str, tmp_path: Path) -> None:
    with refuses(key, reason=reason):
        play(tmp_path / "run", override, "metric=none", "steps=2")
    assert not (tmp_path / "run").exists()


class Outside(nn.Module):
    def __init__(self, latent_dim: int):
        super().__init__()
        self.pixels = nn.Linear(latent_dim, 64)

    def forward(self, latent: Tensor) -> Tensor:
        return 100 * self.pixels(latent).unflatten(1, (1, 8, 8))


def test_samples_outside_of_the_range_of_the_data_are_reported_once(tmp_path: Path, capsys) -> None:
    config = ganlab.compose("logger=csv", "metric=none", "steps=3", "sample_every=1")
    node = {"_target_": "ganlab.networks.plain.generator", "latent_dim": 8, "shape": [1, 8, 8]}
    network = {"_target_": f"{HERE}.Outside", "latent_dim": 8}
    with open_dict(config):
        config.run_dir, prior = str(tmp_path / "run"), config.model.generator.prior
        config.model.generator = OmegaConf.create({**node, "network": network, "prior": prior})
    ganlab.train(config)
    assert capsys.readouterr().err.count("and data in [-1, 1]: let tanh or sigmoid end the generator") == 1


def test_a_trainer_of_ones_own_gets_the_scalars(tmp_path: Path) -> None:
    config = ganlab.compose("data.batch_size=8", TRICK[0])
    module = GameModule(build_phases(config, build_run(config), Phase, Play))
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=4, log_every_n_steps=2, logger=CSVLogger(tmp_path, version=0),
        callbacks=[Logging()], enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(module, DataLoader(2 * torch.rand(40, 1, 8, 8) - 1, batch_size=8))
    with (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").open(newline="") as file:
        logged = [*csv.DictReader(file)]
    assert [float(row["mine/step"]) for row in logged] == [2, 4]
    latest = {name: float(value) for name, value in module.scalars.items()}
    assert latest == {name: pytest.approx(float(logged[-1][name])) for name in module.scalars}
    assert {name: float(value) for name, value in trainer.callback_metrics.items()} == latest
    with pytest.raises(ConfigError, match=r"mine=\[2\]: must be one number"):
        module.log("mine", torch.zeros(2))
    with refuses("generator/adversarial", reason="is not free"):
        module.log("generator/adversarial", 1)
