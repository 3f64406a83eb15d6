"""Runs of several games that are played as one: from the command line to samples and metrics of each game."""

from __future__ import annotations

import shutil
import signal
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.commands import assert_same_run, checkpoint, finish, rows, start, summary
from support.daily_sample import on_one_day_of
from support.modules import build
from support.refusals import refuses
from support.small_games import CYCLEGAN, SMALL

from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.core.batch import ConditionSpec
from ganlab.data.base import Data
from ganlab.data.sources import TensorSource
from ganlab.data.unpaired import Unpaired
from ganlab.evaluate import evaluate
from ganlab.run import run
from ganlab.sample import sample

RUN = [*CYCLEGAN, "evaluation.n=60", "evaluation.n_real=60", "evaluate_every=100", "log_every=2"]
OF_ONE_PART = ["+games.ba.optimizer.generator.lr=0.1", "+games.ba.clip.generator=1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "cyclegan"
    views = "views=[{what: grid, part: ba, n: 4}]"
    run(compose(*(arguments := [*RUN, f"run_dir={run_dir}", "steps=4", views, *OF_ONE_PART])), arguments)
    return run_dir


def draw(run_dir: Path, *overrides: str) -> np.ndarray:
    given = [f"run_dir={run_dir}", *overrides]
    return np.asarray(Image.open(sample(compose(*given, config_name="sample"), given)))


def test_a_run_shows_and_measures_each_game(trained: Path) -> None:
    names = {"fid/digits_train_60", "ba/fid/digits_train_60"}
    last = rows(trained)[-1]
    assert names <= last.keys()
    assert {
        f"{part}/generator/{term}" for part in ("ab", "ba") for term in ("adversarial", "cycle")
    } <= last.keys()
    assert "ba/generator/gradient_norm" in last
    assert "ab/generator/gradient_norm" not in last
    measured = summary(trained)["metrics"]
    assert measured.keys() == names
    references = {measured[name]["reference_sha256"] for name in names}
    assert len(references) == 2  # each game is compared with its own domain
    pictures = {path.name for path in (trained / "samples").iterdir()}
    assert pictures == {"0000004.png", "ba_0000004.png", "0000004_n4_seed0_ba.png"}


def test_samples_and_metrics_of_each_game_are_those_of_the_run(trained: Path, tmp_path: Path) -> None:
    main, ab, ba = (load(trained, part=part) for part in (None, "ab", "ba"))
    data = build_data(compose(*CYCLEGAN))
    conditions = {"ab": data.conditions("test")(4), "ba": data.of_part("ba").conditions("test")(4)}
    assert conditions["ab"].mean() < 0 < conditions["ba"].mean()  # digits are dark, negatives bright
    shown = ab.sample(4, conditions=conditions["ab"])
    assert torch.equal(shown, main.sample(4, conditions=conditions["ab"]))
    for part in ("ab", "ba"):
        pictures = [draw(trained, "n=4", f"part={part}", *more) for more in ([], ["condition=test"])]
        assert np.array_equal(*pictures)
    assert not np.array_equal(draw(trained, "n=4", "part=ba"), draw(trained, "n=4"))
    assert not torch.equal(ba.sample(4, conditions=conditions["ab"]), shown)
    with refuses("part", "cd", "no such part", "choose from ab, ba"):
        draw(trained, "part=cd")
    with refuses("what", "interpolate", "no latents"):
        draw(trained, "what=interpolate")
    given = [f"run_dir={trained}", "metric=[fid]", "n=60", "evaluation.n_real=60"]
    found = evaluate(compose(*given, config_name="evaluate"), given)
    saved = summary(trained)["metrics"]
    assert {name: record["value"] for name, record in found.items()} == pytest.approx(
        {name: record["value"] for name, record in saved.items()}
    )


def test_a_player_of_one_game_has_settings_of_its_own() -> None:
    optimizers = build(compose(*CYCLEGAN, *OF_ONE_PART)).phase.player_optimizers
    rates = {name: player.optimizer.param_groups[0]["lr"] for name, player in optimizers.items()}
    assert rates == {
        "ab/discriminator": 0.0005, "ba/discriminator": 0.0005, "ab/generator": 0.0005, "ba/generator": 0.1,
    }  # fmt: skip
    assert [name for name, player in optimizers.items() if player.clip is not None] == ["ba/generator"]


def test_a_game_has_an_objective_an_optimizer_and_tricks_of_its_own() -> None:
    hinge, sgd = ("+objective@games.ba.objective=hinge", "+optimizer@games.ba.optimizer=sgd")
    changed = ["games.ba.objective.weight.generator=2", "+trick@games.ba.trick=ema"]
    cfg = compose(*CYCLEGAN, hinge, sgd, *changed, "+games.ba.trick.replay_buffer=null")
    check_config(cfg)
    module = build(cfg)
    ab, ba = module.parts.values()
    assert [type(game.objective).__name__ for game in (ab, ba)] == ["LeastSquares", "Hinge"]
    assert {name: factor(0) for name, factor in ba.objective.weights.items()} == {
        "discriminator": 1,
        "generator": 2,
    }
    assert [[*game.tricks] for game in (ab, ba)] == [["replay_buffer"], ["ema"]]
    optimizers = {name: player.optimizer for name, player in module.phase.player_optimizers.items()}
    assert isinstance(optimizers["ab/generator"], torch.optim.Adam)
    assert isinstance(optimizers["ba/generator"], torch.optim.SGD)
    with refuses("games.ba.trick.r1", None, "was not selected"):
        check_config(cfg := compose(*CYCLEGAN, "+games.ba.trick.r1=null"))
        build(cfg)


def test_each_game_is_animated(trained: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(trained, copied)
    for part, grey in (("", 0), ("ba_", 255)):
        Image.new("L", (4, 4), grey).save(copied / "samples" / f"{part}0000002.png")
    names = {None: "training.gif", "ab": "training_ab.gif", "ba": "training_ba.gif"}
    for part, name in names.items():
        given = [f"run_dir={copied}", "what=animate", *([] if part is None else [f"part={part}"])]
        animation = Image.open(path := sample(compose(*given, config_name="sample"), given))
        assert (path.name, animation.n_frames) == (name, 2)
        last = Image.open(copied / "samples" / f"{'ba_' if part == 'ba' else ''}0000004.png")
        assert animation.size == last.size
        middle = animation.convert("L").getpixel((last.width // 2, last.height // 2))
        assert (middle > 200) == (part == "ba")
    wrong = copied / "samples" / "ba_0000005.png"
    with refuses("output", wrong, "not a sample grid of the run"):
        draw(copied, "n=4", f"output={wrong}")


def test_each_game_reconstructs(tmp_path: Path) -> None:
    given = [*SMALL, "model=vae", "model.generator.hidden=[16]", "steps=2"]
    given += ["model.encoder.hidden=[16]", "model.encoder.dropout=[0,0]"]
    given += ["data=digits_and_negatives", "data.batch_size=16", "metric=none", f"run_dir={tmp_path / 'run'}"]
    games = {"a": {}, "b": {"data": {"reversed": True}}}
    two = {**compose(*given), "games": games, "bridge": {"_target_": "ganlab.games.Bridge"}}
    run(cfg := OmegaConf.create(two))
    for part in ("a", "b"):
        game, data = load(tmp_path / "run", part=part), build_data(cfg).of_part(part)
        shown = draw(tmp_path / "run", "what=reconstructions", "n=2", "columns=2", f"part={part}")
        x, _ = next(data.split("test", "cpu", 2))
        for row, images in enumerate((x, game.generate_in_eval_mode(game.encode(x)).detach())):
            top = 8 + 40 * row
            expected = ((images[0, 0] + 1) / 2 * 255).clamp(0, 255)
            assert np.abs(shown[top : top + 32 : 4, 8:40:4, 0] - expected.numpy()).max() < 1


def test_a_network_of_any_name_may_be_listed_without_a_value() -> None:
    assert build(compose(*CYCLEGAN, "+initial.mapper=[]", "+clip.mapper=null")).parts


@on_one_day_of(3)
def test_a_killed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = [*RUN, "trick=[replay_buffer,ema,r1]", "trick.replay_buffer.size=50", "steps=24"]
    settings += ["log_every=2", "checkpoint_every=4"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    left_alone, process = start(*settings, f"run_dir={whole}"), start(*settings, f"run_dir={killed}")
    while process.poll() is None and not (killed / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert checkpoint(killed)["state_dict"]["beside.ba._extra_state"]["step"] < 24
    assert finish(start(f"resume={killed}"))[0] == 0
    assert finish(left_alone)[0] == 0
    assert_same_run(whole, killed)
    assert summary(killed)["metrics"] == summary(whole)["metrics"]


def test_a_new_run_starts_from_the_weights_of_both_games(trained: Path, tmp_path: Path) -> None:
    settings = [*RUN, "steps=1", "+optimizer.generator.weight_decay=0", f"init_from={trained}"]
    settings += [f"optimizer.{player}.lr=0" for player in ("generator", "discriminator")]
    run(compose(*(arguments := [*settings, f"run_dir={tmp_path / 'new'}"])), arguments)
    for part in ("ab", "ba"):
        old, new = (load(path, part=part).generator.parameters() for path in (trained, tmp_path / "new"))
        assert all(torch.equal(*pair) for pair in zip(old, new, strict=True))


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        (["+games.ba.seed=3"], "games.ba", "has seed"),
        (["+games.c-d.clip.generator=1"], "games.c-d", "is not a name"),
        (["+games.third.clip.generator=1"], "games", "needs two games"),
        (["+games.train.clip.generator=1"], "games.train", "one of torch's own"),
        (["+games.ba.clip=3"], "games.ba.clip", "must be a mapping"),
        (["games.ba.data=null"], "games.ba.data", "must be a mapping"),
        (["+games.ba.optimizer.generator.lr=-1"], "games.ba.optimizer.generator", "Invalid learning rate"),
        (["optimizer.generator.lr=-1"], "optimizer.generator", "Invalid learning rate"),
        (["+games.ba.optimizer.encoder.lr=1"], "games.ba.optimizer.encoder.lr", "no encoder"),
        (["games=null"], "games", "needs a bridge and games"),
        (["~bridge"], "games", "needs a bridge and games"),
        (["bridge.cycle=-1"], "bridge.cycle", "at least 0"),
        (["+games.ba.data.batch_size=3"], "games.ba.data.batch_size", "same for all parts"),
        (["+games.ba.clip.nobody=1"], "games.ba.clip.nobody", "has no nobody"),
        (["+games.ba.objective.weight.encoder=1"], "games.ba.objective.weight", "and no others"),
        (["data.condition.paired=true"], "data.condition", "must be unpaired"),
        (["data.condition.shape=[2,8,8]"], "data.condition", "must be unpaired and of the shape"),
        (["data.batch_size=719"], "data.batch_size", "exceeds the 718"),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(overrides: list[str], key: str, reason: str) -> None:
    with refuses(key, reason=reason):
        cfg = compose(*CYCLEGAN, *overrides)
        check_config(cfg, overrides)
        build(cfg, build_data(cfg))


def test_both_domains_have_epochs_of_their_own_and_no_sample_in_common() -> None:
    data = build_data(compose("data=digits_and_negatives", "data.batch_size=100"))
    batches = list(islice(data.stream(3, lambda: 0, "cpu"), 8))
    again = list(islice(data.stream(3, lambda: 5, "cpu"), 3))
    assert all(torch.equal(*pair) for pair in zip(batches[5].real[:2], again[0].real[:2], strict=True))

    def levels(images: torch.Tensor) -> list[bytes]:
        return [((x + 1) * 127.5).round().byte().numpy().tobytes() for x in images]

    digits = levels(next(build_data(compose("data=digits")).split("train", "cpu", 1437))[0])
    a = [digits.index(x) for batch in batches[:7] for x in levels(batch.real.condition)]
    b = [digits.index(x) for batch in batches[:7] for x in levels(-batch.real.x)]
    assert len(set(a)) == len(set(b)) == 700
    assert {i % 2 for i in a} == {0}
    assert {i % 2 for i in b} == {1}
    assert [i // 2 for i in a] != [i // 2 for i in b]
    ranks = [next(iter(data.stream(3, lambda: 0, "cpu", rank, 2))).real for rank in (0, 1)]
    for k in (0, 1):
        assert torch.equal(torch.cat([ranks[0][k], ranks[1][k]]), batches[0].real[k])
    other = build_data(compose("data=digits_and_negatives", "data.reversed=true"))
    assert torch.equal(other.conditions("test")(5), next(data.split("test", "cpu", 5))[0])
    assert torch.equal(data.conditions("test")(5), next(other.split("test", "cpu", 5))[0])
    assert data.fingerprint() == other.fingerprint()


def test_settings_that_choose_samples_act_on_both_domains() -> None:
    choice = (
        "data.classes=[3,1]",
        "data.validation=20",
        "data.validation_choice=random",
        "data.per_class=30",
    )
    data = build_data(compose("data=digits_and_negatives", "data.batch_size=30", *choice))
    a = data.condition_domain
    assert len(data) == len(a) == 60
    digits = build_data(compose("data=digits", "data.classes=[3,1]"))
    levels = {split: {x.numpy().tobytes() for x in digits.sources[split].x} for split in ("train", "test")}
    for split, sizes in {"train": (60, 60), "validation": (20, 20), "test": (49, 24)}.items():
        kept = [data.sources[split].x, 255 - a.sources[split].x]
        assert tuple(map(len, kept)) == sizes, split
        whole = levels["test" if split == "test" else "train"]
        assert {(255 - x).numpy().tobytes() for domain in kept for x in domain} <= whole
    seen = [{x.numpy().tobytes() for x in source.sources["validation"].x} for source in (data, a)]
    assert not seen[0] & {x.numpy().tobytes() for x in data.sources["train"].x}
    assert data.conditions("validation")(3).shape == (3, 1, 8, 8)
    with refuses("data.labelled", 10, "only choose samples", "remove it"):
        build_data(compose("data=digits_and_negatives", "+data.labelled=10"))
    x = torch.arange(16.0)[:, None]
    domains = [Data((1,), None, None, 8, {"train": TensorSource(x, None, flip=False)}) for _ in range(2)]
    spec = ConditionSpec("vector", (1,), paired=False)
    settings = {"shape": (1,), "num_classes": None, "range": None, "batch_size": 8, "condition": spec}
    with refuses(".validation", 2, "has no effect on unpaired domains", "set it of each domain"):
        Unpaired(*domains, reversed=False, **settings, validation=2, validation_choice="last")


def test_the_header_names_the_networks_and_the_tricks_of_each_game(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_ba = ["+games.ba.trick.ema.decay=0.9", "+games.ba.model.generator.width=2"]
    arguments = [*RUN, "metric=none", "steps=2", "trick=[r1,ema]", *of_ba, f"run_dir={tmp_path / 'run'}"]
    run(compose(*arguments), arguments)
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:6])
    parts = {part: load(tmp_path / "run", part=part) for part in ("ab", "ba")}
    networks = [
        f"{part}/{player} {kind} of {sum(w.numel() for w in getattr(game, player).parameters()):,} weights"
        for part, game in parts.items()
        for player, kind in (("discriminator", "patch"), ("generator", "unet"))
    ]
    assert sorted(lines["networks"].split(", ")) == sorted(networks)
    assert len(set(networks)) == 4
    tricks = ", ".join(parts["ab"].tricks)
    assert lines["game"] == f"ab LeastSquares with {tricks}, ba LeastSquares with {tricks}, steps 1 to 2"


def test_domains_of_equal_size_have_different_orders() -> None:
    x = torch.arange(16.0)[:, None]
    domains = [Data((1,), None, None, 8, {"train": TensorSource(x, None, flip=False)}) for _ in range(2)]
    spec = ConditionSpec("vector", (1,), paired=False)
    settings = {"shape": (1,), "num_classes": None, "range": None, "batch_size": 8, "condition": spec}
    real = next(iter(Unpaired(*domains, reversed=False, **settings).stream(0, lambda: 0, "cpu"))).real
    assert len(real.x.unique()) == len(real.condition.unique()) == 8
    assert not torch.equal(real.x, real.condition)
    domains[1] = Data((2,), None, None, 8, {"train": TensorSource(x.expand(16, 2), None, flip=False)})
    with refuses(".shape", (1,), "contradicts the data", r"set it to \[2\]"):
        Unpaired(*domains, reversed=False, **settings)
    domains[1] = Data((1,), None, [0, 1], 8, {"train": TensorSource(x, None, flip=False)})
    with refuses(".range", None, "contradicts the data"):
        Unpaired(*domains, reversed=True, **settings)


def test_the_value_of_a_further_part_may_select_the_best_checkpoint(tmp_path: Path) -> None:
    arguments = [*RUN, "metric=[fid]", "steps=1", "monitor=ba/fid", f"run_dir={tmp_path / 'run'}"]
    metrics = run(compose(*arguments), arguments)
    callbacks = checkpoint(tmp_path / "run")["callbacks"]
    best = [state["best"] for state in callbacks.values() if "best" in state]
    assert best == [metrics["ba/fid/digits_train_60"]]
    with refuses("monitor", "fid/digits_test", "is not measured", "ba/fid/digits_train_60"):
        run(compose(*(wrong := [*arguments[:-2], "monitor=fid/digits_test"])), wrong)
