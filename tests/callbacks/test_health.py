"""The callback of the health monitor in runs: it changes nothing, resumes, and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from support.commands import (
    QUICK,
    assert_same_run,
    bitwise_equal,
    checkpoint,
    finish,
    play,
    resume,
    rows,
    start_two_ranks,
    summary,
)
from support.daily_sample import A_FIFTH, daily_share
from support.image_folders import write_image
from support.refusals import refuses
from torch.utils.data import DataLoader

from ganlab.config import identity
from ganlab.config.compose import compose
from ganlab.config.prepare import PreparedRun
from ganlab.core.batch import Sample
from ganlab.core.errors import Diverged
from ganlab.core.turn import Turn
from ganlab.monitoring.measures import update_numbers, weights_of
from ganlab.monitoring.probe import Probe
from ganlab.run import run
from ganlab.training.callbacks.health import Health
from ganlab.training.module import GameModule, Phase
from ganlab.training.play import Play
from ganlab.tricks.base import Trick


class Counting(Trick):
    """Counts the turns of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def inputs(self, sample: Sample, turn: Turn) -> Sample:
        if not turn.is_unrolled:
            self.count += 1
        return sample


class Differentiating(Trick):
    """Moves latents along a gradient."""

    def latents(self, latent: torch.Tensor, turn: Turn) -> torch.Tensor:
        moved = latent.detach().requires_grad_()
        return latent - 0.01 * torch.autograd.grad(moved.square().sum(), moved)[0]


OFTEN = ("log_every=1", "callback.health.every=2", "metric=none")
SMALL_IMAGES = ("model.generator.width=4", "model.discriminator.width=4")
GAMES = [
    ("trick=[ema,r1,replay_buffer,instance_noise]",),
    ("trick=[packing,spectral_norm]", "objective=hinge"),
    ("trick=[label_conditioning,diff_augment]", "model=dcgan", *SMALL_IMAGES),
    ("trick=[virtual_batch_norm,noise_layers]", "model.discriminator.dropout=0.3"),
    ("objective=relativistic_average", "trick=lookahead"),
    ("objective=minimax", "trick=adaptive_augment", "trainer.precision=64-true"),
    ("+trick.mine._target_=test_health.Counting",),
    ("objective=wasserstein", "trick=[gradient_penalty,critic_steps]"),
    ("model=gmn",),
    ("model=vae",),
    ("data=ring", "play=extragradient", "evaluation.n=100"),
    ("experiment=vae_gan_digits",),
    ("experiment=ali_digits",),
    ("experiment=gain_digits", "model.generator.width=4"),
    ("experiment=pix2pix_digits", *SMALL_IMAGES),
    ("experiment=cyclegan_digits", *SMALL_IMAGES),
    ("experiment=imle_ring",),
    ("experiment=two_stages_digits", "stages.low.steps=2", *SMALL_IMAGES[:1]),
]


def test_a_run_goes_on_if_its_samples_cannot_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play_game(tmp_path / "run", *OFTEN, "+trick.mine._target_=test_health.Differentiating")
    assert capsys.readouterr().out.count("health: samples are not measured: RuntimeError: element 0") == 1
    assert summary(tmp_path / "run")["status"] == "finished"
    assert all(row["health/change/generator"] for row in rows(tmp_path / "run")[1::2])


def play_game(path: Path, *overrides: str) -> None:
    given = [*overrides, "logger=csv", "steps=4", "data.batch_size=16", f"run_dir={path}"]
    run(compose(*given), given)


@pytest.mark.parametrize("overrides", daily_share([(game,) for game in GAMES], 2 * A_FIFTH))
def test_a_run_is_the_same_with_and_without_the_monitor(overrides: tuple[str, ...], tmp_path: Path) -> None:
    quiet = [word for word in OFTEN if "health" not in word]
    play_game(tmp_path / "without", *overrides, *quiet, "callback=none")
    play_game(tmp_path / "with", *overrides, *OFTEN)
    without, measured = checkpoint(tmp_path / "without"), checkpoint(tmp_path / "with")
    for part in ("state_dict", "optimizer_states", "scalers"):
        assert bitwise_equal(without[part], measured[part]), part
    for row, other in zip(rows(tmp_path / "without"), rows(tmp_path / "with"), strict=True):
        assert {name: text for name, text in other.items() if not name.startswith("health/")} == row
    found = {name for row in rows(tmp_path / "with") for name, text in row.items() if text}
    assert any("/change/" in name for name in found)
    assert any(name.endswith(("distance", "ranking", "change/encoder")) for name in found)


def test_a_resumed_run_goes_on_with_the_state_of_the_monitor(tmp_path: Path) -> None:
    fault = ("optimizer.discriminator.lr=0", "trick=ema", *OFTEN)
    play(tmp_path / "whole", "steps=12", *fault)
    play(tmp_path / "parts", "steps=5", *fault)
    assert summary(tmp_path / "parts")["health"] == []
    resume(tmp_path / "parts", "steps=12")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    (found,) = summary(tmp_path / "parts")["health"]
    assert (found["name"], found["begins"], found["ends"]) == ("frozen", 6, None)
    assert summary(tmp_path / "whole")["health"] == [found]
    assert found["remedy"] == "optimizer.discriminator.lr=0.002"
    states = [checkpoint(tmp_path / name)["callbacks"]["Health"] for name in ("whole", "parts")]
    assert bitwise_equal(*states)


