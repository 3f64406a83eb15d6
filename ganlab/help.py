"""Help pages, made of the comments in conf/ and of docstrings. Code is read and not imported, to be fast.

The comment on top of a config file, or else the docstring of what the file builds, says what an option is.
Indented lines in the comment of a command, or in the docstring of a listing, are its examples.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from inspect import cleandoc
from itertools import takewhile
from pathlib import Path
from textwrap import wrap

import yaml

from ganlab.config.compose import CONF, MULTIPLE_CHOICE, own_config_folder
from ganlab.core.errors import require

LISTINGS = ("tricks", "objectives")  # commands without a config of their own: they take the settings of `run`
FIRST = "run sample evaluate compare"  # the order of the overview; other commands follow
WIDTH, COLUMN = 100, 30  # the largest width of a page, and the column of explanations
PAPER = re.compile(r"\(([^()]*\b(?:19|20)\d\d[^()]*)\)")  # brackets that contain a year
# What a choice makes of another group, as "override /optimizer: adam_gan" in model/gan.yaml.
MADE = re.compile(r"^  - override /(\w+)(?:@\S+)?: (.+)$", re.MULTILINE)
OPTIONS = """  -m                    runs all combinations of lists: seed=0,1,2
  --config-dir=FOLDER   adds your config files, as FOLDER/experiment/mine.yaml
  --cfg job             prints the config with all settings, and runs nothing
"""


def commands() -> dict[str, str]:
    """The commands and what each does, in the order of the overview."""
    names = [path.stem for path in CONF.glob("*.yaml")]
    names.sort(key=lambda name: (name not in FIRST, FIRST.find(name), name))
    return {name: summary(explanation(name)[0])[0] for name in (*names, *LISTINGS)}


def page(command: str, arguments: Sequence[str]) -> str:
    """The page of a command, with the choices in the user's own folder if `arguments` have a --config-dir."""
    text, examples = explanation(command)
    shown = [*wrap(f"ganlab {command}: {text}", page_width()), ""]
    shown += [f"Usage: ganlab {command} [options] key=value ...", "", "Examples:", *examples, ""]
    if command in LISTINGS:
        return "\n".join([*shown, "All settings and options of ganlab run can be given: ganlab run --help."])
    shown += ["Options:", OPTIONS, *choices(command, own_config_folder(arguments)), "Default settings:"]
    shown += [line for setting in settings(CONF / f"{command}.yaml") for line in entry(*setting)]
    shown += [*chosen_settings(command, arguments), ""]
    end = f"Read on in {CONF}/README.md."
    end += " ganlab run --help data=folder shows the settings of data=folder." * (command == "run")
    return "\n".join([*shown, *wrap(end, page_width(), break_on_hyphens=False)])


def choices(command: str, own: str | None) -> Iterator[str]:
    """The groups of a command, and an entry for each choice. A star marks the default."""
    chosen = default_choices(command)
    for group in sorted(str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()):
        if group.split("/")[0] in chosen:
            yield f"{group}=" + (f"  (several: '{group}=[...]')" if group in MULTIPLE_CHOICE else "")
            default, paths = chosen.get(group, ""), options(group, own)
            for name, path in paths.items():
                star = "* " if name in re.findall(r"\w+", default) else "  "
                yield from entry(star + name, option_text(path), column=6 + max(map(len, paths)))
            yield ""


def default_choices(command: str) -> dict[str, str]:
    """The default choice of each group of a command, as its config file has it."""
    return dict(re.findall(r"^  - (\w+): (\S+)", (CONF / f"{command}.yaml").read_text(), re.MULTILINE))


def chosen_settings(command: str, arguments: Sequence[str]) -> Iterator[str]:
    """The settings of each choice: of those in the arguments, those that these make, and the defaults."""
    own = own_config_folder(arguments)
    typed = dict(word.split("=", 1) for word in arguments if "=" in word)
    chosen = default_choices(command) | typed
    made: dict[str, str] = {}  # choices that other choices make, such as the optimizer of a model
    for group in ("experiment", "model", "data"):  # as in Hydra, what is made first counts
        for path in chosen_files(group, (chosen | made | typed).get(group, ""), own):
            made = dict(MADE.findall(path.read_text())) | made
    for key, choice in (chosen | made | typed).items():
        group, _, package = key.partition("@")
        for path in chosen_files(group, choice, own):
            prefix = "" if "# @package _global_" in path.read_text() else f"{package or group}."
            found = settings_of_choice(path, options(group, own)).values()
            lines = [line for name, text in found for line in entry(prefix + name, text)]
            yield from ("", f"Settings of {group}={path.stem}:", *lines) if lines else ()


