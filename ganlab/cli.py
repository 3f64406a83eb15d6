"""The command line: composing a config, and telling errors in one line. Imports nothing heavy."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from math import ceil
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganlab.console import Jobs
from ganlab.errors import Diverged, Lost, Refused, Unfinished, for_terminal
from ganlab.kinds import validate
from ganlab.words import refuse_unknown, typed

HERE = Path(__file__).parent
# Beside the package in a checkout, inside of it in a wheel.
CONF = next(place for place in (HERE / "conf", HERE.parent / "conf") if place.is_dir())
FULL = "HYDRA_FULL_ERROR"
UNPRINTED = (errno.EPIPE, errno.ENOSPC)  # of standard output that nobody reads, or that is full
SEVERAL = ("trick", "metric", "logger")  # groups of which a config takes many
# What is told in one line; anything else is a mistake of ours, and shows its trace.
ERRORS = (Refused, Diverged, Lost, Unfinished, HydraException, OmegaConfBaseException)


def rounds(images: int | None, batch_size: int, default: int) -> int:
    """The budget in rounds: as many as show `images` real images, or the default where that is null."""
    return default if images is None else ceil(images / max(batch_size, 1))


OmegaConf.register_new_resolver("rounds", rounds, replace=True)


def compose(*overrides: str, config_name: str = "run") -> DictConfig:
    """The config of a command line, for notebooks, tests and commands that play runs of their own."""
    overrides = tuple(map(typed, overrides))
    with hydra_ready():
        try:
            cfg = hydra.compose(config_name, list(overrides))
        except (HydraException, ValueError, TypeError) as error:
            better = explained(error, config_name, overrides)
            raise better from (error.__cause__ if better is error else error)
        return validated(cfg, config_name, overrides)


def hydra_ready() -> AbstractContextManager[Any]:
    """Has Hydra find conf/, where `launch` has not: it cannot be twice."""
    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    return hydra.initialize_config_dir(str(CONF), version_base="1.3")


def validated(cfg: DictConfig, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command, of which every override is read by something and each value is of its kind."""
    refuse_lost(overrides)
    if any(override.startswith("+") for override in overrides):
        refuse_unread(config_name, overrides)
    return validate(cfg, overrides)


def explained(error: BaseException, config_name: str, overrides: Sequence[str]) -> BaseException:
    """The error, or a refusal that names the nearest setting where an unknown one made Hydra raise it."""
    if isinstance(error, OverrideParseException):
        return Refused(f"{error.override} cannot be read: settings are given as key=value")
    try:
        if isinstance(error, HydraException | ValueError | TypeError) and not isinstance(error, Refused):
            refuse_unread(config_name, overrides)
    except Refused as refusal:
        return refusal
    except HydraException:
        pass
    return error


def refuse_unread(config_name: str, overrides: Sequence[str]) -> None:
    """Refuses overrides that nothing would read, with the nearest that something would."""
    with hydra_ready():
        options = GlobalHydra.instance().config_loader().get_group_options
        pairs = [override.lstrip("+").partition("=") for override in overrides]
        # Those that choose options that there are, so that the config has their keys.
        good = [set(value.strip("[]").split(",")) <= {*options(key.split("@")[0])} for key, _, value in pairs]
        base = hydra.compose(config_name, list(compress(overrides, good)))
        refuse_unknown(overrides, base, options)


def refuse_lost(overrides: Sequence[str]) -> None:
    """Refuses what Hydra would drop in silence: of `+group=a` beside `group=[b]`, or of `data=[a,b]`."""
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    for key, value in given.items():
        group = key.removeprefix("+")
        if "," in value and value[0] == "[" and (CONF / group).is_dir() and group not in SEVERAL:
            raise Refused(f"{key}={value} would lose all but one: give one of them")
        if key != group and group in given and (CONF / group).is_dir():
            raise Refused(
                f"{key}={value} would be lost beside {group}={given[group]}: give all of them as one list, "
                f"'{group}=[...]'"
            )


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
            given = [typed(word, bool({"-m", "--multirun"} & {*self.asked})) for word in self.asked[1:]]
            self.kept = keep_for_resume(given)
            sys.argv = [self.asked[0], *given]
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.name)(self.job)()
        except (*ERRORS, ValueError, TypeError) as error:
            if self.begun and not isinstance(error, ERRORS):
                raise
            overrides = [word for word in given if word[0] == "~" or (word[0] != "-" and "=" in word)]
            self.refuse(explained(error, self.name, overrides))

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
                return self.refuse(Refused(f"what it prints cannot be written: {error.strerror}"))
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
        print(f"{self.name}: {told(error)}", file=sys.stderr, flush=True)
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


def told(error: BaseException) -> str:
    """An error in one line, without what Hydra adds for its own debugging."""
    text = str(error)
    for aside in ("Config search path:", "object_type=", "To append to your config use"):
        text = text.split(aside)[0]
    if not isinstance(error, Refused | Diverged | Lost | Unfinished) and error.__cause__ is not None:
        text = f"{text} {error.__cause__}".split("object_type=")[0]
    text = text.replace("Available options in", "- available in").split("full_key:")[0]
    return for_terminal(" ".join(text.split()))