def test_a_finding_is_printed_when_it_begins_and_below_the_table(tmp_path: Path, capsys) -> None:
    play(tmp_path / "run", "steps=8", "optimizer.discriminator.lr=0", *OFTEN)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("health: ")]
    assert len(lines) == 2
    assert lines[0] == lines[1]
    assert lines[0].startswith(
        "health: frozen since step 6: a step changes the weights of the discriminator by 0"
    )
    assert lines[0].endswith("; try optimizer.discriminator.lr=0.002")


def test_a_finding_may_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="diverged at step 6: frozen: a step changes"):
        play(
            tmp_path / "run",
            "steps=8",
            "optimizer.discriminator.lr=0",
            *OFTEN,
            "callback.health.stop=[frozen]",
        )
    found = summary(tmp_path / "run")
    assert (found["status"], found["steps"]) == ("diverged", 6)
    assert [one["name"] for one in found["health"]] == ["frozen"]


def test_a_diverged_run_has_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explode = "optimizer.generator={_target_: torch.optim.SGD, _partial_: true, lr: 1e30}"
    with pytest.raises(Diverged):
        play(tmp_path / "run", "steps=8", "~optimizer.generator", f"+{explode}", "log_every=1", "metric=none")
    (found,) = summary(tmp_path / "run")["health"]
    assert (found["name"], found["cause"]) == ("diverging", "learning rates that are far too high")
    assert found["remedy"] == "optimizer.discriminator.lr=2e-05 optimizer.generator.lr=1e+28"
    assert capsys.readouterr().out.count("health: diverging since step 1: diverged at step 1") == 1
    assert summary(tmp_path / "run")["status"] == "diverged"


def test_an_unknown_finding_is_refused(tmp_path: Path) -> None:
    with refuses("callback.health.stop", ["colapse"], "there is no such finding", "diverging"):
        play(tmp_path / "run", "steps=1", "callback.health.stop=[colapse]")


@pytest.mark.parametrize(
    ("data", "finding", "lacks"),
    [("data=digits", "checkerboard", "checkerboard"), ("data=folder", "overfitting", "overfit")],
)
def test_a_finding_that_cannot_be_is_refused(data: str, finding: str, lacks: str, tmp_path: Path) -> None:
    images = labelled_folder(tmp_path / "images") if data == "data=folder" else ()
    reason = f"{finding} cannot be found in this run, of which {lacks} is not measured"
    with refuses("callback.health.stop", ["diverging", finding], reason, "remove it"):
        play(
            tmp_path / "run",
            "steps=1",
            "metric=none",
            data,
            *images,
            f"callback.health.stop=[diverging,{finding}]",
        )
    assert not (tmp_path / "run").exists()


def labelled_folder(path: Path) -> tuple[str, ...]:
    """Writes 2 classes of 16 images each; the settings of a small run on them."""
    for i in range(32):
        write_image(path / "ab"[i % 2] / f"{i}.png", seed=i)
    return f"data.root={path}", "data.height=8", "data.num_workers=0", "data.batch_size=8"


def test_a_run_on_labelled_images_gets_a_remedy(tmp_path: Path) -> None:
    images = labelled_folder(tmp_path / "images")
    fault = ("optimizer.discriminator.lr=0", "trick=label_conditioning")
    play(tmp_path / "run", "data=folder", *images, *fault, "steps=6", *OFTEN)
    (found,) = summary(tmp_path / "run")["health"]
    assert (found["name"], found["remedy"]) == ("frozen", "optimizer.discriminator.lr=0.002")


def prepared(*overrides: str) -> PreparedRun:
    cfg = compose(*QUICK, *overrides)
    return PreparedRun(cfg, [], None, Phase, Play, pl.Trainer, pl.Callback)


def test_the_first_norms_are_those_of_pretrained_weights(tmp_path: Path) -> None:
    run = prepared(f"run_dir={tmp_path}")
    (phase,) = run.phases
    weights = phase.game.weights("generator")

    def pretrain() -> None:
        for weight in weights:
            torch.nn.init.ones_(weight)

    phase.initialise = pretrain
    health = Health(every=50, stop=[])
    health.on_prepared(run)
    health.on_train_batch_start(pl.Trainer(logger=False), GameModule(run.phases))
    assert health.first_norms["generator"] == pytest.approx(sum(map(torch.numel, weights)) ** 0.5)


