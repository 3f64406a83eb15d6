"""Runs of several stages: they resume at any step, and a game on codes references the autoencoder."""

from __future__ import annotations

import copy
import pickle
import random
import re
import signal
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from support.commands import (
    assert_same_run,
    bitwise_equal,
    checkpoint,
    finish,
    resume,
    rows,
    start,
    start_two_ranks,
    summary,
)
from support.daily_sample import on_one_day_of
from support.modules import build
from support.refusals import refuses
from support.small_games import batch, play_step
from torch.nn.functional import avg_pool2d

from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.config.stages import Timetable, complete_stages, stage_configs
from ganlab.core.batch import Batch, ConditionSpec, Sample
from ganlab.core.errors import ConfigError
from ganlab.core.players import TWO_PLAYERS
from ganlab.core.randomness import RandomStreams
from ganlab.core.space import CodeOf
from ganlab.data.vision import Digits
from ganlab.networks.autoencoder import linear_layers
from ganlab.objectives.adversarial import NonSaturating
from ganlab.run import run
from ganlab.sample import sample
from ganlab.training.module import GameModule
from ganlab.training.train import train

R1 = "{_target_: ganlab.tricks.r1.R1, gamma: 1, every: 1}"
POOLED = "{_target_: ganlab.core.space.Pooled, factor: 2, enlargement: nearest, shape: '${data.shape}'}"
SMALL = (
    "model=gmmn_autoencoder",
    "logger=csv",
    "log_every=1",
    "evaluation.n=100",
    "evaluation.n_real=60",
    "evaluate_every=1000",
    "data.batch_size=32",
    "model.generator.hidden=[16]",
    "stages.autoencoder.batch_size=16",
    "stages.autoencoder.model.generator.latent_dim=6",
    "stages.autoencoder.model.generator.hidden=[16]",
    "stages.autoencoder.model.encoder.hidden=[16]",
    "stages.autoencoder.model.encoder.dropout=[0.2,0]",
)


def small(*overrides: str):
    return compose(*SMALL, *overrides)


def built(*overrides: str) -> GameModule:
    cfg = small(*overrides)
    check_config(cfg)
    return build(cfg)


def play(run_dir: Path, *overrides: str) -> dict[str, float]:
    given = [*SMALL, f"run_dir={run_dir}", *overrides]
    return run(compose(*given), given)


def pretrained(steps: int):
    """The config of a run with two one-layer autoencoders, a deep one initialised by them, and the game."""
    cfg = small("steps=3")
    OmegaConf.set_struct(cfg, False)  # for settings that the stage of this model inherits
    deep = copy.deepcopy(cfg.stages.autoencoder)
    outer = copy.deepcopy(deep)
    outer.steps = deep.steps = steps
    outer.model.generator.hidden = outer.model.encoder.hidden = []
    outer.model.generator.latent_dim = 16
    outer.model.encoder.dropout = [0.2]
    inner = copy.deepcopy(outer)
    inner.code_of = "outer"
    for network in (inner.model.generator, inner.model.encoder):
        network.shape = [16]
    inner.model.generator.latent_dim = 6
    inner.model.generator.value_range = [0, 1]
    inner.objective.likelihood.value_range = [0, 1]
    deep.pretrained = ["outer", "inner"]
    cfg.stages = {"outer": outer, "inner": inner, "autoencoder": deep}
    return cfg


@pytest.mark.parametrize("length", [2, 3, 4])
def test_a_run_resumes_before_at_and_after_the_change_of_stage(length: int, tmp_path: Path) -> None:
    settings = [
        f"stages.autoencoder.steps={length}",
        f"steps={6 - length}",
        "checkpoint_every=3",
        "trick=ema",
    ]
    play(tmp_path / "whole", *settings)
    play(tmp_path / "again", *settings)
    assert checkpoint(tmp_path / "again", "previous")["state_dict"]["game._extra_state"]["step"] == 3
    resume(tmp_path / "again" / "checkpoints" / "previous.ckpt")
    assert_same_run(tmp_path / "whole", tmp_path / "again")
    columns = rows(tmp_path / "again")
    assert [bool(row["autoencoder/generator/reconstruction"]) for row in columns] == [
        i < length for i in range(6)
    ]
    assert [bool(row["generator/matching"]) for row in columns] == [i >= length for i in range(6)]
    assert [int(row["images"]) for row in columns] == [
        16 * min(i, length) + 32 * max(i - length, 0) for i in range(1, 7)
    ]


