"""Entry point of all commands: composes the config, runs the task, prints errors in one line.

Imports nothing slow, such as torch, so that errors of the command line are printed at once.
"""

import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganlab import help
from ganlab.config.compose import CONF, OWN_ERRORS, explain_error, user_message, validated_composition
from ganlab.config.overrides import quote_override
from ganlab.core.errors import ConfigError, Diverged, final_status
from ganlab.core.validation import format_number

TRACEBACK_VARIABLE = "HYDRA_FULL_ERROR"  # the environment variable by which users ask for tracebacks
MAX_NAME = 200  # the largest number of characters in the name of a job; file systems allow 255
# Errors that are printed in one line. Any other exception is a bug, and its traceback is printed.
ONE_LINE_ERRORS = (*OWN_ERRORS, HydraException, OmegaConfBaseException, yaml.YAMLError)


def launch(name: str, task: Callable[[DictConfig, list[str]], Any]) -> None:
    """Runs a command: calls `task(cfg, overrides)` once, or once for each job of a sweep (`-m`).

    A mistake of the user gives one line and exit status 2; divergence, a lost process or a crash status 1.
    """
    command = Command(name, task)
    os.environ[TRACEBACK_VARIABLE] = "1"  # otherwise Hydra prints errors itself
    try:
        command.start()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        sys.argv = command.arguments
        os.environ[TRACEBACK_VARIABLE] = str(int(command.raises_errors))
        command.jobs.print()
    if command.failure_statuses:
        sys.exit(command.failure_statuses[0])


class Command:
    """A command line, the jobs that Hydra derives from it, and their failures."""

    def __init__(self, name: str, task: Callable[[DictConfig, list[str]], Any]):
        self.name, self.task, self.arguments = name, task, sys.argv
        self.config_name = "run" if name in help.LISTINGS else name
        # Whether errors are raised, with a traceback, instead of being printed in one line.
        self.raises_errors = os.environ.get(TRACEBACK_VARIABLE) == "1"
        self.jobs = JobTable(sys.argv[1:])
        # Overrides that apply to the saved config of the run that the command resumes, if it resumes one.
        self.overrides_for_saved_config: list[str] = []
        self.failure_statuses: list[int] = []  # the first of them is the exit status of the command
        self.has_started = False  # whether the first job has started
        # A job in a different process, as on a cluster, raises its errors so that this process receives them.
        self.main_pid = os.getpid()

    def start(self) -> None:
        """Starts Hydra, which composes the config and calls `job`."""
        overrides: list[str] = []
        try:
            if {"-h", "--help"} & {*self.arguments}:
                with standard_output():
                    return print(help.page(self.name, self.arguments[1:]))
            is_sweep = bool({"-m", "--multirun"} & {*self.arguments})
            words = [quote_override(word, is_sweep=is_sweep) for word in self.arguments[1:]]
            self.overrides_for_saved_config = pop_overrides_for_saved_config(words)
            words.sort(key=is_override)  # options first: argparse accepts none between overrides
            overrides = list(filter(is_override, words))
            # Hydra's usage begins with the program; its completion is installed for that in sys.argv.
            sys.argv = [self.arguments[0] if "-sc" in words else f"ganlab {self.name}", *words]
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.config_name)(self.job)()
        except (*ONE_LINE_ERRORS, ValueError, TypeError, RuntimeError) as error:
            # Before the first job, such an error comes from Hydra or a launcher: the command line is wrong.
            if self.has_started and not isinstance(error, ONE_LINE_ERRORS):
                raise
            self.report(explain_error(error, self.config_name, overrides, self.arguments[1:]))

    def job(self, cfg: DictConfig) -> Any:
        """Runs the task with a config that Hydra composed."""
        hydra_cfg = HydraConfig.get()
        overrides, is_sweep = hydra_cfg.overrides.task, hydra_cfg.mode == RunMode.MULTIRUN
        self.has_started = True
        sys.argv = self.arguments
        if is_sweep:
            cfg.job = self.jobs.add(hydra_cfg.job.num, overrides)
        try:
            cfg = validated_composition(cfg, self.config_name, overrides)
            with standard_output():
                result = self.task(cfg, [*overrides, *self.overrides_for_saved_config])
            self.jobs.finish(result)
            return result
        except ONE_LINE_ERRORS as error:  # not left to Hydra, which ends a sweep at the first error
            self.report(error)
            if os.getpid() != self.main_pid:
                raise
        except Exception as error:
            self.jobs.finish(error)
            if not is_sweep or os.getpid() != self.main_pid:
                raise
            traceback.print_exc()
            self.failure_statuses.append(1)

    def report(self, error: BaseException) -> None:
        """Prints an error in one line, or raises it if the user wants tracebacks."""
        if self.raises_errors:
            raise error
        self.jobs.finish(error)
        print(f"{self.name}: {user_message(error)}", file=sys.stderr, flush=True)
        # `ProcessLost` and `UnfinishedRuns` are RuntimeErrors.
        self.failure_statuses.append(1 if isinstance(error, Diverged | RuntimeError) else 2)