def test_updates_are_measured_over_all_tensors_of_a_player(tmp_path: Path) -> None:
    (phase,) = prepared(f"run_dir={tmp_path}").phases
    before = {key: [w.detach().clone() for w in own] for key, own in weights_of(phase).items()}
    first = {key: float(torch.cat([w.flatten() for w in own]).norm()) for key, own in before.items()}
    for weight in phase.game.weights("generator"):
        weight.data *= 3
        weight.grad = torch.ones_like(weight)
    own = phase.player_optimizers["discriminator"].optimizer
    own.add_param_group({"params": phase.game.weights("generator")[:2]})
    (numbers,) = update_numbers(phase, before, first).values()
    size = sum(map(torch.numel, before["generator"]))
    expected = {"gradient": size**0.5, "change": 2, "growth": 3, "foreign": 0}
    for name, value in expected.items():
        assert float(numbers[f"{name}/generator"]) == pytest.approx(value, rel=1e-5)
    assert (float(numbers["growth"]), float(numbers["foreign/discriminator"])) == (pytest.approx(1), 2)


def test_all_players_have_a_growth(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2", "trick=critic_steps", *OFTEN)  # in which the generator does not move
    measured = {name for name, text in rows(tmp_path / "run")[-1].items() if text}
    assert {
        "health/growth/generator",
        "health/growth/discriminator",
        "health/change/discriminator",
    } <= measured
    assert "health/change/generator" not in measured


def test_the_reference_is_limited_in_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlab.monitoring.probe.MAX_ELEMENTS", 70 * 64)
    run = prepared(f"run_dir={tmp_path}")
    probe = Probe(run.phases[-1], run.data, torch.device("cpu"), lambda batch: batch)
    assert probe.bases[""].rows.shape == (70, 64)
    assert [len(one.real.x) for one in probe.batches] == [64, 64]  # two batches of 32


def test_noise_is_measured_if_the_game_tells_several_answers_apart(tmp_path: Path) -> None:
    for name, game in (("gain", "gain_digits"), ("pix2pix", "pix2pix_digits")):
        play_game(tmp_path / name, f"experiment={game}", "model.generator.width=4", *OFTEN)
    columns = [rows(tmp_path / name)[0].keys() for name in ("gain", "pix2pix")]
    assert ["health/noise" in names for names in columns] == [False, True]
    assert all("health/condition" in names for names in columns)


def test_a_trainer_of_ones_own_is_refused_in_one_line() -> None:
    run = prepared()
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
                         callbacks=[Health(every=1, stop=[])], enable_progress_bar=False)  # fmt: skip
    with refuses("callback", "health", "measures runs of ganlab alone", "remove it"):
        trainer.fit(GameModule(run.phases), DataLoader(torch.zeros(32, 1, 8, 8), batch_size=32))


def test_it_measures_at_rows_of_the_metrics_file(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=20", "log_every=3", "callback.health.every=5", "metric=none")
    measured = [row["step"] for row in rows(tmp_path / "run") if row["health/distance"]]
    assert measured == ["6", "12", "15"]


def test_two_processes_measure_and_train_as_without_it(tmp_path: Path) -> None:
    two = ("trainer=ddp", "trainer.devices=2", "steps=6", "optimizer.discriminator.lr=0")
    for name, given in (("without", ("log_every=1", "metric=none", "callback=none")), ("with", OFTEN)):
        code, _, err = finish(start_two_ranks(*QUICK, *two, *given, f"run_dir={tmp_path / name}"))
        assert code == 0, err
    states = [checkpoint(tmp_path / name) for name in ("without", "with")]
    for part in ("state_dict", "optimizer_states"):
        assert bitwise_equal(*(state[part] for state in states))
    assert [one["name"] for one in summary(tmp_path / "with")["health"]] == ["frozen"]


def test_it_does_not_count_in_the_hash_of_a_run_unless_it_may_end_it() -> None:
    without = identity.config(compose("callback=none"))
    assert identity.config(compose()) == identity.config(compose("callback.health.every=7")) == without
    assert identity.config(compose("callback.health.stop=[collapse]")) != without


def test_loggers_get_an_alert(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    given = ("steps=8", "optimizer.discriminator.lr=0", *OFTEN)
    play(tmp_path / "run", "logger=[wandb,tensorboard]", "logger.wandb.mode=offline", *given)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    (event,) = events.Tensors("health/frozen/text_summary")
    assert event.step == 6
    assert b"frozen since step 6" in event.tensor_proto.string_val[0]
    (file,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    assert b"frozen since step 6" in file.read_bytes()
    assert json.dumps(summary(tmp_path / "run")["health"])


def test_accuracies_need_a_boundary_and_other_logits_have_a_slope(tmp_path: Path) -> None:
    found = {}
    for objective in ("non_saturating", "wasserstein"):
        fixed = ("optimizer.generator.lr=0", "data.validation=60", f"objective={objective}", "steps=60")
        play(tmp_path / objective, *fixed, "log_every=20", "callback.health.every=60", "metric=none")
        found[objective] = rows(tmp_path / objective)[-1]
    names = ["health/accuracy_real", "health/accuracy_held_out", "health/accuracy_fake", "health/signs"]
    accuracies = [float(found["non_saturating"][name]) for name in names]
    assert min(accuracies) > 0.9  # of a discriminator alone
    assert accuracies[3] == pytest.approx(2 * accuracies[0] - 1)
    assert not {*names} & {*found["wasserstein"]}
    assert ["health/slope" in row for row in found.values()] == [False, True]