def chosen_files(group: str, choice: str, own: str | None) -> list[Path]:
    """The config files of a choice, such as `[r1,ema]`; refuses one that the group does not have."""
    paths = options(group, own)
    names = [name for name in re.findall(r"[\w-]+", choice) if paths and name != "null"]
    for name in names:
        require(name in paths, f"there is no such {group}", f"choose from {', '.join(paths)}", group, name)
    return [paths[name] for name in names]


def settings_of_choice(path: Path, paths: Mapping[str, Path]) -> dict[str, tuple[str, str]]:
    """The `settings` of a config file of a group and of those that it is based on, by their keys."""
    found: dict[str, tuple[str, str]] = {}
    for base in re.findall(r"^  - (\w+)$", path.read_text(), re.MULTILINE):
        found |= settings_of_choice(paths[base], paths) if base in paths else {}
    return found | {setting.partition("=")[0]: (setting, text) for setting, text in settings(path)}


def options(group: str, own: str | None) -> dict[str, Path]:
    """The choices of a group and their config files; those in the user's own folder come last."""
    folders = [Path(folder) / group for folder in (CONF, own) if folder]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def settings(path: Path) -> Iterator[tuple[str, str]]:
    """The settings of a config file as key=value, and their comments. Nested keys are joined by dots."""
    text = path.read_text()

    def walk(node: yaml.MappingNode, prefix: str = "") -> Iterator[tuple[str, str]]:
        for key, value in node.value:
            name, is_mapping = prefix + key.value, isinstance(value, yaml.MappingNode)
            if is_mapping and value.value and (not value.flow_style or len(value.value) == 1):
                yield from walk(value, f"{name}.") if name != "hydra" else ()
            # Mappings of multiple choices are empty, and filled by the choices.
            elif not (name in ("defaults", *MULTIPLE_CHOICE) or key.value in ("_target_", "_partial_")):
                typed = text[value.start_mark.index : value.end_mark.index]
                comment = text.splitlines()[key.start_mark.line].partition("  # ")[2]
                yield f"{name}={typed if len(typed) < WIDTH / 2 else '...'}", comment

    yield from walk(yaml.compose(text))


def explanation(command: str) -> tuple[str, list[str]]:
    """What a command does, and its examples, which are indented in the comment or docstring."""
    is_listing, path = command in LISTINGS, CONF / f"{command}.yaml"
    lines = (docstring(f"ganlab.listings.{command}") if is_listing else top_comment(path)).splitlines()
    examples = [line for line in lines if line.startswith(" ")]
    return " ".join(line for line in lines if line not in examples), examples


def option_text(path: Path) -> str:
    """The first sentence on what a config file selects, to its first colon if it fills more than a line."""
    target = re.search(r"_target_: ([\w.]+)", path.read_text())
    sentence, _ = summary(top_comment(path) or (docstring(target[1]) if target else ""))
    short = sentence.partition(": ")[0]
    return short if len(sentence) > WIDTH - COLUMN and len(short) > COLUMN / 2 else sentence


def top_comment(path: Path) -> str:
    """The comment on top of a config file, without the line that tells Hydra the package."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return "\n".join(line[2:] for line in lines if not line.startswith("# @"))


def docstring(target: str) -> str:
    """The docstring of a class or function of ganlab, which is not imported; empty for those of others."""
    package, *modules, name = target.split(".")
    file = Path(__file__).parent.joinpath(*modules).with_suffix(".py")
    text = file.read_text() if package == __package__ and file.is_file() else ""
    found = re.search(rf'^(?:class|def) {name}\b[^"]*"""(.*?)"""', text, re.MULTILINE | re.DOTALL)
    return cleandoc(found[1]) if found else ""


def summary(text: str) -> tuple[str, str]:
    """The first sentence of a text without the paper that it cites, and the first paper of the text."""
    paper = PAPER.search(text)
    first = re.sub(r"\s*" + PAPER.pattern, "", " ".join(text.split("\n\n")[0].split()))
    # A sentence ends at a mark after a word, but not at that of an initial, of "al." or of an ellipsis.
    sentence = re.split(r"(?<=[a-z0-9)\]`])(?<!\bal)[.;](?: |$)", first)[0].strip().removesuffix(".")
    return sentence, " ".join(paper[1].split()) if paper else ""


def entry(name: str, text: str, column: int = COLUMN) -> list[str]:
    """The lines of a name and its explanation, which begins in a column, below the name if that is long."""
    head, lines = f"  {name}", wrap(text, page_width() - column)
    if len(head.rstrip()) + 2 <= column and lines:
        head = head.ljust(column) + lines.pop(0)
    return [head.rstrip(), *(" " * column + line for line in lines)]


def page_width() -> int:
    """The width of the terminal, but not so large that lines are hard to read."""
    return max(60, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
