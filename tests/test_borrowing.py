"""Networks borrowed from finished runs: frozen, copied into the run, and checked like any run of others."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import random
import re
import shutil
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from support.commands import (
    assert_same_run,
    bitwise_equal,
    checkpoint,
    finish,
    play,
    resume,
    start,
)
from support.daily_sample import A_FIFTH, daily_share, on_one_day_of
from support.modules import build
from support.refusals import refuses
from support.small_games import SMALL, batch, game, options, play_step, play_steps
from support.trick_effects import modules_differ, observables
from test_stages import reached
from test_trust import ATTACKS, OWN, REASONS, sampled

from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.config.load import LoadedRun, build_run, load, refuse_unused_borrows
from ganlab.config.run_directory import RunDirectory
from ganlab.core.errors import ConfigError
from ganlab.evaluate import evaluate
from ganlab.game import Game
from ganlab.run import run
from ganlab.training.module import GameModule
from ganlab.training.play_run import start_run

BRIDGE = {"_target_": "ganlab.games.Bridge"}
NORMAL = "{_target_: ganlab.networks.initial.Normal, std: 1}"
ENCODER = (
    "experiment=encoder_digits",
    "logger=csv",
    "log_every=1",
    "model.encoder.hidden=[16]",
    "model.encoder.dropout=[0,0]",
    "data.batch_size=16",
)


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "lender"
    play(run_dir, "steps=4", "trick=ema")
    return run_dir


def encode(run_dir: Path, lender: Path, *overrides: str) -> None:
    given = [*ENCODER, f"borrows.game={lender}", f"run_dir={run_dir}", *overrides]
    run(compose(*given), given)


def built(lender: Path, *overrides: str) -> GameModule:
    cfg = compose(*ENCODER, f"borrows.game={lender}", *overrides)
    check_config(cfg)
    return build(cfg)


def test_only_the_encoder_is_trained_and_saved(lender: Path) -> None:
    module = built(lender)
    game = module.game
    trained = load(lender)
    assert {name.split(".")[0] for name in game.state_dict()} == {"encoder", "_extra_state"}
    assert [optimizer.param_groups[0]["params"] for optimizer in module.configure_optimizers()] == [
        [*game.encoder.parameters()]
    ]
    before = copy.deepcopy(game.encoder.state_dict())
    terms = play_steps(module, 60)
    assert terms[-1]["encoder/reconstruction"] < terms[0]["encoder/reconstruction"]
    assert not bitwise_equal(before, game.encoder.state_dict())
    for name in ("generator", "discriminator"):
        borrowed = game.networks[name]
        assert not borrowed.training
        assert not any(weight.requires_grad for weight in borrowed.parameters())
        assert bitwise_equal(borrowed.state_dict(), trained.presented(name).state_dict())
    assert torch.equal(game.sample(3, seed=1), trained.sample(3, seed=1))
    assert not torch.equal(game.sample(3), trained.generate(trained.latents(3)) + 1)


def test_what_is_borrowed_is_what_the_game_presents(lender: Path) -> None:
    trained, generator = load(lender), built(lender).game.networks["generator"]
    latent = torch.randn(4, 6)
    assert torch.equal(generator(latent), trained.presented("generator").eval()(latent))
    assert not torch.equal(generator(latent), trained.generator(latent))


def test_what_is_borrowed_follows_and_is_shared(lender: Path) -> None:
    game = built(lender).game
    assert copy.deepcopy(game).networks["generator"] is game.networks["generator"]
    again = pickle.loads(pickle.dumps(game))
    assert torch.equal(again.sample(2), game.sample(2))
    game.double()
    assert game.sample(2).dtype == torch.float64
    assert built(lender, "trainer.precision=64-true").game.sample(2).dtype == torch.float64


@pytest.mark.parametrize("play", ["alternating", "shared", "simultaneous", "extragradient"])
@pytest.mark.parametrize("kappa", [0, 2])
def test_the_losses_are_those_of_the_paper(play: str, kappa: int, lender: Path) -> None:
    module = built(lender, f"objective.kappa={kappa}", f"play={play}", "optimizer.encoder.lr=1e-12")
    (terms,) = play_steps(module, 1)
    trained, (x, _) = load(lender), batch(0)
    made = trained.presented("generator").eval()(module.game.encoder(x))
    expected = {"encoder/reconstruction": (made - x).square().mean()}
    if kappa:
        real, fake = (trained.discriminator(images).features for images in (x, made))
        expected["encoder/features"] = kappa * (real - fake).square().mean()
    assert terms == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-5)
    assert ("discriminator" in module.game.networks) == bool(kappa)


def test_a_run_uses_its_copy_only(lender: Path, tmp_path: Path) -> None:
    for name in ("whole", "again"):
        shutil.copytree(lender, tmp_path / "lender")
        settings = ["steps=6", "checkpoint_every=3"]
        encode(tmp_path / name, tmp_path / "lender", *settings)
        # The original is trained further, and then removed.
        resume(tmp_path / "lender", "steps=5")
        shutil.rmtree(tmp_path / "lender")
    (tmp_path / "again").rename(tmp_path / "moved")
    resume(tmp_path / "moved" / "checkpoints" / "previous.ckpt")
    assert_same_run(tmp_path / "whole", tmp_path / "moved")
    for path in (tmp_path / "whole", tmp_path / "moved"):
        assert torch.equal(load(path).sample(4), load(lender).sample(4))
        sampled(path)
    own = ["extractor=digits", "metric=[fid]", "n=60", f"run_dir={tmp_path / 'moved'}"]
    assert evaluate(compose(*own, config_name="evaluate"), own)
    config = OmegaConf.load(tmp_path / "moved" / "borrowed" / "game" / "config.yaml")
    assert config.run_dir == str(lender)  # from where `lender` was copied
    copied = checkpoint(tmp_path / "moved" / "borrowed" / "game")
    assert copied["optimizer_states"] == []
    assert bitwise_equal(copied["state_dict"], checkpoint(lender)["state_dict"])


@on_one_day_of(4)
def test_a_killed_run_that_borrows_equals_an_uninterrupted_one(lender: Path, tmp_path: Path) -> None:
    shutil.copytree(lender, tmp_path / "lender")
    settings = [*ENCODER, "steps=150", "checkpoint_every=20"]
    command = [*settings, f"borrows.game={tmp_path / 'lender'}", f"run_dir={tmp_path / 'killed'}"]
    left_alone = start(*settings, f"borrows.game={lender}", f"run_dir={tmp_path / 'whole'}")
    moments = random.Random(1)
    for until in (0, moments.randint(30, 60), moments.randint(80, 120)):
        process = start(*command)
        file = tmp_path / "killed" / "config.yaml"
        while process.poll() is None and (reached(tmp_path / "killed") < until or not file.exists()):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert reached(tmp_path / "killed") < 150, "the run was over before the signal came"
        shutil.rmtree(tmp_path / "lender", ignore_errors=True)
        command = [f"resume={tmp_path / 'killed'}"]
    assert finish(start(*command))[0] == 0
    assert finish(left_alone)[0] == 0
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_run_that_never_began_leaves_room_for_another(lender: Path, tmp_path: Path) -> None:
    shutil.copytree(lender, tmp_path / "run" / "borrowed" / "game")
    encode(tmp_path / "run", lender, "steps=1")
    assert load(tmp_path / "run").run_step == 1


def test_a_run_may_borrow_from_one_that_borrows(lender: Path, tmp_path: Path) -> None:
    encode(tmp_path / "first", lender, "steps=2")
    encode(tmp_path / "second", tmp_path / "first", "steps=2", "checkpoint_every=1")
    shutil.rmtree(tmp_path / "first")
    resume(tmp_path / "second", "steps=3")
    assert torch.equal(load(tmp_path / "second").sample(4), load(lender).sample(4))
    assert (tmp_path / "second" / "borrowed" / "game" / "borrowed" / "game" / "config.yaml").is_file()


def test_a_game_is_played_on_the_codes_of_a_borrowed_run(tmp_path: Path) -> None:
    def play(name: str, *overrides: str) -> None:
        given = ["logger=csv", "model.generator.latent_dim=6", "steps=2", "evaluation.n=100", *overrides]
        run(compose(*given, f"run_dir={tmp_path / name}"), given)

    play("vae", "objective=vae")
    play("run", "objective=mmd", f"+borrows.vae={tmp_path / 'vae'}", "code_of=vae")
    game, vae = load(tmp_path / "run"), load(tmp_path / "vae")
    x, _ = batch(0)
    assert torch.equal(game.space.enter(x), vae.encode(x))
    assert game.sample(3).shape == (3, 1, 8, 8)


def test_each_part_of_a_run_of_several_games_can_be_borrowed(tmp_path: Path) -> None:
    two = OmegaConf.create({**compose(*SMALL), "games": {"a": {}, "b": {}}, "bridge": BRIDGE})
    finished = {"game": LoadedRun(RunDirectory(tmp_path), two, {}, build_run(two), {})}
    parts = finished["game"].games.parts

    def lender_of(borrowed: str) -> Game:
        names = ("generator", "discriminator")
        cfg = compose(*ENCODER, "borrows.game=x", *(f"model.{name}.borrowed={borrowed}" for name in names))
        refuse_unused_borrows(cfg)
        return build(cfg, borrowed=finished).game.double().networks["generator"].game

    assert [lender_of(name) for name in ("game", "game/a", "game/b")] == [parts[part] for part in "aab"]
    with refuses("model.generator.borrowed", "game/c", remedy="choose from game, game/a, game/b"):
        lender_of("game/c")
    assert parts["b"].sample(1).dtype == torch.float64


def test_a_process_beside_the_first_one_keeps_no_checkpoint_of_what_is_borrowed(
    lender: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0", "WORLD_SIZE": "2"}
    for name, value in (environment | {"TORCHELASTIC_RUN_ID": "none"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    run = start_run(compose(*ENCODER, f"borrows.game={lender}", "trainer=ddp", "trainer.devices=2"))
    assert not run.is_main
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is LoadedRun]


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        (["model.generator.borrowed=other"], "model.generator.borrowed", "no earlier stage and no borrowed"),
        (
            ["+model.generator.network=encoder"],
            "model.generator.network",
            "game has discriminator, gen",
        ),
        (["+model.generator.network=discriminator"], "model.generator.network", "cannot be the generator"),
        (["+model.generator.width=3"], "model.generator", "is borrowed, so it has no width"),
        (["model=gan", "objective=f_anogan"], "model.generator", "trained by no player"),
        (["model=gan", "++model.discriminator={borrowed: game}"], "model.discriminator", "no such parameter"),
        (["borrows.game=null"], "borrows.game", "must be the directory of a run"),
        (["borrows.game=nowhere"], "borrows.game", "is not a run"),
        (["optimizer.generator.lr=1"], "optimizer.generator.lr", "no player generator"),
        (
            ["objective.kappa=0", "model.discriminator.borrowed=no"],
            "model.discriminator",
            "has no discriminator",
        ),
        (["data=ring"], "borrows.game: data.range", "another range"),
        (["data.range=[0,1]"], "borrows.game: data.range", "has data of another range"),
        ([f"initial.generator=[{NORMAL}]"], "initial.generator", "trains no generator"),
        (["trick=virtual_batch_norm"], "trick", "a generator that is trained"),
    ],
)
def test_what_cannot_be_borrowed_is_refused(
    overrides: list[str], key: str, reason: str, lender: Path, tmp_path: Path
) -> None:
    given = [*ENCODER, f"borrows.game={lender}", f"run_dir={tmp_path / 'run'}"]
    names = {override.split("=")[0].lstrip("+") for override in overrides}
    given = [line for line in given if line.split("=")[0] not in names]
    if "model" in names:
        given = [line for line in given if not line.startswith(("model.", "experiment", "borrows"))]
        given += [f"+borrows.game={lender}"]
    with pytest.raises(ConfigError) as caught:
        run(compose(*given, *overrides), [*given, *overrides])
    assert caught.value.key.startswith(key)
    assert re.search(reason, caught.value.reason)
    assert not (tmp_path / "run").exists()


@cache
def settings() -> Any:
    return compose(*ENCODER, "steps=1", "borrows.game=x")


@pytest.mark.parametrize("attack", daily_share(ATTACKS, A_FIFTH))
def test_an_attack_inside_of_a_borrowed_run_is_refused(
    attack: str, theirs: Path, borrower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, and inside of the copy when the run is loaded or resumed."""
    evil, run_dir = tmp_path / "evil", tmp_path / "run"
    shutil.copytree(theirs, evil)
    shutil.copytree(borrower, run_dir)
    for place in (evil, run_dir / "borrowed" / "game"):
        (place / "config.yaml").write_text(ATTACKS[attack]((place / "config.yaml").read_text()))
    cfg = settings().copy()
    cfg.borrows.game, cfg.run_dir = str(evil), str(tmp_path / "new")
    resumed = compose("resume=x").copy()
    resumed.resume = str(run_dir)
    monkeypatch.chdir(tmp_path)
    for command in (
        lambda: run(cfg),
        lambda: load(run_dir),
        lambda: run(resumed, [f"resume={run_dir}"]),
    ):
        with pytest.raises(ConfigError) as refusal:
            command()
        assert re.search(REASONS, refusal.value.reason), refusal.value
        assert "\n" not in str(refusal.value)
    assert {*tmp_path.iterdir()} == {evil, run_dir}, "something was run"


