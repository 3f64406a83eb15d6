"""The README files against the code: commands, links, options, error messages and examples."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig
from support.commands import QUICK, finish, play, start_cold
from support.daily_sample import A_THIRD, daily_share, on_one_day_of
from support.refusals import refuses
from support.small_games import ROOT, options

from ganlab.compare import compare
from ganlab.config.compose import CONF, compose
from ganlab.core.errors import ConfigError
from ganlab.run import run
from ganlab.studies.spec import read_suite

LIMIT = 8500  # bytes of the README of the repository
FOLDERS = ("conf", "ganlab", "experiments", "scripts")
FOLDERS_WITH_PAGES = [
    ".",
    *sorted(
        str(path.parent.relative_to(ROOT)) for top in FOLDERS for path in (ROOT / top).rglob("README.md")
    ),
]
FOLDERS_IN_TEXT = [name for name in FOLDERS_WITH_PAGES if not name.startswith("experiments/")]
# The page that describes each config group.
PAGES = {
    "model": "ganlab/networks",
    "model/prior": "ganlab/networks",
    "objective": "ganlab/objectives",
    "objective/kernel": "ganlab/objectives",
    "objective/space": "ganlab/objectives",
    "trick": "ganlab/tricks",
    "data": "ganlab/data",
    "metric": "ganlab/metrics",
    "extractor": "ganlab/metrics",
    "protocol": "ganlab/metrics",
    "play": "ganlab/training",
    "trainer": "ganlab/training",
    "logger": "ganlab/training",
    "callback": "ganlab/training",
    "optimizer": "conf",
    "experiment": "conf",
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OVERRIDE = re.compile(r"'?[+~]?[a-z]\w*([./@]\w+)*=[^=\s]")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"(?:python )?((?:ganlab|conf|tests|scripts|experiments)/[\w./]+\.\w+)(?: .*)?")
COMMAND = re.compile(
    r"(?:[^$].*)?(?:-m ganlab\.|ganlab )"
    r"(run|sample|translate|evaluate|compare|health|figures|ablate|report)\b(.*)"
)
OTHER_COMMANDS = (
    "sample",
    "translate",
    "evaluate",
    "compare",
    "health",
    "figures",
    "ablate",
)  # with own configs
# Selections that an override may presuppose; the text around it names them.
CONTEXTS = (
    *("data=folder", "data=mnist", "data=table", "data=dataset", "trainer=ddp"),
    *("objective=mmd", "objective=f_kl", "objective=ali"),
)
PLACEHOLDER = "somewhere"  # replaces <...> in commands
# In examples that the reader completes.
READERS_OWN = ("key=", "latent_jitter", "experiment=mine", "objective=infogan", "experiment=stripes")


def page_text(name: str) -> str:
    return (ROOT / name / "README.md").read_text()


def code_blocks(page: str, language: str) -> list[str]:
    """The contents of the code blocks in a language."""
    return [content for found, content in FENCE.findall(page) if found == language]


def inline_code(page: str) -> list[str]:
    """The inline code outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page))


def override_words(line: str) -> list[str]:
    """The overrides of a command line without Hydra's own options; placeholders are replaced."""
    found = shlex.split(re.sub(r"<[^>]+>|\.\.\.", PLACEHOLDER, line), comments=True)
    return [word for word in found if not word.startswith(("-", "hydra/", PLACEHOLDER))]


def command_lines(page: str) -> list[tuple[str, list[str]]]:
    """Every command of ganlab on a page, with its overrides."""
    lines = "\n".join(code_blocks(page, "")).replace("\\\n", " ").splitlines()
    lines = [
        re.sub(r'^make run ARGS="(.*)"', r"python -m ganlab.run \1", line)
        for line in [*lines, *inline_code(page)]
    ]
    return [(found[1], override_words(found[2])) for line in lines if (found := COMMAND.match(line))]


def sweep_ends(overrides: list[str]) -> Iterator[list[str]]:
    """The overrides of the first and of the last job of a multirun; without sweeps, those of the command."""
    swept = [re.fullmatch(r"([^=]+)=([^\[{'\"]*,[^\[{]*)", word) for word in overrides]
    for i in (0, -1) if any(swept) else (0,):
        yield [
            f"{found[1]}={found[2].split(',')[i]}" if found else word
            for word, found in zip(overrides, swept, strict=True)
        ]


