"""Runs of other people: their configs build only objects on a list, and nothing is written outside them."""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.commands import environment, finish, play, resume, start
from support.refusals import refuses
from test_config import Shift  # noqa: F401, a class of a user's own

from ganlab.cli import launch
from ganlab.compare import compare
from ganlab.config import run_directory
from ganlab.config import saved_config as trust
from ganlab.config.build import build_game
from ganlab.config.compose import compose
from ganlab.config.load import load
from ganlab.config.run_directory import CHECKPOINT_ENTRIES, RunDirectory
from ganlab.config.saved_config import allowed_targets, check_trust, signature
from ganlab.config.setting_types import import_object, target_nodes
from ganlab.core.errors import ConfigError
from ganlab.core.schedules import Schedule
from ganlab.evaluate import evaluate
from ganlab.functional.kernels import Kernel
from ganlab.metrics.base import SampleMetric
from ganlab.objectives.base import Objective
from ganlab.run import run
from ganlab.sample import sample
from ganlab.tricks.base import Trick

# The whole list except the tricks, which tests find by their files.
LISTED = {
    "ganlab.augmentations.colour": "Colour",
    "ganlab.augmentations.corruption": "Corruption",
    "ganlab.augmentations.geometry": "Geometry",
    "ganlab.training.callbacks.health": "Health",
    "ganlab.training.callbacks.tensorboard": "TensorBoard",
    "ganlab.training.callbacks.weights_and_biases": "Wandb",
    "ganlab.objectives.encoding": "ALI VAEGAN",
    "ganlab.networks.translation": "patch patch_gan pix2pix_unet pixelwise unet",
    "ganlab.data.paired": "HalfDigits MissingDigits",
    "ganlab.objectives.imputation": "GAIN",
    "ganlab.objectives.implicit": "IMLE",
    "ganlab.metrics.paired": "PairError ImputationError InputSensitivity",
    "ganlab.metrics.segmentation": "FCNScore",
    "ganlab.metrics.perceptual": "LPIPS",
    "ganlab.data.masked": "Masked rest_of",
    "torchmetrics.image": "PeakSignalNoiseRatio StructuralSimilarityIndexMeasure",
    "ganlab.core.batch": "ConditionSpec",
    "ganlab.data.folder": "Folder",
    "ganlab.data.table": "Table",
    "ganlab.data.dataset": "TorchDataset",
    "ganlab.data.unpaired": "DigitsAndNegatives",
    "ganlab.games": "CycleConsistency",
    "ganlab.data.toy": "Gaussian1D Grid Mixture1D Ring Spiral",
    "ganlab.data.vision": "Digits StackedMNIST Vision",
    "ganlab.core.space": "Pooled",
    "ganlab.functional.kernels": "Energy GaussianMixture Laplacian Linear Polynomial RationalQuadratic",
    "ganlab.functional.likelihoods": "Bernoulli Gaussian",
    "ganlab.metrics.extractors": "ClassifierFeatures classifier inception",
    "ganlab.metrics.fidelity": "FrechetDistance InceptionScore KernelDistance",
    "ganlab.metrics.neighbours": "Memorisation PRDC",
    "ganlab.metrics.synthetic": "HighQuality ModesCovered ReverseKL StackedModes Wasserstein",
    "ganlab.metrics.parzen": "Parzen",
    "ganlab.metrics.downstream": "ClassificationAccuracy Errors LinearProbe NearestNeighbourError",
    "ganlab.networks.autoencoder": "decoder encoder",
    "ganlab.networks.dcgan": "discriminator generator",
    "ganlab.networks.salimans2016": "discriminator generator",
    "ganlab.networks.refinement": "refiner",
    "ganlab.networks.initial": "FanIn Normal OutputMean Uniform",
    "ganlab.networks.mlp": "discriminator generator",
    "ganlab.networks.plain": "discriminator encoder generator",
    "ganlab.networks.priors": "Normal Sphere TruncatedNormal Uniform",
    "ganlab.objectives.adversarial": (
        "AbsoluteError Hinge LeastSquares MaximumLikelihood Minimax NonSaturating Wasserstein"
    ),
    "ganlab.objectives.autoencoding": "Reconstruction VAE",
    "ganlab.objectives.f_divergence": (
        "FDivergence JensenShannon KullbackLeibler Neyman Pearson ReverseKullbackLeibler SquaredHellinger "
        "TotalVariation"
    ),
    "ganlab.objectives.inversion": "Inversion",
    "ganlab.objectives.learned": "LearnedMMD",
    "ganlab.objectives.matching": "MMD Moments SlicedWasserstein",
    "ganlab.objectives.relativistic": "Relativistic RelativisticAverage",
    "ganlab.objectives.spaces": "Pixels RandomFeatures",
    "ganlab.core.schedules": "Constant Cosine Exponential HalfLife Linear Piecewise WarmUp",
    "ganlab.training.play": "Alternating Extragradient Shared Simultaneous",
    "ganlab.training.processes": "UnwrappedDDPStrategy",
    "pytorch_lightning": "Trainer",
    "pytorch_lightning.callbacks": "Timer",
    "torch.optim": (
        "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD "
        "SparseAdam"
    ),
}