@pytest.fixture(scope="module")
def theirs(lender: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of somebody else, of which the config is as the attacks expect it."""
    run_dir = tmp_path_factory.mktemp("runs") / "theirs"
    play(run_dir, "steps=2")
    (run_dir / "signature").unlink()
    return run_dir


@pytest.fixture(scope="module")
def borrower(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "borrower"
    encode(run_dir, theirs, "steps=2")
    return run_dir


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch PWNED",)


@pytest.mark.parametrize("kind", ["pickle", "pipe", "link", "folder", "truncated"])
@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "config.yaml"])
def test_files_of_another_kind_inside_of_a_borrowed_run_are_refused(
    name: str, kind: str, theirs: Path, borrower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil, run_dir, mine = tmp_path / "evil", tmp_path / "run", tmp_path / "mine"
    shutil.copytree(theirs, evil)
    shutil.copytree(borrower, run_dir)
    shutil.copy(theirs / name, mine)  # a file of the user that is fit to be read
    for place in (evil, run_dir / "borrowed" / "game"):
        (place / "checkpoints" / "previous.ckpt").unlink(missing_ok=True)
        file = place / name
        content = file.read_bytes()
        file.unlink()
        if kind == "pickle":
            file.write_bytes(pickle.dumps({"state_dict": Command()}))
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "link":
            file.symlink_to(mine)
        elif kind == "folder":
            file.mkdir()
        else:
            file.write_bytes(content[:100])
    monkeypatch.chdir(tmp_path)
    new = tmp_path / "new"
    for command in (lambda: encode(new, evil), lambda: load(run_dir), lambda: resume(run_dir)):
        with pytest.raises(ConfigError) as refusal:
            command()
        assert "\n" not in str(refusal.value)
    assert {*tmp_path.iterdir()} == {evil, run_dir, mine}


def test_a_copy_that_is_a_link_is_refused(theirs: Path, borrower: Path, tmp_path: Path) -> None:
    shutil.copytree(borrower, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "borrowed" / "game")
    (tmp_path / "run" / "borrowed" / "game").symlink_to(theirs)
    with refuses(reason="is a link out of the run directory, or not a file"):
        load(tmp_path / "run")


def test_a_run_that_borrows_from_somebody_else_is_not_signed(
    lender: Path, theirs: Path, tmp_path: Path
) -> None:
    encode(tmp_path / "mine", lender, "steps=1", *OWN)
    encode(tmp_path / "theirs", theirs, "steps=1", *OWN)
    encode(tmp_path / "nested", tmp_path / "theirs", "steps=1", "trust=[test_config]")
    for name, is_signed in {"mine": True, "theirs": False, "nested": False}.items():
        assert (tmp_path / name / "signature").exists() == is_signed
        assert (tmp_path / name / "borrowed" / "game" / "signature").exists() == is_signed
    resume(tmp_path / "mine", "steps=2")
    with refuses("trick.mine", "test_config.Shift", remedy="trust="):
        resume(tmp_path / "theirs", "steps=2")


def test_trust_of_a_command_reaches_what_it_borrows_and_no_later_command(tmp_path: Path) -> None:
    own = tmp_path / "own"
    play(own, "steps=1", *OWN)
    (own / "signature").unlink()
    key = "borrows.game: trick.mine"
    with refuses(key, "test_config.Shift", remedy=r"trust=\[test_config\]"):
        encode(tmp_path / "run", own, "steps=1")
    encode(tmp_path / "run", own, "steps=1", "trust=[test_config]")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("trust: []", "trust: [test_config]"))
    with refuses(key, "test_config.Shift", remedy=r"trust=\[test_config\]"):
        load(tmp_path / "run")
    with refuses(key, "test_config.Shift", remedy=r"trust=\[test_config\]"):
        resume(tmp_path / "run", "steps=2")
    resume(tmp_path / "run", "steps=2", "trust=[test_config]")


@pytest.mark.parametrize("trick", options("trick"))
def test_a_trick_acts_on_an_encoder_alone_or_is_refused(trick: str) -> None:
    """Only what concerns a discriminator or the training of a generator is refused."""
    acts = {"ema": "trick.ema.players=[encoder]", "historical_averaging": "", "truncation": ""}
    if trick not in acts:
        with pytest.raises(ConfigError, match=trick):
            game("f_anogan", [trick])
        return
    module = game("f_anogan", [trick], "alternating", *filter(None, [acts[trick]]))
    plain = game("f_anogan")
    for _ in range(6):
        play_step(module)
        play_step(plain)
    found = [{**observables(one)[0], "codes": one.game.encode(batch(0)[0])} for one in (module, plain)]
    assert modules_differ(module, plain) or not bitwise_equal(*found)


def test_a_run_without_an_autoencoder_lends_no_codes(lender: Path, tmp_path: Path) -> None:
    play(tmp_path / "gan", "steps=2", "~model.encoder")
    encode(tmp_path / "encoder", lender, "steps=2")
    for name, reason in (("gan", "has no encoder"), ("encoder", "borrows its generator")):
        with refuses("code_of", "other", reason):
            play(tmp_path / "run", f"+borrows.other={tmp_path / name}", "code_of=other")


def test_a_borrowed_run_that_no_network_uses_is_refused(lender: Path, tmp_path: Path) -> None:
    with refuses("borrows.other", str(lender), "is used by no network", "model=f_anogan"):
        encode(tmp_path / "run", lender, f"+borrows.other={lender}")