@contextmanager
def standard_output() -> Iterator[None]:
    """Ends the process in silence if nobody reads its output any more, as behind `| head`.

    Raises:
        ConfigError: the output goes to a full disk.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # An OSError without a file name is about standard output.
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Discards standard output, whose descriptor is 1; otherwise Python fails again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno == errno.EPIPE:
            sys.exit(128 + signal.SIGPIPE)  # the status of programs that this signal ends
        raise ConfigError(f"the output cannot be written: {error.strerror}") from error


def is_override(word: str) -> bool:
    """Whether a word of the command line is an override, such as `key=value` or `~key`."""
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def pop_overrides_for_saved_config(words: list[str]) -> list[str]:
    """Removes overrides with dotted keys from a command line that resumes a run, and returns them.

    They are applied to the saved config of the run, because the default config may lack their keys.
    """
    if not any(word.startswith("resume=") for word in words):
        return []
    dotted = [word for word in words if is_override(word) and "." in word.partition("=")[0]]
    popped = [word for word in dotted if not word.lstrip("+~").startswith("hydra.")]
    words[:] = [word for word in words if word not in popped]
    return popped


class JobTable:
    """A table of the jobs of a sweep that this process runs, from the arguments of its command line."""

    def __init__(self, arguments: Sequence[str]):
        self.arguments = arguments
        # The keys of arguments that may be swept, as in `seed=0,1` and `seed=range(3)`. A list, as in
        # `metric=[fid,kid]`, also has commas, but it is the same in all jobs, so `add` does not count it.
        self.swept_keys = {word.partition("=")[0] for word in arguments if "," in word or "(" in word}
        self.rows: list[list[str]] = []

    def add(self, number: int, overrides: Sequence[str]) -> str:
        """Adds a job, and prints its overrides.

        Returns:
            A unique name of the job that needs no quotes in a shell or for Hydra.
        """
        # In a job, one alternative replaces a swept argument; all other arguments stay as they are.
        changed = (word for word in overrides if word not in self.arguments)
        swept = [word for word in changed if word.partition("=")[0] in self.swept_keys]
        parts = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", part).strip("-") for part in (str(number), *swept))
        print(f"\njob {number}: {' '.join(overrides) or 'no overrides'}", flush=True)
        # An interrupted job keeps the status "stopped"; at the end of any other job, `finish` replaces it.
        self.rows.append([str(number), " ".join(swept), "stopped", ""])
        return "_".join(parts)[:MAX_NAME]

    def finish(self, result: Any) -> None:
        """Enters the result of the last job, or the error that ended the job, into the table."""
        if not self.rows:  # there is no sweep
            return
        status, metrics = "finished", ""
        if isinstance(result, BaseException):
            status = "refused" if isinstance(result, ConfigError) else final_status(result)[0]
        elif isinstance(result, dict):
            metrics = ", ".join(f"{name} {format_number(value)}" for name, value in result.items())
        self.rows[-1][2:] = status, metrics

    def print(self) -> None:
        """Prints the table, if there is a sweep."""
        table = Table("job", "overrides", "status", "metrics", box=None, pad_edge=False)
        for row in self.rows:
            table.add_row(*map(Text, row))
        if self.rows:
            Console(width=1000).print("", table)