def imported(name: str) -> Any:
    module, _, own = name.rpartition(".")
    return getattr(importlib.import_module(module), own)


def test_the_list_has_exactly_the_names_in_this_file_and_the_tricks() -> None:
    written = {f"{module}.{name}" for module, names in LISTED.items() for name in names.split()}
    tricks = {name for name in allowed_targets() if name.startswith("ganlab.tricks.")}
    assert allowed_targets() - tricks == written
    for name in tricks - {"ganlab.tricks.steps.Burst"}:
        assert issubclass(imported(name), Trick), name


def test_the_list_has_every_optimiser_and_every_public_class_of_its_modules() -> None:
    bases = (Kernel, Objective, SampleMetric, Schedule)
    modules = {name.rpartition(".")[0] for name in allowed_targets()} - {"torch.optim", "pytorch_lightning"}
    for module in map(importlib.import_module, sorted(modules)):
        for name, thing in vars(module).items():
            own = inspect.isclass(thing) and thing.__module__ == module.__name__ and name[0] != "_"
            if own and issubclass(thing, bases) and not inspect.isabstract(thing):
                assert f"{module.__name__}.{name}" in allowed_targets()
    optimisers = {
        f"torch.optim.{name}"
        for name, thing in vars(torch.optim).items()
        if inspect.isclass(thing) and issubclass(thing, torch.optim.Optimizer) and name != "Optimizer"
    }
    assert optimisers == {name for name in allowed_targets() if name.startswith("torch.")}