def test_commands_overrides_links_and_files_are_found_on_the_pages() -> None:
    """The tests of each page would pass if their patterns found nothing."""
    pages = [page_text(name) for name in FOLDERS_WITH_PAGES]
    code = [span for page in pages for span in inline_code(page)]
    assert sum(len(command_lines(page)) for page in pages) > 20
    assert sum(bool(OVERRIDE.match(span)) for span in code) > 100
    assert sum(bool(FILE.fullmatch(span)) for span in code) > 5
    assert sum(len(LINK.findall(page)) for page in pages) > 30


@pytest.mark.parametrize("name", daily_share(FOLDERS_WITH_PAGES, A_THIRD))
def test_the_overrides_of_commands_compose(name: str) -> None:
    for command, overrides in command_lines(page_text(name)):
        if not any(own in word for own in READERS_OWN for word in overrides):
            for job in sweep_ends(overrides):
                compose(*job, config_name=command)


@pytest.mark.parametrize("name", daily_share(FOLDERS_IN_TEXT, A_THIRD))
def test_overrides_in_the_text_are_accepted(name: str) -> None:
    for span in dict.fromkeys(inline_code(page_text(name))):
        if not OVERRIDE.match(span) or any(own in span for own in READERS_OWN):
            continue
        for job in sweep_ends(override_words(span)):
            assert is_accepted(job), f"{name}: `{span}`"


def is_accepted(overrides: list[str]) -> bool:
    """Whether a command accepts the overrides, possibly together with one of the contexts."""
    pairs = [word.partition("=")[::2] for word in overrides]
    if all(key in PAGES and option in [*options(key), PLACEHOLDER] for key, option in pairs):
        return True
    groups = {re.split(r"[./@]", key.lstrip("+~"))[0] for key, _ in pairs}
    tricks = [f"trick={key.split('.')[1]}" for key, _ in pairs if key.startswith("trick.")]
    contexts = ["", *tricks, *(context for context in CONTEXTS if context.partition("=")[0] in groups)]
    attempts = [("run", context) for context in contexts if groups <= top_level_keys()]
    for command, context in [*attempts, *((command, "") for command in OTHER_COMMANDS)]:
        try:
            compose(*filter(None, [context]), *overrides, config_name=command)
        except (ConfigError, HydraException):
            continue
        return True
    return False


@cache
def top_level_keys() -> set[str]:
    """The keys and groups that begin an override of `ganlab.run`."""
    return {*map(str, compose()), *PAGES}