@on_one_day_of(4)
def test_a_killed_run_of_stages_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    moments = random.Random(1)
    settings = [*SMALL, "stages.autoencoder.steps=100", "steps=100", "checkpoint_every=20", "trick=ema"]
    left_alone = start(*settings, f"run_dir={tmp_path / 'whole'}")
    command = [*settings, f"run_dir={tmp_path / 'killed'}"]
    for until in (moments.randint(25, 80), moments.randint(110, 180)):
        process = start(*command)
        while process.poll() is None and reached(tmp_path / "killed") < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert reached(tmp_path / "killed") < 200, "the run was over before the signal came"
        command = [f"resume={tmp_path / 'killed'}"]
    assert finish(start(*command))[0] == 0
    assert finish(left_alone)[0] == 0
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert summary(tmp_path / "killed")["metrics"] == summary(tmp_path / "whole")["metrics"]


def reached(run_dir: Path) -> int:
    lines = (run_dir / "metrics.csv").read_text().splitlines() if (run_dir / "metrics.csv").exists() else []
    return int(lines[-1].split(",")[0]) if len(lines) > 1 and lines[-1][:1].isdigit() else 0


def test_stages_on_two_processes_equal_one(tmp_path: Path) -> None:
    settings = [
        *SMALL,
        "stages.autoencoder.steps=4",
        "stages.autoencoder.model.encoder.dropout=[0,0]",
        "trainer.precision=64-true",
        "steps=4",
    ]
    pair = start_two_ranks(*settings, "trainer=ddp", f"run_dir={tmp_path / 'two'}")
    play(tmp_path / "one", *settings)
    code, _, err = finish(pair)
    assert code == 0, err
    one, two = (checkpoint(tmp_path / name)["state_dict"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.allclose(value, two[name], rtol=0, atol=1e-10), name


def test_the_game_is_played_on_codes_and_its_samples_are_decoded() -> None:
    module = built("stages.autoencoder.steps=2")
    for _ in range(4):
        play_step(module)
    host, game = module.phases[0].game, module.game
    x, labels = batch(0)
    module.train()
    turn = module.phase.turn("generator", Batch(Sample(x, labels)))
    still, encoder = (copy.deepcopy(network).eval() for network in (host.generator, host.encoder))
    assert torch.equal(turn.real.x, encoder(x))  # without dropout
    assert not turn.real.x.requires_grad
    assert turn.generated.x.shape == (16, 6)
    assert game.shape == (1, 8, 8)
    samples = game.sample(5, seed=1)
    latent = torch.randn(3, 10, requires_grad=True)
    assert torch.allclose(game.generate(latent), still(game.generator(latent)))
    game.generate(latent).sum().backward()
    assert latent.grad.abs().sum() > 0
    assert samples.shape == (5, 1, 8, 8)
    assert not host.generator.training  # since the stage is finished


def test_the_autoencoder_is_referenced_and_not_owned() -> None:
    module = built("stages.autoencoder.steps=2", "trick=ema")
    host, game = module.phases[0].game, module.game
    owned = {id(weight) for weight in game.parameters()}
    assert not owned & {id(weight) for weight in host.parameters()}
    assert copy.deepcopy(game).space is game.space
    assert game.space.game is host
    assert pickle.loads(pickle.dumps(game)).space.game.run_step == host.run_step
    saved = module.state_dict()
    assert sum(name.endswith("encoder.body.1.weight") for name in saved) == 1
    states = []
    for _ in range(5):
        states.append(
            (copy.deepcopy(host.generator.state_dict()), copy.deepcopy(game.generator.state_dict()))
        )
        play_step(module)
    moved = [
        [not bitwise_equal(after[i], before[i]) for before, after in zip(states, states[1:], strict=False)]
        for i in (0, 1)
    ]
    assert moved == [[True, True, False, False], [False, False, True, True]]


def test_the_networks_of_each_stage_have_their_own_seed() -> None:
    def drawn(seed: int, name: str) -> torch.Tensor:
        cfg = small(f"seed={seed}")
        cfg.model.generator.shape, cfg.model.generator.value_range = [6], [0, 1]
        cfg.stages, cfg.code_of = {name: cfg.stages.autoencoder}, name
        return linear_layers(build(cfg).phases[0].game.generator.body)[0].weight

    assert torch.equal(drawn(0, "a"), drawn(0, "a"))
    assert not torch.equal(drawn(0, "a"), drawn(1, "a"))
    assert not torch.equal(drawn(0, "a"), drawn(0, "b"))


def test_pretrained_layers_initialise_the_deep_autoencoder() -> None:
    module = build(pretrained(steps=3))
    outer, inner, deep = (stage.game for stage in module.phases[:-1])
    optimizer = module.phases[-2].player_optimizers["generator"].optimizer

    def weights(*networks) -> list[torch.Tensor]:
        return [layer.weight.detach().clone() for network in networks for layer in linear_layers(network)]

    def a_round(rate: float) -> list[torch.Tensor]:
        optimizer.param_groups[0]["lr"] = rate
        play_step(module)
        return weights(deep.encoder, deep.generator)

    for _ in range(6):
        play_step(module)
    trained = weights(outer.encoder, inner.encoder, inner.generator, outer.generator)
    assert bitwise_equal(a_round(0), trained)
    moved = a_round(0.01)
    assert not any(map(torch.equal, moved, trained))
    assert bitwise_equal(a_round(0), moved)
    assert bitwise_equal(weights(outer.encoder, inner.encoder, inner.generator, outer.generator), trained)


@on_one_day_of(2)
@pytest.mark.parametrize("every", [2, 4])
def test_a_pretrained_run_resumes_exactly(every: int, tmp_path: Path) -> None:
    for name in ("whole", "again"):
        cfg = pretrained(steps=2)
        cfg.checkpoint_every, cfg.run_dir, cfg.steps = every, str(tmp_path / name), every - 1
        train(cfg)
    resume(tmp_path / "again" / "checkpoints" / "previous.ckpt")
    assert_same_run(tmp_path / "whole", tmp_path / "again")


def test_pretrained_layers_of_other_shapes_are_refused() -> None:
    cfg = pretrained(steps=2)
    cfg.stages.autoencoder.pretrained = ["outer"]
    with refuses("stages.autoencoder.pretrained", reason=r"\[\[16, 64\], \[64, 16\]\]"):
        build(cfg)


def test_schedules_begin_with_their_stage() -> None:
    line = "{_target_: ganlab.core.schedules.Piecewise, values: [0.1, 0.2], milestones: [1]}"
    module = built("stages.autoencoder.steps=3", f"optimizer.generator.lr={line}")
    rates = []
    for _ in range(6):
        play_step(module)
        rates.append(module.phases[-1].player_optimizers["generator"].optimizer.param_groups[0]["lr"])
    assert rates == [0.1, 0.1, 0.1, 0.1, 0.2, 0.2]


def test_nothing_is_evaluated_or_shown_before_the_last_stage(tmp_path: Path) -> None:
    play(tmp_path / "run", "stages.autoencoder.steps=3", "steps=2", "evaluate_every=1", "checkpoint_every=2")
    assert [bool(row["fid/digits_train_100"]) for row in rows(tmp_path / "run")] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert sorted(path.stem for path in (tmp_path / "run" / "samples").iterdir()) == ["0000004", "0000005"]
    found = summary(tmp_path / "run")
    assert (found["steps"], found["images"]) == (5, 3 * 16 + 2 * 32)
    best = checkpoint(tmp_path / "run", "best")["state_dict"]["game._extra_state"]["step"]
    assert best in (4, 5)


def test_a_run_of_stages_is_loaded_sampled_and_extended(tmp_path: Path) -> None:
    settings = ["stages.autoencoder.steps=3", "evaluate_every=5"]
    play(tmp_path / "run", *settings, "steps=2")
    game = load(tmp_path / "run")
    assert game.run_step == 5
    assert game.sample(4).shape == (4, 1, 8, 8)
    cfg = compose(f"run_dir={tmp_path / 'run'}", "n=4", config_name="sample")
    assert sample(cfg).is_file()
    resume(tmp_path / "run", "steps=4")
    play(tmp_path / "long", *settings, "steps=4")
    assert_same_run(tmp_path / "run", tmp_path / "long")


def test_init_from_loads_the_weights_of_all_stages(tmp_path: Path) -> None:
    still = ["optimizer.generator.lr=1e-12"]
    play(tmp_path / "old", "stages.autoencoder.steps=3", "steps=2")
    play(tmp_path / "new", "stages.autoencoder.steps=1", "steps=1", f"init_from={tmp_path / 'old'}", *still)
    old, new = (checkpoint(tmp_path / name)["state_dict"] for name in ("old", "new"))
    for name, value in old.items():
        if isinstance(value, torch.Tensor):
            assert torch.allclose(value, new[name], atol=1e-9), name


def test_a_run_whose_generator_is_untrained_is_not_sampled(tmp_path: Path) -> None:
    play(tmp_path / "run", "stages.autoencoder.steps=4", "steps=2", "checkpoint_every=3")
    path = tmp_path / "run" / "checkpoints" / "previous.ckpt"
    with refuses("run_dir", path, "stopped after 3 of the 4 steps before its generator learns", "resume="):
        load(path)


STAGE = "stages.autoencoder"


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        ([f"~{STAGE}.steps"], STAGE, "lacks steps"),
        ([f"+{STAGE}.precision=3"], STAGE, "has precision"),
        ([f"{STAGE}=3"], STAGE, "must be a mapping"),
        ([f"+{STAGE}.space={POOLED}", f"+{STAGE}.code_of=a"], f"{STAGE}.space", "a second space"),
        (
            [f"+{STAGE}.space={POOLED.replace('2', '3')}"],
            f"{STAGE}.space.factor",
            "does not divide the sides",
        ),
        (["+borrows.autoencoder=x"], STAGE, "is the name of a borrowed run too"),
        (["+borrows.a=null"], "borrows.a", "must be the directory of a run"),
        (["+borrows={a-b: x}"], "borrows", "must consist of letters"),
        (["+borrows.a=nowhere"], "borrows.a", "is not a run"),
        (["+model.generator.borrowed=autoencoder"], "model.generator", "no such parameter"),
        ([f"{STAGE}.steps=0"], f"{STAGE}.steps", "at least 1"),
        (["code_of=nothing"], "code_of", "must be an earlier stage"),
        ([f"+{STAGE}.code_of=autoencoder"], f"{STAGE}.code_of", "must be an earlier stage"),
        ([f"~{STAGE}.model.encoder"], "code_of", "encoder"),
        (["images=1000"], "images", "stages"),
        (["model.generator.shape=[5]"], "model.generator.shape", "contradicts data.shape=.6."),
        (["model.generator.value_range=[-1,1]"], "model.generator.value_range", "contradicts data.range"),
        ([f"+{STAGE}.clip={{discriminator: 1}}"], f"{STAGE}.clip.discriminator", "trains no discriminator"),
        ([f"+{STAGE}.trick.r1={R1}"], STAGE, "with a discriminator"),
        ([f"{STAGE}.batch_size=5000"], STAGE, "exceeds the 1437 training samples"),
        (["trainer=ddp", f"{STAGE}.batch_size=33"], STAGE, "2 processes"),
        (["model.encoder.hidden=[3]"], "model.encoder.hidden", "no encoder"),
        ([f"{STAGE}.objective=${{objective}}"], STAGE, "no encoder"),
        ([f"+stages.keys=${{{STAGE}}}"], "stages.keys", "one of torch's own"),
        (["+stages.train={steps: 1}"], "stages.train", "one of torch's own"),
        (["+stages={3: {steps: 1}}"], "stages.3", "is not a name"),
        ([f"+{STAGE}.space=foo"], f"{STAGE}.space", "must be a mapping"),
        ([f"+{STAGE}.space={{factor: 2}}"], f"{STAGE}.space._target_", "is not a ganlab.core.space.Space"),
        ([f"+{STAGE}.clip=3"], f"{STAGE}.clip", "must be a mapping"),
        ([f"{STAGE}.objective=3"], f"{STAGE}.objective", "must be a mapping"),
        ([f"+{STAGE}.pretrained=3"], f"{STAGE}.pretrained", "must be a list"),
        ([f"{STAGE}.batch_size=-3"], f"{STAGE}.batch_size", "at least 1"),
        ([f"+{STAGE}.optimizer.encoder.lr=1"], f"{STAGE}.optimizer.encoder.lr", "no player encoder"),
        ([f"+{STAGE}.model.third.width=1"], f"{STAGE}.model.third.width", "no third"),
        ([f"{STAGE}.objective.weight.generator=-1"], f"{STAGE}.objective.weight.generator", "at least 0"),
    ],
)
def test_stages_that_cannot_be_played_are_refused(
    overrides: list[str], key: str, reason: str, tmp_path: Path
) -> None:
    """The key of an error about a stage begins with that stage's."""
    given = [*SMALL, *(f"+{o}" if o.startswith("model.encoder") else o for o in overrides)]
    with pytest.raises(ConfigError) as caught:
        run(compose(*given, f"run_dir={tmp_path / 'run'}"), given)
    assert caught.value.key.startswith(key)
    assert re.search(reason, caught.value.reason)
    assert not (tmp_path / "run").exists()