@pytest.fixture(scope="module")
def unsigned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of somebody else: it is not signed."""
    run_dir = tmp_path_factory.mktemp("runs") / "honest"
    play(run_dir, "steps=2")
    (run_dir / "signature").unlink()
    return run_dir


def sampled(run_dir: Path, *given: str) -> None:
    settings = compose("n=4", f"run_dir={run_dir}", *given, config_name="sample")
    sample(settings, ["n=4", *given])


def evaluated(run_dir: Path, *given: str) -> None:
    own = ["extractor=digits", "metric=[fid]", "n=60", f"run_dir={run_dir}"]
    evaluate(compose(*own, *given, config_name="evaluate"), own)


def resumed(run_dir: Path, *given: str) -> None:
    resume(run_dir, "steps=3", *given)


COMMANDS = {"sample": sampled, "evaluate": evaluated, "resume": resumed}


@cache
def settings_of(command: str) -> Any:
    """The settings of a command, composed once."""
    if command == "resume":
        return compose("resume=x", "steps=3")
    return compose("run_dir=x", *(["extractor=digits"] * (command == "evaluate")), config_name=command)


def run_command(command: str, run_dir: Path) -> None:
    cfg = settings_of(command).copy()
    if command == "resume":
        cfg.resume = str(run_dir)
        run(cfg, [f"resume={run_dir}", "steps=3"])
    else:
        cfg.run_dir = str(run_dir)
        {"sample": sample, "evaluate": evaluate}[command](cfg, [f"run_dir={run_dir}"])


def insert_node(place: str, **node: Any) -> Callable[[str], str]:
    """Puts a node into a config."""

    def change(text: str) -> str:
        cfg = OmegaConf.create(text)
        OmegaConf.update(cfg, place, node, merge=False, force_add=True)
        return OmegaConf.to_yaml(cfg)

    return change


def builds(target: Any, place: str = "clip.generator", **more: Any) -> Callable[[str], str]:
    return insert_node(place, _target_=target, **more)


def text(old: str, new: str) -> Callable[[str], str]:
    def change(config: str) -> str:
        assert old in config
        return config.replace(old, new, 1)

    return change


TOUCH = "touch PWNED"
LAUGHS = "a0: &a0 [x,x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i},*a{i}]\n" for i in range(30))
ATTACKS: Mapping[str, Callable[[str], str]] = {
    # A function that imports and calls a name, a method that reads a pickle, trust in the run's own config.
    "instantiate_class": builds(
        "pytorch_lightning.cli.instantiate_class", args=TOUCH, init={"class_path": "os.system"}
    ),
    "load_from_checkpoint": builds(
        "pytorch_lightning.LightningModule.load_from_checkpoint", checkpoint_path="x", weights_only=False
    ),
    "their_trust": lambda config: builds("joblib.load", filename="x")(
        text("trust: []", "trust: [joblib]")(config)
    ),
    "changing_name": lambda config: (
        builds("${names.${oc.env:NODE_RANK,unset}}")(config)
        + "names: {unset: torch.optim.SGD, '0': os.system}\n"
    ),
    "laughs": lambda config: config + LAUGHS,
    # Names of code.
    "system": builds("os.system", command=TOUCH),
    "eval": builds("builtins.eval"),
    "args": builds("torch.optim.SGD", _args_=[{"path": "github://x"}]),
    "by_hydra": builds("torch.optim.SGD", _recursive_=False),
    "partial_of_all": builds("functools.partial", func={"_target_": "os.system"}),
    "import_module": builds("importlib.import_module", name="antigravity"),
    "runpy": builds("runpy.run_path", path_name="x"),
    "hydra": builds("hydra.utils.instantiate", config={}),
    "hydra_method": builds("hydra.utils.get_method", path="os.system"),
    "torch_load": builds("torch.load", f="x", weights_only=False),
    "torch_hub": builds("torch.hub.load", repo_or_dir="x/y", model="z"),
    "another_package": builds("antigravity.geohash"),
    "optimiser_module": builds("torch.optim.optimizer.functools.partial"),
    "lightning_as_the_trainer": builds(
        "pytorch_lightning.cli.instantiate_class", "trainer", args=TOUCH, init={"class_path": "os.system"}
    ),
    "lightning_seed": builds("pytorch_lightning.seed_everything", seed=0),
    # Objects that are reached through ganlab.
    "library_of_ganlab": builds("ganlab.training.provenance.subprocess.run", args=TOUCH, shell=True),
    "helper": builds("ganlab.config.build.instantiate", node={"_target_": "os.system"}),
    "loader": builds("ganlab.config.build.load", run_dir="x", trust=["os"]),
    "writer": builds("ganlab.filesystem.write_atomically", path="PWNED", text=""),
    "method": builds("ganlab.metrics.extractors.Classifier.load", name="digits"),
    "method_of_a_listed": builds("ganlab.core.schedules.Linear.__init__.__globals__.get"),
    "wrapped": builds("ganlab.metrics.extractors.classifier.__wrapped__", name="digits"),
    "alias": builds("ganlab.networks.dcgan.Generator"),
    "alias_of_a_listed": builds("ganlab.config.build.hydra.utils.instantiate"),
    "private": builds("ganlab.networks.norms._layers_in_order"),
    "workers": builds("ganlab.training.processes.LocalProcesses", count=2),
    "callback": builds("ganlab.training.callbacks.record.Checkpoint", folder="x"),
    "drawing": builds("ganlab.theory.ring.draw"),
    "blank_behind": builds("torch.optim.SGD "),
    "nothing": builds(""),
    # Objects on the list, in the wrong group.
    "trainer_elsewhere": builds("pytorch_lightning.Trainer", default_root_dir="x"),
    "logger_elsewhere": builds(
        "ganlab.training.callbacks.weights_and_biases.Wandb", "trick.log", mode="online"
    ),
    "data_elsewhere": builds("ganlab.data.vision.Vision", "model.generator.prior", root="x"),
    "processes_elsewhere": builds("ganlab.training.processes.UnwrappedDDPStrategy", patience=1),
    # Other places of a target, and other kinds of value.
    "in_a_list": text("  generator: []\n", "  generator: [[{_target_: os.system, command: touch PWNED}]]\n"),
    "in_an_argument": builds("os.system", "data.root.deep.er", command=TOUCH),
    "in_a_logger": builds("os.system", "logger.mine", command=TOUCH),
    "in_the_trainer": builds("os.system", "trainer.plugins", command=TOUCH),
    "in_a_stage": builds("os.system", "stages.first.model.generator", command=TOUCH),
    "in_the_extractor": builds("os.system", "extractor.weights", command=TOUCH),
    "in_a_view": insert_node("views", a={"_target_": "os.system", "command": TOUCH}),
    "number": builds(5),
    "list": builds(["os.system"]),
    "mapping": builds({"_target_": "os.system"}),
    "null": builds(None),
    "escape": builds("os.\x1b[31msystem"),
    "long": builds("os." + "x" * 5000),
    "long_value": builds(["x" * 5000]),
    # YAML and OmegaConf.
    "environment": text("name: ", "name: ${oc.env:HOME}  #"),
    "escaped": text("name: ", "name: '\\${oc.env:HOME}'  #"),
    "key": lambda config: config + "'${oc.env:HOME}': 1\n",
    "quoted": lambda config: config + 'more: "\\x24{oc.env:HOME}"\n',
    "create": lambda config: config + "more: ${oc.create:{_target_:os.system}}\n",
    "anchor": text("seed: 0", "seed: &seed 0"),
    "merge": lambda config: config + "x: &x {_target_: os.system}\nlogger: {<<: *x}\n",
    "tag": lambda config: config + "more: !!python/object/apply:os.system ['touch PWNED']\n",
    "double": lambda config: config + "seed: 1\n",
    "deep": lambda config: config + "more: " + "[" * 3000 + "]" * 3000 + "\n",
    "large": lambda config: config + "more: " + "x" * 2**20 + "\n",
    "many": lambda config: config + "more: [" + "1," * 50_000 + "1]\n",
    "no_text": lambda config: config + "\x00\n",
    "two_documents": lambda config: config + "---\na: 1\n",
    # Groups that are missing or not mappings.
    "no_trick": text("trick: {}", "trick: null"),
    "no_optimizer": lambda config: config.replace("optimizer:", "optimizers:"),
    "text_for_a_group": lambda config: config.replace("clip:", "clip: x\nother:"),
    "trick_is_a_number": lambda config: config.replace("trick: {}", "trick: {ema: 5}"),
    "no_target": insert_node("trick.ema", decay=0.5),
}


# The reasons for which a config is refused, rather than something that was built from it.
REASONS = "|".join(
    (
        "is not on the list of objects to build$",
        "must be the dotted name of a class$",
        "has settings of Hydra that ganlab never writes$",
        "config.yaml has (an alias, a tag or an interpolation, or is too large or too)",
        "config.yaml cannot be read",
        "config.yaml is not the config of a run: (trick|optimizer|clip)=",
        "has settings but was not selected$",
    )
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_in_one_line(
    attack: str, unsigned_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = tmp_path / "evil"
    shutil.copytree(unsigned_run, evil)
    (evil / "config.yaml").write_text(ATTACKS[attack]((evil / "config.yaml").read_text()))
    before = {path: path.read_bytes() for path in evil.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        with pytest.raises(ConfigError) as refusal:
            run_command(command, evil)
        assert re.search(REASONS, refusal.value.reason), refusal.value
        assert len(str(refusal.value)) < 1000
        assert str(refusal.value).isprintable()
    assert [*tmp_path.iterdir()] == [evil], "something was run"
    assert {path: path.read_bytes() for path in evil.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", COMMANDS)
def test_objects_on_the_list_are_built_for_any_run(command: str, unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    rate = "{_target_: ganlab.core.schedules.Cosine, start: 0.01, end: 0, steps: 10}"
    cfg = OmegaConf.load(config)
    cfg.optimizer.generator.lr = OmegaConf.create(rate)
    config.write_text(OmegaConf.to_yaml(cfg))
    COMMANDS[command](tmp_path / "run")
    assert not (tmp_path / "run" / "signature").exists(), "what was not signed is not signed by looking at it"


OWN = ("+trick.mine._target_=test_config.Shift", "+trick.mine.by=3")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "own"
    play(run_dir, "steps=2", *OWN)
    return run_dir


def test_a_run_of_the_user_and_its_copy_need_no_trust(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "copy")
    for command in COMMANDS.values():
        command(tmp_path / "copy")
    assert load(tmp_path / "copy").run_step == 3  # the resume has signed what it wrote
    resume(tmp_path / "copy", "steps=4")


def test_one_changed_byte_invalidates_the_signature(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("by: 3", "by: 4"))
    for command in COMMANDS.values():
        with refuses("trick.mine", "test_config.Shift", remedy=r"trust=\[test_config\]"):
            command(tmp_path / "run")
    for command in COMMANDS.values():
        command(tmp_path / "run", "trust=[test_config]")
    # Trust of one command line does not extend to the next.
    with refuses("trick.mine", "test_config.Shift", remedy="trust="):
        resume(tmp_path / "run", "steps=4")


def test_a_run_that_starts_from_an_unsigned_run_is_not_signed(
    own: Path, unsigned_run: Path, tmp_path: Path
) -> None:
    play(tmp_path / "theirs", "steps=1", *OWN, f"init_from={unsigned_run}")
    assert not (tmp_path / "theirs" / "signature").exists()
    with refuses("trick.mine", "test_config.Shift", remedy="trust="):
        resume(tmp_path / "theirs", "steps=2")
    play(tmp_path / "mine", "steps=1", *OWN, f"init_from={own}")
    resume(tmp_path / "mine", "steps=2")


def test_trust_applies_to_init_from_as_well(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "own")
    (tmp_path / "own" / "signature").unlink()
    start = ("steps=1", f"init_from={tmp_path / 'own'}", *OWN)
    with refuses("trick.mine", "test_config.Shift", remedy=r"trust=\[test_config\]$"):
        play(tmp_path / "run", *start)
    play(tmp_path / "run", *start, "trust=[test_config]")


def test_the_key_is_created_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the process is killed while writing it, or another process creates one at the same time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def killed(size: int) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trust.secrets, "token_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            signature(b"config")
    with ThreadPoolExecutor(8) as pool:
        marks = set(pool.map(signature, [b"config"] * 8))
    assert len(marks) == 1
    assert None not in marks


def test_a_key_that_others_could_read_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = signature(b"x")
    assert first is not None
    assert signature(b"x") == first != signature(b"y")
    key = tmp_path / "ganlab" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    assert os.listdir(key.parent) == ["key"]
    key.chmod(0o644)
    assert signature(b"x") is None
    key.chmod(0o600)
    assert signature(b"x") == first
    key.write_bytes(b"")
    assert signature(b"x") is None
    key.unlink()
    assert signature(b"x") != first
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert signature(b"x") is None


def test_without_a_key_a_run_is_not_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "cache_directory", lambda: tmp_path / "file" / "key")
    (tmp_path / "file").touch()
    play(tmp_path / "run", "steps=1", "views=[neighbours]", *OWN)  # which reads the config once more
    with refuses("trick.mine", "test_config.Shift", remedy=r"trust=\[test_config\]$"):
        load(tmp_path / "run")
    assert load(tmp_path / "run", trust=["test_config"]).run_step == 1


def test_a_signature_is_valid_at_every_moment_of_a_resume(own: Path, tmp_path: Path) -> None:
    """Even if the process is killed between two writes, or another process reads in between."""
    shutil.copytree(own, tmp_path / "run")
    before = (own / "config.yaml").read_bytes()
    resume(tmp_path / "run", "steps=3")
    _, is_signed = RunDirectory(tmp_path / "run").read_config()
    assert is_signed
    config = tmp_path / "run" / "config.yaml"
    config.write_bytes(before)
    run_dir = RunDirectory(tmp_path / "run")
    _, is_signed = run_dir.read_config()
    assert is_signed
    # A file that replaced the config in between is not signed.
    cfg = run_dir.config()
    config.write_text("evil: true")
    run_dir.write_config(cfg)
    config.write_text("evil: true")
    _, is_signed = run_dir.read_config()
    assert not is_signed


@pytest.mark.parametrize("given", ["joblib", -1, [5], [""]])
def test_trust_is_a_list_of_packages(given: Any) -> None:
    with refuses("trust", given, "must be a list of packages"):
        check_trust(OmegaConf.create({}), given)


def test_an_object_that_a_trusted_package_imported_is_not_trusted() -> None:
    cfg = OmegaConf.create({"trick": {"mine": {"_target_": "test_trust.os.system"}}})
    with refuses("trick.mine", "test_trust.os.system", "is defined in posix"):
        check_trust(cfg, ["test_trust"])
    assert [place for place, _ in target_nodes(cfg)] == ["trick.mine"]


def make_links(run_dir: Path, elsewhere: Path) -> dict[str, Path]:
    """Links in a run to files and folders of the user elsewhere."""
    mine = elsewhere / "mine"
    mine.write_text("precious")
    (elsewhere / "folder").mkdir()
    predicted = (
        "config.yaml.part",
        "summary.json.part",
        "metrics.csv.part",
        "samples/0000002_n4_seed0.png.part",
    )
    later = ("checkpoints/next.ckpt.part", "checkpoints/best.ckpt.part", "signature", "signature.part")
    for name in (*predicted, *later, "metrics.csv", "profile.txt", "profile.json", "samples/0000003.png"):
        (run_dir / name).unlink(missing_ok=True)
        (run_dir / name).symlink_to(mine)
    for name in ("tensorboard", "wandb", "samples/0000002_n4_seed0"):
        (run_dir / name).symlink_to(elsewhere / "folder")
    return {name: run_dir / name for name in (*predicted, *later)}


def test_nothing_is_written_through_a_link(unsigned_run: Path, tmp_path: Path) -> None:
    elsewhere, evil = tmp_path / "elsewhere", tmp_path / "evil"
    elsewhere.mkdir()
    shutil.copytree(unsigned_run, evil)
    make_links(evil, elsewhere)
    for command in (sampled, resumed):
        with refuses(reason="is a link out of the run directory, or not a file", remedy="remove it"):
            command(evil)
    sampled(evil, f"output={tmp_path / 'grid.png'}")
    (evil / "found.json.part").symlink_to(elsewhere / "mine")
    evaluated(evil, f"output={evil / 'found.json'}")
    for folder in ("samples", "checkpoints"):
        shutil.copytree(unsigned_run, tmp_path / folder)
        shutil.rmtree(tmp_path / folder / folder)
        (tmp_path / folder / folder).symlink_to(elsewhere / "folder")
        with refuses(reason=f"{folder} is a link out of the run directory"):
            resumed(tmp_path / folder)
    assert (elsewhere / "mine").read_text() == "precious"
    assert not any((elsewhere / "folder").iterdir())
    # The run directory itself may be reached through a link.
    shutil.copytree(unsigned_run, elsewhere / "run")
    (tmp_path / "link").symlink_to(elsewhere / "run")
    resumed(tmp_path / "link")
    sampled(tmp_path / "link")


def with_entries(content: dict[str, Any], **new: Any) -> dict[str, Any]:
    return {**content, **new}


@pytest.mark.parametrize(
    "change",
    [
        lambda content: {"state_dict": [1, 2]},
        lambda content: {"state_dict": None},
        lambda content: {"state_dict": {}},
        lambda content: [content],
        *(
            lambda content, part=part: {k: v for k, v in content.items() if k != part}
            for part in sorted(CHECKPOINT_ENTRIES)
        ),
        lambda content: with_entries(content, state_dict=dict(enumerate(content["state_dict"].values()))),
        lambda content: with_entries(content, state_dict=dict.fromkeys(content["state_dict"], "x")),
        lambda content: with_entries(
            content, state_dict=dict.fromkeys(content["state_dict"], torch.zeros(3))
        ),
        lambda content: with_entries(
            content,
            state_dict={
                key: value.to(torch.complex64) if isinstance(value, torch.Tensor) else value
                for key, value in content["state_dict"].items()
            },
        ),
        lambda content: with_entries(
            content, state_dict=content["state_dict"] | {"game._extra_state": {"step": "three"}}
        ),
        lambda content: with_entries(content, state_dict=content["state_dict"] | {"game._extra_state": 3}),
        *(
            lambda content, part=part: with_entries(content, **{part: 5.0})
            for part in sorted(CHECKPOINT_ENTRIES)
        ),
    ],
)
def test_a_checkpoint_of_anything_else_is_refused(change: Any, unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    torch.save(change(torch.load(last, weights_only=True)), last)
    (last.parent / "previous.ckpt").unlink(missing_ok=True)
    for command in COMMANDS:
        with pytest.raises(
            ConfigError, match=r"last.ckpt is not|these weights belong to another game: "
        ) as refusal:
            run_command(command, tmp_path / "run")
        assert len(str(refusal.value)) < 1000
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("command", "place", "value"), [("resume", "views", 5), ("sample", "model.generator.prior", 5)]
)
def test_a_value_of_the_wrong_kind_is_refused(
    command: str, place: str, value: Any, unsigned_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    cfg = OmegaConf.load(unsigned_run / "config.yaml")
    OmegaConf.update(cfg, place, value, merge=False)
    (tmp_path / "run" / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    with pytest.raises(ConfigError, match=f"shows where|views|{place}={value}: must be"):
        run_command(command, tmp_path / "run")


def test_an_upload_to_an_account_of_another_user_is_refused(unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    cfg = OmegaConf.load(config)
    cfg.logger = OmegaConf.to_container(compose("logger=wandb").logger, resolve=True)
    cfg.logger.wandb.entity = "stranger"
    config.write_text(OmegaConf.to_yaml(cfg))
    with pytest.raises(ConfigError, match="logger.wandb.entity=stranger: is the account that this run"):
        resumed(tmp_path / "run")
    resumed(tmp_path / "run", "logger=csv")


def test_an_attack_ends_a_command_with_one_line_and_status_2(unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(ATTACKS["instantiate_class"](config.read_text()))
    status, out, err = finish(start("run_dir=run", module=("ganlab.sample",), cwd=tmp_path))
    assert (status, out) == (2, "")
    assert err == (
        "sample: clip.generator=pytorch_lightning.cli.instantiate_class: is not on the list of objects to "
        "build. Remove it from config.yaml.\n"
    )


def test_the_working_directory_is_searched_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [place for place in sys.path if place])
    monkeypatch.setattr("sys.argv", ["ganlab"])
    launch("sample", lambda *_: None)
    assert str(tmp_path) not in sys.path
    assert import_object("nowhere.Own") is None
    assert sys.path[-1] == str(tmp_path)


SPECIAL = (
    "lock",
    "summary.json",
    "metrics.csv",
    "samples/0000001.png",
    "tensorboard/hparams.yaml",
)


@pytest.mark.parametrize("kind", ["pipe", "device", "link"])
@pytest.mark.parametrize("name", SPECIAL)
def test_pipes_devices_and_links_in_a_run_are_refused(
    name: str, kind: str, unsigned_run: Path, tmp_path: Path
) -> None:
    place, new = tmp_path / "run" / name, tmp_path / "new"
    shutil.copytree(unsigned_run, tmp_path / "run")
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero" if kind == "device" else new)
    with pytest.raises(ConfigError, match="is a link out of the run directory, or not|cannot write or read"):
        resumed(tmp_path / "run")
    with suppress(ConfigError):
        compare(compose(f"of=[{tmp_path / 'run'},{unsigned_run}]", config_name="compare"))
    assert not new.exists()


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"data_sha256": {"a": 1}}', '{"device": "\\u001b]0;pwned\\u0007", "threads": []}'],
)
def test_a_malicious_summary_does_no_harm(text: str, unsigned_run: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text(text)
    with suppress(ConfigError):
        resumed(tmp_path / "run")
    with suppress(ConfigError):
        compare(compose(f"of=[{tmp_path / 'run'},{unsigned_run}]", config_name="compare"))
    assert "\x1b" not in capsys.readouterr().out


def test_a_checkpoint_with_overlapping_parts_is_damaged(unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    place = tmp_path / "run" / "checkpoints" / "last.ckpt"
    with zipfile.ZipFile(place, "w") as file:
        file.writestr("x/data", bytes(10**6))
        file.filelist = [copy.copy(file.filelist[0]) for _ in range(20_000)]
    (place.parent / "previous.ckpt").unlink(missing_ok=True)
    with refuses(reason="last.ckpt is damaged"):
        sampled(tmp_path / "run")


def test_files_of_the_working_directory_are_not_run(unsigned_run: Path, tmp_path: Path) -> None:
    """Neither as plugins of Hydra nor as optional modules of a library; own classes are found."""
    evil = tmp_path / "evil"
    shutil.copytree(unsigned_run, evil)
    touch = f"open({str(tmp_path / 'PWNED')!r}, 'w')\n"
    (evil / "hydra_plugins" / "x").mkdir(parents=True)
    (evil / "hydra_plugins" / "x" / "__init__.py").write_text(touch)
    for name in ("pynvml", "dill", "psutil"):
        (evil / f"{name}.py").write_text(touch)
    (evil / "mine.py").write_text("class Own:\n    pass\n")
    script = (
        "import sys; sys.path.pop(0); from ganlab.config.setting_types import import_object; "
        "print(import_object('mine.Own'))"
    )
    for words in (["-m", "ganlab.sample", "run_dir=.", "n=1"], ["-c", script]):
        options: dict[str, Any] = {"cwd": evil, "env": environment(), "capture_output": True, "text": True}
        done = subprocess.run([sys.executable, *words], check=True, **options)
    assert "<class 'mine.Own'>" in done.stdout
    assert not (tmp_path / "PWNED").exists()


def test_a_run_that_finds_its_directory_locked_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(path: Path) -> None:
        (path.parent / "config.yaml").write_text("of the first")
        raise ConfigError("is being played")

    monkeypatch.setattr(run_directory, "Lock", taken)
    second = RunDirectory(tmp_path / "run")
    with pytest.raises(ConfigError, match="is being played"):
        second.create()
    second.discard()
    assert (tmp_path / "run" / "config.yaml").read_text() == "of the first"


def test_a_loop_of_links_is_allowed(unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    (tmp_path / "run" / "samples" / "loop").symlink_to("loop")
    for command in COMMANDS.values():
        command(tmp_path / "run")


@pytest.mark.parametrize("names", ["a: 1", "[1, 2]", "text", "[[a]]"])
def test_class_names_must_be_strings(names: str, unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    names = f"{{{names}}}" if ":" in names else names
    config.write_text(config.read_text().replace("class_names: null", f"class_names: {names}"))
    with refuses(reason="config.yaml has class_names=.* which must be strings", remedy="restore it"):
        sampled(tmp_path / "run")


@pytest.mark.parametrize("counts", ["abc", [1] * 11, [-1] * 10, [0] * 10, [1.5] * 10, {0: 1}])
def test_class_counts_must_be_whole_numbers(counts: Any) -> None:
    game = build_game(compose("logger=csv", "trick=[label_conditioning,ema]"))
    with pytest.raises(ConfigError, match="class_counts=|the samples of a class in a checkpoint"):
        game.set_extra_state({"step": 0, "class_counts": counts})


def test_a_run_of_thousands_of_classes_can_be_read(unsigned_run: Path, tmp_path: Path) -> None:
    shutil.copytree(unsigned_run, tmp_path / "run")
    cfg = RunDirectory(unsigned_run).config()
    cfg.class_names = [f"{i:05d}_Animalia_Chordata_Aves_Passeriformes_Corvidae" for i in range(5000)]
    RunDirectory(tmp_path / "run").write_config(cfg)
    assert len(RunDirectory(tmp_path / "run").config().class_names) == 5000


def test_a_refused_run_removes_no_file_of_the_user(tmp_path: Path) -> None:
    mine = tmp_path / "keep"
    (mine / "empty").mkdir(parents=True)
    (mine / "data").symlink_to(tmp_path)
    with refuses(reason="data is a link"):
        play(mine, "steps=1")
    assert {path.name for path in mine.iterdir()} == {"empty", "data"}


def test_a_resume_ignores_the_links_of_wandb(unsigned_run: Path, tmp_path: Path) -> None:
    logs = tmp_path / "run" / "wandb" / "offline-run" / "logs"
    shutil.copytree(unsigned_run, tmp_path / "run")
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "cache" / "core-debug.log")
    resumed(tmp_path / "run")