@pytest.mark.parametrize("name", FOLDERS_WITH_PAGES)
def test_link_targets_exist(name: str) -> None:
    for target in LINK.findall(FENCE.sub("", page_text(name))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        place = (ROOT / name / path) if path else ROOT / name / "README.md"
        assert place.exists(), f"{name}: {target}"
        assert not anchor or anchor in heading_anchors(place), f"{name}: {target}"


def heading_anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", FOLDERS_WITH_PAGES)
def test_named_files_exist(name: str) -> None:
    for span in inline_code(page_text(name)):
        path = FILE.fullmatch(span)
        if path and "latent_jitter" not in span:
            assert (ROOT / path[1]).is_file(), f"{name}: {span}"


@pytest.mark.parametrize("group", PAGES)
def test_every_option_is_on_its_page(group: str) -> None:
    page = " ".join(inline_code(page_text(PAGES[group])))
    missing = [option for option in options(group) if not re.search(rf"(?<![\w.]){option}(?!\w)", page)]
    assert missing == [] or (group == "trainer" and missing == ["default"])


def test_every_config_group_has_a_page() -> None:
    assert {str(path.parent.relative_to(CONF)) for path in CONF.glob("*/**/*.yaml")} == set(PAGES)


def test_the_readme_of_the_repository_is_short() -> None:
    assert (ROOT / "README.md").stat().st_size <= LIMIT


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set(), {"."}
    while new:
        reached |= new
        links = (
            (name, target)
            for name in new
            for target in re.findall(r"\]\(([^)#\s]+README.md)", page_text(name))
        )
        new = {
            str((ROOT / name / target).resolve().parent.relative_to(ROOT)) for name, target in links
        } - reached
    assert reached == set(FOLDERS_WITH_PAGES)


def test_every_experiment_is_listed() -> None:
    folders = {path.parent.name for path in (ROOT / "experiments").glob("*/*") if path.is_file()}
    assert {name for name in folders if f"]({name}/" not in page_text("experiments")} == set()


def test_every_script_is_listed() -> None:
    assert [p.name for p in (ROOT / "scripts").glob("*.py") if p.name not in page_text("scripts")] == []


REFUSALS = re.findall(r"^\$ python -m ganlab\.run (.*)\nrun: (.*)$", page_text("conf"), re.MULTILINE)


@pytest.mark.parametrize(("line", "message"), REFUSALS)
def test_refusals_have_the_shown_message(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        run(compose(*line.split(), f"run_dir={tmp_path / 'run'}"), line.split())
    assert str(refused.value) == message


def test_the_page_of_settings_shows_two_refusals() -> None:
    assert len(REFUSALS) == 2


def test_the_refusal_of_a_comparison_has_the_shown_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = re.findall(r"^compare: (.*)$", page_text("ganlab/metrics"), re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    for name, sampler in (("a", "generator"), ("b", "ema")):
        record = {"fid/mnist_train_1k": {"value": 1.0, "sampler": sampler}}
        Path("outputs", name).write_text(json.dumps(record))
    with pytest.raises(ConfigError) as refused:
        compare(compose("of=[outputs/a,outputs/b]", config_name="compare"))
    assert str(refused.value) == message


def test_the_directory_of_a_run_is_as_described(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2")
    table = page_text("ganlab/training").partition("## The directory of a run")[2].partition("##")[0]
    described = set(re.findall(r"^\| `([\w.]+)/?` \|", table, re.MULTILINE))
    assert {path.name for path in (tmp_path / "run").iterdir()} == described - {"wandb"}


def test_the_trick_of_the_guide_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = page_text("ganlab").partition("## A trick of your own")[2].partition("\n## ")[0]
    (code,), (settings,) = code_blocks(guide, "python"), code_blocks(guide, "yaml")
    ((key, node),) = yaml.safe_load(settings).items()
    module = ModuleType(node["_target_"].rpartition(".")[0])
    exec(code, vars(module))  # noqa: S102
    monkeypatch.setitem(sys.modules, module.__name__, module)
    added = [f"+trick.{key}.{name}={value}" for name, value in node.items()]
    play(tmp_path / "run", *added, "steps=2")
    assert key in (tmp_path / "run" / "config.yaml").read_text()


def objective_of_the_guide(monkeypatch: pytest.MonkeyPatch, adversarial: str) -> DictConfig:
    """A config with the objective of the guide on top of another objective."""
    guide = page_text("ganlab").partition("## A game of your own")[2]
    (code,), (settings, _) = code_blocks(guide, "python"), code_blocks(guide, "yaml")
    node = yaml.safe_load(settings)
    assert node.pop("defaults") == [{"/objective@adversarial": "non_saturating"}]
    assert node.pop("_target_") == "infogan.InfoGAN"
    module = ModuleType("infogan")
    exec(code, vars(module))  # noqa: S102
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cfg = compose(*QUICK, "play=simultaneous")
    inner = compose(f"objective={adversarial}").objective
    cfg.objective = node | {"_target_": "infogan.InfoGAN", "adversarial": inner}
    cfg.steps = 2
    return cfg


def test_the_objective_of_the_guide_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = objective_of_the_guide(monkeypatch, "non_saturating")
    cfg.run_dir = str(tmp_path / "run")
    run(cfg, [])
    assert "generator/information" in (tmp_path / "run" / "metrics.csv").read_text()


def test_the_objective_of_the_guide_needs_an_adversarial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = objective_of_the_guide(monkeypatch, "mmd")
    cfg.run_dir = str(tmp_path / "run")
    with refuses("objective.adversarial", "MMD", "no adversarial objective", "non_saturating"):
        run(cfg, [])


MY_GAME = """
from torch import nn
from torch.nn.functional import cross_entropy

from ganlab.core.distributed import all_gather_with_grad
from ganlab.networks.class_conditioning import condition_generator
from ganlab.objectives.base import Objective


class Classifier(nn.Sequential):
    def __init__(self, num_classes, shape):
        super().__init__(nn.Flatten(), nn.Linear(shape[1] * shape[2], num_classes))


class MyGame(Objective):
    players = {name: (name,) for name in ("discriminator", "generator", "encoder", "classifier")}
    outputs_per_latent = 2
    provides = frozenset()

    def check_networks(self, networks):
        assert condition_generator(networks, "concat") == networks.num_classes == 10

    def terms(self, turn):
        B = len(turn.real.x)
        assert turn.posterior.shape == (B, 12) and turn.code.shape == (B, 6)
        assert turn.random.normal("name", B, 5).shape == turn.random.uniform("name", B, 5).shape == (B, 5)
        assert turn.real.condition.shape == turn.asked.shape == turn.fake.condition.shape == (B,)
        if turn.player == "classifier":
            logits = turn.networks["classifier"](turn.real.x)
            return {"classification": cross_entropy(logits, turn.real.condition, reduction="none")}
        assert turn.generated.code.shape == (B, 6) and turn.generated.x is turn.fake.x
        assert turn.on_real.logits.shape == turn.targets.fake.shape == (B,)
        gap = all_gather_with_grad(turn.on_real.features).mean(0) - turn.on_fake.features.mean(0)
        decoded = turn.judge(turn.decoded).logits + turn.judge(turn.decode(turn.latent)).logits
        again = turn.replace(fake=turn.decoded)
        assert again.on_fake is turn.judge(turn.decoded)
        return {"adversarial": decoded, "matching": gap.square().sum()}
"""


@on_one_day_of(2)
def test_the_model_file_of_the_guide_adds_a_network(tmp_path: Path) -> None:
    """The objective of the test uses everything that the page says of a turn."""
    guide = page_text("ganlab").partition("## A game of your own")[2]
    for group in ("objective", "model"):
        (tmp_path / "settings" / group).mkdir(parents=True)
    (tmp_path / "settings" / "model" / "my_game.yaml").write_text(code_blocks(guide, "yaml")[1])
    weight = "weight: {discriminator: 1.0, generator: 1.0, encoder: 1.0, classifier: 1.0}\n"
    objective = tmp_path / "settings" / "objective" / "my_game.yaml"
    objective.write_text(f"_target_: my_game.MyGame\n{weight}")
    (tmp_path / "my_game.py").write_text(MY_GAME)
    overrides = [word for word in QUICK if "batch_norm" not in word]
    process = start_cold(
        "--config-dir=settings", "model=my_game", *overrides, "steps=2", "run_dir=run", cwd=tmp_path
    )
    code, _, err = finish(process)
    assert code == 0, err
    assert "classifier/classification" in (tmp_path / "run" / "metrics.csv").read_text()


def test_the_four_functions_of_the_pages_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code_blocks(page_text("ganlab").partition("## From Python")[2], "python")[0], found)  # noqa: S102
    assert torch.equal(found["game"].sample(3), found["result"].game.sample(3))
    assert found["result"].status == "finished"
    assert found["result"].metrics
    exec(code_blocks(page_text("."), "python")[0], found)  # noqa: S102
    assert found["images"].shape == (64, 1, 8, 8)
    assert found["untrained"].shape == (3, 32, 32)


def test_the_notebook_of_the_guide_samples(tmp_path: Path) -> None:
    play(tmp_path / "run", "steps=2")
    play(tmp_path / "conditional", "trick=label_conditioning", "steps=2")
    one, two = code_blocks(page_text("ganlab").partition("## From Python")[2], "python")[1:3]
    found: dict = {}
    exec(one.replace("outputs/gan/...", str(tmp_path / "run")), found)  # noqa: S102
    assert list(found["images"].shape) == [64, 1, 8, 8]
    assert found["images"].abs().max() <= 1
    assert torch.equal(found["images"], found["game"].sample(64, seed=0))
    assert found["latents"].grad.any()
    of_classes = two.partition("parts =")[0].replace("outputs/conditional/...", str(tmp_path / "conditional"))
    exec(of_classes, found)  # noqa: S102
    assert {len(found[name]) for name in ("threes", "evens", "random")} == {64}


def test_the_suite_of_the_guide_is_valid(tmp_path: Path) -> None:
    (example,) = code_blocks(page_text("experiments"), "yaml")
    (tmp_path / "suite.yaml").write_text(example)
    suite = read_suite(tmp_path)
    assert suite.reference == "plain"
    for arm in suite.arms.values():
        compose(*suite.base, *arm.overrides)
