"""The command line: composing a config, and telling errors in one line. Imports nothing heavy."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganlab.config.compose import CONF, explain_error, one_line_message, validated
from ganlab.config.overrides import quote_override
from ganlab.core.errors import ConfigError, Diverged, IncompleteStudy, RankLost, ending
from ganlab.core.validation import format_number

FULL = "HYDRA_FULL_ERROR"
LONGEST = 200  # characters of a name; that of a directory or a file beside it has 255 at most
UNPRINTED = (errno.EPIPE, errno.ENOSPC)  # of standard output that nobody reads, or that is full
# What is told in one line; anything else is a mistake of ours, and shows its trace.
ERRORS = (ConfigError, Diverged, RankLost, IncompleteStudy, HydraException, OmegaConfBaseException)


def launch(config_name: str, task: Callable[[DictConfig, list[str]], Any]) -> None:
    """Runs a command: `task(cfg, overrides)` once, or once per job of a sweep (`-m`).

    What the user got wrong is told in one line, with exit status 2; a run that diverged gives 1.
    """
    wants_traces = os.environ.get(FULL) == "1"
    os.environ[FULL] = "1"  # or Hydra prints the errors itself, in its own way
    asked, command = sys.argv, Command(config_name, task, wants_traces)
    try:
        command.start()
    except KeyboardInterrupt:
        print(f"{config_name}: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        sys.argv = asked
        os.environ[FULL] = str(int(wants_traces))
        command.jobs.show()
    if command.refusals:
        sys.exit(1 if isinstance(command.refusals[0], Diverged | RuntimeError) else 2)


class Command:
    """A command line, what Hydra makes of it, and what was refused."""

    def __init__(self, name: str, task: Callable[[DictConfig, list[str]], Any], wants_traces: bool):
        self.name, self.task, self.wants_traces = name, task, wants_traces
        self.asked = sys.argv
        self.jobs = Jobs(sys.argv[1:])
        self.kept: list[str] = []
        self.refusals: list[BaseException] = []
        self.begun = False  # a ValueError before any job is Hydra's, about the command line
        self.process = os.getpid()  # another one plays a job on a cluster, and raises: this one must know

    def start(self) -> None:
        """Has Hydra compose the config and call `job`."""
        given: list[str] = []
        try:
            given = [
                quote_override(word, bool({"-m", "--multirun"} & {*self.asked})) for word in self.asked[1:]
            ]
            self.kept = keep_for_resume(given)
            sys.argv = [self.asked[0], *given]
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.name)(self.job)()
        except (*ERRORS, ValueError, TypeError) as error:
            if self.begun and not isinstance(error, ERRORS):
                raise
            overrides = [word for word in given if word[0] == "~" or (word[0] != "-" and "=" in word)]
            self.refuse(explain_error(error, self.name, overrides))

    def job(self, cfg: DictConfig) -> Any:
        """Calls the task with what Hydra composed."""
        context = HydraConfig.get()
        self.begun = True
        sys.argv = self.asked
        if context.mode == RunMode.MULTIRUN:
            cfg.job = self.jobs.begin(context.job.num, context.overrides.task)
        try:
            given = context.overrides.task
            return self.jobs.end(self.task(validated(cfg, self.name, given), [*given, *self.kept]))
        except ERRORS as error:  # here, since an error that Hydra sees ends a sweep
            self.refuse(error)
            if os.getpid() != self.process:
                raise
        except Exception as error:
            if isinstance(error, OSError) and error.filename is None and error.errno in UNPRINTED:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python fails at it once more, at its end
                return self.refuse(ConfigError(f"what it prints cannot be written: {error.strerror}"))
            self.jobs.end(error)
            if context.mode != RunMode.MULTIRUN or os.getpid() != self.process:
                raise
            traceback.print_exc()
            self.refusals.append(RuntimeError("a job failed"))

    def refuse(self, error: BaseException) -> None:
        """Tells an error in one line, or raises it where the user wants traces."""
        if self.wants_traces:
            raise error
        self.jobs.end(error)
        print(f"{self.name}: {one_line_message(error)}", file=sys.stderr, flush=True)
        self.refusals.append(error)


def keep_for_resume(arguments: list[str]) -> list[str]:
    """Takes overrides of single values out of a command line that resumes, and gives them back.

    They change the config of the run, not the default one, which need not have their keys.
    """
    if not any(argument.startswith("resume=") for argument in arguments):
        return []
    words = [a for a in arguments if "." in a.split("=")[0] and ("=" in a or a[0] == "~")]
    kept = [a for a in words if not a.lstrip("+~").startswith("hydra.")]
    arguments[:] = [a for a in arguments if a not in kept]
    return kept


class Jobs:
    """The jobs of a command line, whose words are `line`, as far as this process plays them."""

    def __init__(self, line: Sequence[str]):
        self.line = line
        self.swept = {word.split("=")[0] for word in line if set(word) & set(",(")}  # and some that are not
        self.rows: list[list[str]] = []

    def begin(self, number: int, overrides: Sequence[str]) -> str:
        """A name for a job, unlike that of any other, which a shell and Hydra read without quotes."""
        own = [word for word in overrides if word not in self.line and word.split("=")[0] in self.swept]
        words = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", word).strip("-") for word in (str(number), *own))
        print(f"\njob {number}: {' '.join(overrides) or 'no overrides'}", flush=True)
        self.rows.append([str(number), " ".join(own), "stopped", ""])
        return "_".join(words)[:LONGEST]

    def end(self, result: Any) -> Any:
        """Notes what the last job returned, or the error that it ended with, and gives it back."""
        error = isinstance(result, BaseException)
        status = "refused" if isinstance(result, ConfigError) else ending(result)[0] if error else "finished"
        found = result.items() if isinstance(result, dict) else ()
        for row in self.rows[-1:]:
            row[2:] = status, ", ".join(f"{name} {format_number(value)}" for name, value in found)
        return result

    def show(self) -> None:
        """Prints the table; nothing where this was no sweep."""
        table = Table("job", "overrides", "status", "metrics", box=None, pad_edge=False)
        for row in self.rows:
            table.add_row(*map(Text, row))
        if self.rows:
            Console(width=1000).print("", table)