def test_a_resume_with_another_stage_is_refused_by_name(tmp_path: Path) -> None:
    play(tmp_path / "run", "stages.autoencoder.steps=2", "steps=1")
    cfg = compose(f"resume={tmp_path / 'run'}")
    with refuses("resume", str(tmp_path / "run"), "but stages.autoencoder.steps would change"):
        run(cfg, [f"resume={tmp_path / 'run'}", "stages.autoencoder.steps=3"])


def test_the_timetable_counts_images() -> None:
    times = Timetable(small("stages.autoencoder.steps=10", "steps=5"))
    assert (times.main_start, times.total) == (10, 15)
    assert [times.images_seen(step) for step in (0, 1, 10, 11, 15, 20)] == [0, 16, 160, 192, 320, 480]
    plain = Timetable(compose("steps=5"))
    assert (plain.main_start, plain.total, plain.images_seen(3)) == (0, 5, 192)


def test_the_batches_of_stages_are_a_function_of_the_step() -> None:
    facts = {"shape": (1, 8, 8), "num_classes": 10, "range": (-1, 1), "batch_size": 32}
    data = Digits(validation=0, validation_choice="last", labelled=None, **facts)
    phases = [(3, 16), (2, 8), (4, 32)]

    def since(k: int, n: int):
        batches = islice(data.stream(0, lambda: k, "cpu", steps_and_batch_sizes=phases), n)
        return [batch.real[:2] for batch in batches]

    whole = since(0, 12)
    assert [len(x) for x, _ in whole] == [16] * 3 + [8] * 2 + [32] * 7
    for k in range(12):
        assert bitwise_equal(since(k, 1)[0], whole[k])
    alone = [batch.real[:2] for batch in islice(data.stream(0, lambda: 5, "cpu"), 3)]
    assert bitwise_equal(alone, whole[5:8])


