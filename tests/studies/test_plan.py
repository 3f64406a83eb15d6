"""The runs of studies before they are played: their order, identity and place, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from support.commands import bitwise_equal
from support.small_games import ROOT
from support.studies import (
    SEARCH,
    SUITE,
    jobs_of,
    row_of,
    search_plan,
    settings,
    suite_plan,
    write_search,
    write_suite,
)

from ganlab.config import identity
from ganlab.config.build import build_data
from ganlab.config.checks import check_config
from ganlab.config.compose import compose
from ganlab.config.run_directory import RunDirectory
from ganlab.config.saved_config import allowed_targets
from ganlab.core.errors import ConfigError
from ganlab.core.numerics import NUMERICS
from ganlab.data.vision import Stacks
from ganlab.studies import plan as plans
from ganlab.studies.backend import arguments
from ganlab.studies.plan import Plan, is_done
from ganlab.studies.search import SearchPlan
from ganlab.studies.spec import read_search, read_suite
from ganlab.studies.table import Row, read, text_of


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return suite_plan(write_suite(tmp_path_factory.mktemp("suites") / "quick"))


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("experiments/*/suite.yaml")), ids=lambda path: path.parent.name
)
def test_shipped_suites_can_be_run_and_shipped_results_belong_to_the_present_arms(path: Path) -> None:
    """If a change of conf/ gives an arm another config, its rows must be given the new hash or be rerun."""
    suite = read_suite(path.parent)
    arms = Plan(suite, settings(Path("outputs"))).points
    for arm in arms.values():
        check_config(arm.cfg, arm.overrides)
    recorded = {(row.arm, row.seed): row.config for row in read(suite.results)}
    assert recorded == {(arm, seed): arms[arm].config for arm, seed in recorded}


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("experiments/*/sweep.yaml")), ids=lambda path: path.parent.name
)
def test_shipped_searches_can_be_run_and_shipped_results_belong_to_them(path: Path) -> None:
    found = search_plan(path.parent)
    for row in read(found.study.results):
        assert (row.space, row.config) == (found.space, found.trial(row.arm, row.parameters).config)


def test_every_arm_runs_with_one_seed_before_the_next_seed(plan: Plan) -> None:
    jobs = jobs_of(plan)
    assert [(job.arm, job.seed) for job in jobs] == [("plain", 0), ("ema", 0), ("plain", 1), ("ema", 1)]
    assert len({job.directory for job in jobs}) == 4
    assert jobs[0].config == jobs[2].config != jobs[1].config  # the hash leaves the seed out
    assert plan.metrics == ["fid/digits_train_60"]
    assert jobs[3].directory.parent == plan.folder
    assert jobs[3].directory.name.startswith("ema_seed1_")


def test_rows_of_other_numerics_are_stale_and_rows_of_another_config_do_not_count(tmp_path: Path) -> None:
    found = suite_plan(write_suite(tmp_path / "quick"))
    job, other_arm = jobs_of(found)[:2]

    def stands(*rows: Row) -> str:
        found.study.results.write_text(text_of([row_of(other_arm), *rows]))
        return found.told()[0].removeprefix("  plain  seed 0  ")

    def done(rerun: str | None) -> bool:
        return is_done(found.standing()["plain", 0], rerun)

    assert (stands(), done(None)) == ("to run", False)
    assert stands(row_of(job, numerics=0)) == "finished, stale"
    assert [done(rerun) for rerun in (None, "failed", "stale")] == [True, True, False]
    assert (stands(row_of(job, numerics=0), row_of(job, code="f" * 12)), done("stale")) == ("finished", True)
    for change in ("config", "data"):
        said = stands(row_of(job, **{change: "f" * 12}))
        assert (said, done(None)) == ("recorded of another config or of other data, to run", False)
    assert stands(row_of(job, status="diverged", reason="at once")) == "diverged, at once"
    assert [done(rerun) for rerun in (None, "failed")] == [True, False]
    interrupted = stands(row_of(job, status="interrupted", reason="killed by SIGKILL"))
    assert (interrupted, done(None)) == ("interrupted, killed by SIGKILL, to run again", False)


def test_other_numerics_use_other_directories(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs_of(plan)[0]
    row = row_of(job)
    monkeypatch.setattr(plans, "NUMERICS", NUMERICS + 1)
    assert plan.directory(("plain", 0)) != job.directory
    assert (is_done(row, None), is_done(row, "stale")) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "extra", "message"),
    [
        ("trick=ema", "trick=emma", (), "line 7: ema does not compose: .*emma"),
        ("model=gan", "model=gun", (), "line 2 does not compose: .*gun"),
        ("trick=ema", "trick.ema=1", (), "line 7: ema does not compose: .*ema"),
        ("[trick=ema]", "['objective=hinge', 'trick=label_smoothing']", (), "line 7: ema: trick=label_"),
        ("[trick=ema]", "['data.batch_size=0']", (), "line 7: ema does not compose: .*batch_size=0"),
        ("metrics: [fid]", "metrics: [fid, kid]", (), "^[^ ]*suite.yaml, line 4: in plain kid: is not"),
        ("[trick=ema]", "['name=other']", (), "line 7: ema is the same run as plain"),
        ("trick=ema", "seed=3", (), "line 7: arms.ema: seed=3 is set for each run. Remove it"),
        ("trick=ema", "evaluation.n=70", (), "line 7: ema measures .*_70, but plain .*_60. Give all runs"),
        ("", "", ("steps=5",), r"extra=\['steps=5'\] changes what the runs are .*line 6: plain"),
        ("", "", ("run_dir=here",), "extra: run_dir=here is set for each run"),
        ("", "", ("no.such=1",), "extra=.* does not compose: .*no"),
    ],
)  # fmt: skip
def test_a_suite_that_cannot_be_run_is_refused_before_anything_runs(
    old: str, new: str, extra: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    folder = write_suite(tmp_path / "quick", SUITE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        suite_plan(folder, *extra)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trick.r1.gamma", "trick.r1.gama", "line 6: the first trial does not compose: .*gama"),
        ("trick.r1.gamma", "trick.ema.decay", "line 6: the first trial does not compose: .*ema"),
        ("trick.r1.gamma", "seed", "line 8: parameters.seed: seed is set for each run"),
        ("trick.r1.gamma", "run_dir", "line 8: parameters.run_dir: run_dir is set for each run. Remove it"),
        ("trick.r1.gamma", "steps", "line 8: parameters.steps: stands in base too, as steps=30"),
        (
            "objective: choice(non_saturating, least_squares)",
            "log_every: choice(3, 4)",
            "line 10: log_every=4 is the same run as the first trial",
        ),
        ("least_squares)", "lost_squares)", "line 10: objective=lost_squares does not compose"),
        ("least_squares)", "mmd)", "line 10: objective=mmd: "),
        ("metric: fid", "metric: kid", "line 3: in the first trial kid: is not measured. Choose one of fid"),
        ("evaluate_every=10", "evaluate_every=30", "line 11: prune has no effect: with evaluate_every=30"),
        ("after: 10", "after: 21", "line 11: prune has no effect: .* between step 21 and the last, 30"),
        ("seed=3", "job=3", "line 2: base: job=3 is set for each run"),
    ],
)
def test_a_search_that_cannot_be_run_is_refused_before_anything_runs(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in SEARCH
    folder = write_search(tmp_path / "quick", SEARCH.replace(old, new, 1))
    with pytest.raises(ConfigError, match=f"^[^ ]*sweep.yaml, {message}"):
        search_plan(folder)
    assert not (folder / "runs").exists()


def test_a_search_of_other_ranges_is_another_one(tmp_path: Path) -> None:
    spaces = [
        search_plan(write_search(tmp_path / name, SEARCH.replace(old, new))).space
        for name, old, new in (("a", "", ""), ("b", "trials: 3", "trials: 9"), ("c", "0.1, 10", "0.1, 11"))
    ]
    assert spaces[0] == spaces[1] != spaces[2]
    assert read_search(tmp_path / "b").trials == 9
    assert isinstance(search_plan(tmp_path / "a"), SearchPlan)


@pytest.mark.parametrize("name", ["2024", "my suite, v=2", "null", "it's"])
def test_every_suite_name_can_be_a_wandb_group(name: str, tmp_path: Path) -> None:
    text = SUITE.replace(", logger=csv", "").replace("seeds: 2", "seeds: 1")
    _, job = jobs_of(suite_plan(write_suite(tmp_path / name, text.replace("  ema:", "  'null':"))))
    wandb = compose(*job.overrides, *job.outside).logger.wandb
    assert (wandb.group, wandb.job_type) == (name, "null")


def test_wandb_groups_the_runs_and_logger_settings_do_not_change_a_run(plan: Plan, tmp_path: Path) -> None:
    text = SUITE.replace(", logger=csv", "").replace("seeds: 2", "seeds: 1")
    folder = write_suite(tmp_path / "quick", text)
    job = jobs_of(suite_plan(folder))[1]
    assert job.outside == ['logger.wandb.group="quick"', 'logger.wandb.job_type="ema"']
    extra = ("logger.wandb.group=mine", "trainer.accelerator=cpu", "log_every=3")
    other = jobs_of(suite_plan(folder, *extra))[1]
    assert other.outside == [*extra, 'logger.wandb.job_type="ema"']
    assert (job.config, job.data) == (other.config, other.data)
    assert job.config == jobs_of(plan)[1].config
    run = RunDirectory(other.directory)
    own = [*other.overrides, "seed=0", f"run_dir={run.path}", *other.outside]
    assert arguments(other) == own
    run.make_folders()
    run.write_config(other.cfg)
    assert arguments(other) == [f"resume={run.path}", "steps=4", "logger=wandb", *other.outside]
    trusted = dataclasses.replace(other, cfg=OmegaConf.merge(other.cfg, {"trust": ["mine"]}))
    assert arguments(trusted)[2] == "trust=[mine]"


def test_the_identity_of_a_config_ignores_settings_that_change_no_result() -> None:
    plain = identity.config(compose("data=mnist"))
    for overrides in (
        ["seed=5", "run_dir=x", "logger=csv", "data.root=elsewhere", "profile=true", "trainer=ddp"],
        ["metric.weights=a_file", "images=192000", "sample_every=7", "default_steps=3"],
    ):
        assert identity.config(compose("data=mnist", *overrides)) == plain, overrides
    for other in (
        "steps=2999",
        "trick=ema",
        "trainer.precision=64-true",
        "evaluation.seed=1",
        "data.flip=true",
    ):
        assert identity.config(compose("data=mnist", other)) != plain, other


def test_a_class_is_identified_by_its_name_and_a_function_by_its_module_and_name() -> None:
    """A class may move to another module without making recorded rows outdated."""
    cfg = compose("model=dcgan", "trick=r1", "+trick.mine._target_=my.tricks.R1")
    found = identity.named(OmegaConf.to_container(cfg, resolve=True))
    assert found["objective"]["_target_"] == "NonSaturating"
    assert found["trick"]["r1"]["_target_"] == "R1"
    assert found["trick"]["mine"]["_target_"] == "my.tricks.R1"
    assert found["model"]["generator"]["_target_"] == "dcgan.generator"
    assert found["model"]["generator"]["prior"]["_target_"] == "Uniform"
    shipped = [target.split(".") for target in allowed_targets() if target.startswith("ganlab.")]
    functions = [tuple(parts[-2:]) for parts in shipped if parts[-1][0].islower()]
    assert len(set(functions)) == len(functions)


def test_the_code_hash_depends_on_every_python_file(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.py").write_text("1")
    first = identity.code(tmp_path)
    (tmp_path / "notes.txt").write_text("1")
    assert identity.code(tmp_path) == first
    (inner / "b.py").write_text("")
    second = identity.code(tmp_path)
    (inner / "b.py").rename(inner / "c.py")
    assert len({first, second, identity.code(tmp_path)}) == 3
    assert len(identity.code()) == 12


def test_the_fingerprint_depends_on_the_data_and_not_on_their_path(tmp_path: Path) -> None:
    def found(*overrides: str) -> str:
        return build_data(compose(*overrides)).fingerprint()

    assert found() == found("data.batch_size=10") != found("data.validation=10")
    assert found("data=ring") != found("data=ring", "data.data_seed=1")
    data = build_data(compose())
    before = data.fingerprint()
    data.sources["train"].labels[5] += 1
    assert data.fingerprint() != before
    stacks = [Stacks(torch.zeros(5, 1, 2, 2), torch.arange(5), 4, seed, "train") for seed in (0, 0, 1)]
    parts = [[p for p in source.fingerprint_parts() if isinstance(p, torch.Tensor)] for source in stacks]
    assert bitwise_equal(parts[0], parts[1])
    assert not bitwise_equal(parts[0], parts[2])
    for place in ("here", "there"):
        (tmp_path / place / "ones").mkdir(parents=True)
        for i in range(3):
            Image.new("L", (8, 8), i).save(tmp_path / place / "ones" / f"{i}.png")
    album = ("data=folder", "data.channels=1", "data.height=8", "data.width=8", "data.batch_size=2")
    here, there = (f"data.root={tmp_path / place}" for place in ("here", "there"))
    first = found(*album, here, "data.in_memory=true")
    assert first == found(*album, there, "data.in_memory=false")
    (tmp_path / "there" / "ones" / "2.png").rename(tmp_path / "there" / "ones" / "3.png")
    assert first != found(*album, there)
    Image.new("L", (80, 8), 2).save(tmp_path / "here" / "ones" / "2.png")
    assert first != found(*album, here)
