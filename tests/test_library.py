"""ganlab as a library: what its names import, and games that are built, trained and loaded from Python."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf, open_dict
from support.commands import QUICK, environment, play, summary
from support.refusals import refuses
from support.small_games import CYCLEGAN, ROOT, SMALL, untrained_run

import ganlab
from ganlab.config.build import build_data
from ganlab.config.load import build_run
from ganlab.core.errors import Diverged

HEAVY = {"pytorch_lightning", "torchmetrics", "torchvision", "matplotlib", "sklearn", "torch._dynamo"}
STOPPING = (signal.SIGINT, signal.SIGTERM)
NOWHERE = "data.root=/there/is/no/such/folder"


def loaded(program: str, cwd: Path) -> set[str]:
    """The modules that a program has imported at its end."""
    code = f"{program}\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {*done.stdout.split()}


def test_importing_ganlab_imports_nothing_heavy(tmp_path: Path) -> None:
    program = "import ganlab; assert {*ganlab.__all__} <= {*dir(ganlab)}; print(ganlab.__version__)"
    assert not loaded(program, tmp_path) & {"torch", "hydra", "omegaconf", "numpy", "ganlab.config"}
    for name in ganlab.__all__:
        assert getattr(ganlab, name)
    with pytest.raises(AttributeError, match="has no attribute 'compse'"):
        _ = ganlab.compse


def test_games_are_built_and_loaded_without_lightning_and_data(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=1", "metric=none")
    configs = [
        ("model=dcgan", "data=folder", NOWHERE),
        ("data=mnist", NOWHERE, "trick=label_conditioning"),
        ("experiment=cyclegan_digits",),
        ("experiment=two_stages_digits", "trick=ema"),
        ("experiment=encoder_digits", "borrows.game=run"),
    ]
    program = f"""
from ganlab import build, compose, load
for overrides in {configs}:
    game = build(compose("logger=csv", *overrides))
    latents = game.latents(2)
assert load("run").sample(2).shape == (2, 1, 8, 8)
"""
    assert not loaded(program, tmp_path) & (HEAVY | {"ganlab.training.module"})


def test_training_imports_little_beside_lightning(tmp_path: Path) -> None:
    program = """
import pytorch_lightning, sys
before = {*sys.modules}
from ganlab.training import play_run
new = {name.partition(".")[0] for name in {*sys.modules} - before} - sys.stdlib_module_names
assert new <= {"PIL", "antlr4", "attr", "ganlab", "hydra", "matplotlib", "omegaconf", "rich", "safetensors"}
"""
    assert "pytorch_lightning" in loaded(program, tmp_path)


def test_a_game_is_built_as_a_run_begins_with_it() -> None:
    config = ganlab.compose(*SMALL, "trick=ema")
    begun, built = build_run(config, build_data(config)).game, ganlab.build(config)
    weights = zip(begun.parameters(), built.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_a_part_of_a_composite_is_built_by_its_name() -> None:
    config = ganlab.compose(*CYCLEGAN)
    first, second = ganlab.build(config), ganlab.build(config, part="ba")
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    with refuses("part", "cd", remedy="choose from ab, ba"):
        ganlab.build(config, part="cd")


def test_what_only_the_data_know_is_asked_for_by_its_key() -> None:
    overrides = ("model=dcgan", "data=folder", NOWHERE, "trick=label_conditioning")
    with refuses("data.num_classes", None, "before the data are read", "set it to the number of classes"):
        ganlab.build(ganlab.compose(*overrides))
    assert ganlab.build(ganlab.compose(*overrides, "data.num_classes=3")).generator.num_classes == 3


def test_what_a_run_would_refuse_is_refused_by_build() -> None:
    with refuses("model.generator.hiden", reason="has no such parameter"):
        ganlab.build(ganlab.compose("+model.generator.hiden=3"))
    with refuses("borrows.game"):
        ganlab.build(ganlab.compose("experiment=encoder_digits", "borrows.game=nowhere"))
    borrowing = ganlab.compose("experiment=encoder_digits", f"borrows.game={untrained_run()}")
    assert "encoder" in ganlab.build(borrowing).networks


def test_a_run_in_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ganlab.compose(
        *QUICK, "steps=2", "metric=kid", f"run_dir={tmp_path / 'run'}", "metric.kid.subset_size=50"
    )
    before, handlers = config.copy(), [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    result = ganlab.train(config)
    assert config == before
    assert (result.status, result.reason, result.run_dir) == ("finished", None, tmp_path / "run")
    assert {name: record["value"] for name, record in result.records.items()} == result.metrics
    assert result.metrics
    assert not result.game.training
    assert torch.equal(result.game.sample(3), ganlab.load(result.run_dir).sample(3))
    assert "finished" in capsys.readouterr().out
    with refuses("device", "nonsense", "not available", "device=cpu"):
        ganlab.load(result.run_dir, device="nonsense")
    with refuses("run_dir", reason="exists and is not empty"):
        ganlab.train(config)
    words = [f"resume={tmp_path / 'run'}", "steps=3"]
    with refuses("resume", remedy="pass the overrides"):
        ganlab.train(ganlab.compose(*words))
    assert ganlab.train(ganlab.compose(*words), words).game.run_step == 3
    assert summary(tmp_path / "run")["steps"] == 3
    exploding = ganlab.compose(*QUICK, "optimizer.generator.lr=1e30", f"run_dir={tmp_path / 'diverged'}")
    with pytest.raises(Diverged):
        ganlab.train(exploding)
    assert [*map(signal.getsignal, STOPPING)] == handlers


@pytest.mark.parametrize("config", [{"steps": 4}, 3, "steps=4", None, OmegaConf.create({"steps": 4})])
def test_what_compose_has_not_made_is_refused(config: Any) -> None:
    for function in (ganlab.train, ganlab.build):
        with refuses("config", type(config).__name__, "no config of a run", "ganlab.compose"):
            function(config)


def test_keys_that_nothing_reads_are_refused_as_on_the_command_line() -> None:
    config = ganlab.compose(*SMALL)
    with open_dict(config):
        config.stps = 5
    for function in (ganlab.train, ganlab.build):
        with refuses("stps", reason="is read by nothing", remedy="write steps"):
            function(config)


@pytest.mark.parametrize("path", [3, None, {"run_dir": "run"}])
def test_a_run_is_loaded_from_a_path(path: Any) -> None:
    with refuses("run_dir", path, "must be the path of a run"):
        ganlab.load(path)
    with refuses(reason="nowhere is not a run"):
        ganlab.load("nowhere")


def test_configs_end_at_the_border() -> None:
    """Training and views get settings and built objects. Loggers show the config itself."""
    loggers = {"tensorboard.py", "weights_and_biases.py"}
    for folder in ("training", "visualize"):
        for path in (ROOT / "ganlab" / folder).rglob("*.py"):
            assert path.name in loggers or "cfg" not in path.read_text(), path


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["steps=4,5"], "Ambiguous value for argument"), ([["steps=4"]], "is no text"), ([3], "is no text")],
)
def test_what_cannot_be_composed_is_refused_as_a_config_error(arguments: list, reason: str) -> None:
    with pytest.raises(ganlab.ConfigError, match=reason):
        ganlab.compose(*arguments)


def test_a_part_of_a_lost_package_is_refused_with_the_remedy() -> None:
    with refuses("trick.mine", reason=r"named 'absent'\"\)$", remedy="start in the folder"):
        ganlab.build(ganlab.compose("+trick.mine._target_=absent.Part"))