TWO = (
    "experiment=two_stages_digits",
    "logger=csv",
    "log_every=1",
    "evaluation.n=100",
    "evaluation.n_real=60",
    "evaluate_every=1000",
    "data.batch_size=16",
    "stages.low.model.generator.hidden=[16]",
    "stages.low.model.generator.latent_dim=6",
    "model.generator.width=4",
    "model.discriminator.hidden=[16]",
)


def two_stages(*overrides: str) -> DictConfig:
    return compose(*TWO, *overrides)


def test_a_stage_inherits_what_it_does_not_say() -> None:
    cfg = two_stages("trick=[ema,r1]", "clip.generator=3", "+stages.low.model.discriminator.hidden=[8]")
    (name, low), (_, main) = stage_configs(cfg)
    assert name == "low"
    assert [low.data.shape, low.model.discriminator.shape] == [[1, 4, 4], [1, 4, 4]]
    assert [low.model.generator.shape, main.model.generator.shape] == [[1, 4, 4], [1, 8, 8]]
    assert (low.model.discriminator.hidden, main.model.discriminator.hidden) == ([8], [16])
    assert low.model.discriminator.slope == main.model.discriminator.slope
    assert "stage" not in low.model.generator  # another function builds it
    assert (low.trick, low.objective, low.play) == (main.trick, main.objective, main.play)
    rates = low.optimizer.generator.lr, main.optimizer.generator.lr
    assert rates == (0.002, 0.0005)
    assert low.optimizer.generator.betas == main.optimizer.generator.betas
    assert (low.clip.generator, low.data.batch_size) == (3, 16)
    assert low.seed != main.seed


