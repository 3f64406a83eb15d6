"""ganlab {version} trains, samples, measures and compares GANs.

Usage: ganlab <command> key=value ...
       python -m ganlab.<command> key=value ...    (the same)

Commands:
{commands}

ganlab <command> --help   shows its examples, choices and settings
ganlab --version          shows the version
eval "$(ganlab -sc install=bash)"   completes commands, choices and keys
"""

import os
import re
import runpy
import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version

from ganlab import help
from ganlab.cli import launch, standard_output
from ganlab.config.compose import own_config_folder
from ganlab.core.errors import ConfigError, require


def main() -> None:
    """Runs the command that the first argument names. `python -m ganlab` does the same."""
    name = "--version" if "--version" in sys.argv else [*sys.argv, "--help"][1]
    if name in help.LISTINGS:
        del sys.argv[1]
        launch(name, getattr(import_module("ganlab.listings"), name))
    elif name in help.commands():
        del sys.argv[1]
        runpy.run_module(f"ganlab.{name}", run_name="__main__", alter_sys=True)
    elif name == "-sc":  # Hydra's name of its option
        complete()
    else:
        try:
            with standard_output():
                print(answer(name))
        except ConfigError as error:
            print(f"ganlab: {error}", file=sys.stderr)
            sys.exit(2)


def answer(word: str) -> str:
    """What is printed for a first argument that is no command; raises `ConfigError` if it is a mistake."""
    if word in ("-h", "--help"):
        entries = (help.entry(name, text, column=14) for name, text in help.commands().items())
        commands = "\n".join(line for lines in entries for line in lines)
        return (__doc__ or "").format(version=version("torch-ganlab"), commands=commands)
    if word == "--version":
        return f"ganlab {version('torch-ganlab')}"
    require("=" not in word, "is a setting, and no command", f"write ganlab run {word}", word)
    near = get_close_matches(word, help.commands(), n=1)
    remedy = f"try ganlab {near[0]}" if near else "list the commands with ganlab --help"
    raise ConfigError("there is no such command", remedy, word)


def complete() -> None:
    """Runs Hydra's completion, whose scripts call `ganlab -sc query=<shell>` with the line in COMP_LINE."""
    typed = re.fullmatch(r"\s*\S+\s+(\S+)(\s.*)", os.environ.get("COMP_LINE", ""))
    if not any(word.startswith("query=") for word in sys.argv):
        sys.argv[0] = "ganlab"  # for which Hydra installs the completion
        launch("run", lambda cfg, overrides: None)  # a task that Hydra does not call
    elif typed and typed[1] in help.commands():
        # Hydra expects the name of one program in front of the settings, and its own options in sys.argv.
        os.environ["COMP_LINE"] = f"ganlab{typed[2]}"
        if folder := own_config_folder(typed[2].split()):
            sys.argv.insert(1, f"--config-dir={folder}")
        launch(typed[1], lambda cfg, overrides: None)
    else:
        print(*help.commands())


if __name__ == "__main__":
    main()