def test_the_tricks_of_a_stage_are_its_own_and_a_lacking_discriminator_is_not_clipped() -> None:
    cfg = small("trick=r1", "clip.discriminator=2", "clip.generator=3")
    (_, stage), (_, main) = stage_configs(cfg)
    assert (list(stage.trick), list(main.trick)) == ([], ["r1"])
    assert (stage.clip, main.clip) == ({"generator": 3}, {"discriminator": 2, "generator": 3})


def test_a_completed_config_stays_the_same_when_it_is_resolved() -> None:
    cfg = two_stages("trick=r1")
    expected = [dict(game_cfg) for _, game_cfg in stage_configs(cfg)]
    complete_stages(cfg)
    saved = OmegaConf.create(OmegaConf.to_yaml(cfg, resolve=True))
    assert [{**game_cfg, "stages": {}} for _, game_cfg in stage_configs(saved)] == expected


def test_a_stage_at_a_low_resolution_is_refined_and_stays() -> None:
    module = build(two_stages("stages.low.steps=2", "trick=ema"))
    low, main = (phase.game for phase in module.phases)
    states = []
    for _ in range(4):
        play_step(module)
        states.append(copy.deepcopy(low.state_dict()))
    assert not bitwise_equal(states[0], states[1])
    assert bitwise_equal(states[1], states[3])
    assert not low.training
    assert module.training
    assert main.training
    x, labels = batch(0)
    turn = low.turn("generator", Batch(Sample(x, labels)), RandomStreams(0))
    assert torch.allclose(turn.real.x, x.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)))
    assert low.sample(3).shape == main.sample(3).shape == (3, 1, 8, 8)
    latent = torch.randn(3, 6)
    seen = main.generator.body[0](latent, None)
    averaged = low.presented("generator").eval()(latent)  # what the stage presents is what is refined
    assert torch.equal(seen, averaged.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert not torch.equal(averaged, low.generator(latent))
    assert not any("stage" in name for name in main.state_dict())
    assert copy.deepcopy(main).generator.body[0].stage is main.generator.body[0].stage


def test_what_a_game_borrows_follows_its_precision() -> None:
    main = build(two_stages("stages.low.steps=2")).game
    main.double()
    assert main.sample(2).dtype == torch.float64
    main.generate(torch.randn(2, 6, dtype=torch.float64)).sum().backward()
    assert main.generator.body[1].weight.grad.dtype == torch.float64


class WithMapper(NonSaturating):
    players = TWO_PLAYERS | {"generator": ("generator", "mapper")}


def test_a_stage_inherits_what_its_own_objective_can_use() -> None:
    given = [f"+initial.{name}=[{name}]" for name in ("mapper", "encoder")]
    given += ["clip.discriminator=2", "objective._target_=test_stages.WithMapper"]
    (_, low), (_, main) = stage_configs(two_stages(*given))
    assert (low.initial.mapper, low.clip.discriminator) == (["mapper"], 2)
    assert "encoder" not in low.initial  # which it does not train
    assert main.initial.encoder == ["encoder"]
    cfg = two_stages(*given)
    OmegaConf.update(cfg, "stages.low.objective", compose("objective=mmd").objective, force_add=True)
    (_, low), _ = stage_configs(cfg)
    assert not {"discriminator", "mapper"} & {*low.initial, *low.clip}


@pytest.mark.parametrize(
    "told", [ConditionSpec("image", (1, 8, 8)), ConditionSpec("vector", (3,)), ConditionSpec("class", (), 3)]
)
def test_codes_of_a_game_that_is_told_something_are_refused(told: ConditionSpec) -> None:
    game = build(compose("objective=vae", "model.generator.latent_dim=6")).game
    assert CodeOf(game).shape == (6,)
    game.generator.condition = told
    with refuses("code_of", reason=f"is told no condition, and this one is told: {told.kind}"):
        CodeOf(game)


def test_image_conditions_enter_a_space_with_their_samples() -> None:
    settings = [
        "data=half_digits",
        "model=pix2pix_small",
        "model.generator.halvings=1",
        "model.generator.width=4",
    ]
    cfg = compose(*settings, "logger=csv", "data.batch_size=4", f"+stages.low={{steps: 1, space: {POOLED}}}")
    data = build_data(cfg)
    module = build(cfg, data)
    low = module.phases[0].game
    real = next(iter(data.stream(0, lambda: 0, "cpu"))).real
    turn = low.turn("generator", Batch(real), RandomStreams(0))
    assert torch.equal(turn.asked, avg_pool2d(real.condition, 2))
    assert low.networks.conditions(3).shape == (3, 1, 4, 4)
    assert torch.equal(low.asked(2, real.condition), turn.asked[:2])
    module.play_step(Batch(real))
    assert low.sample(3).shape == (3, 1, 8, 8)


@on_one_day_of(2)
@pytest.mark.parametrize("length", [2, 3, 4])
def test_two_resolutions_resume_before_at_and_after_the_change_of_stage(length: int, tmp_path: Path) -> None:
    settings = [f"stages.low.steps={length}", f"steps={6 - length}", "checkpoint_every=3", "trick=ema"]
    for name in ("whole", "again"):
        run(two_stages(*settings, f"run_dir={tmp_path / name}"), [*TWO, *settings])
    resume(tmp_path / "again" / "checkpoints" / "previous.ckpt")
    assert_same_run(tmp_path / "whole", tmp_path / "again")
    game = load(tmp_path / "again")
    assert torch.equal(game.sample(4), load(tmp_path / "whole").sample(4))


@on_one_day_of(4)
def test_a_killed_run_of_two_resolutions_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = [*TWO, "stages.low.steps=60", "steps=60", "checkpoint_every=20"]
    left_alone = start(*settings, f"run_dir={tmp_path / 'whole'}")
    command = [*settings, f"run_dir={tmp_path / 'killed'}"]
    for until in (30, 80):
        process = start(*command)
        while process.poll() is None and reached(tmp_path / "killed") < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert reached(tmp_path / "killed") < 120, "the run was over before the signal came"
        command = [f"resume={tmp_path / 'killed'}"]
    assert finish(start(*command))[0] == 0
    assert finish(left_alone)[0] == 0
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
