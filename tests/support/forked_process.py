"""Forks in place of a command's subprocesses: a new interpreter takes five seconds for its imports."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence

from hydra.core.global_hydra import GlobalHydra
from support.warm_process import PopenSignals


class ForkedProcess(PopenSignals):
    """A forked process with the interface of `subprocess.Popen`."""

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def fork_module(module: str, arguments: Sequence[str], prepare: Callable[[], None]) -> ForkedProcess:
    """Runs `python -m module arguments` in a fork, which calls `prepare` first."""

    def run() -> None:
        prepare()
        GlobalHydra.instance().clear()
        sys.argv = [f"{module.replace('.', '/')}.py", *arguments]
        runpy.run_module(module, run_name="__main__")

    return fork_call(run)


def fork_call(function: Callable[[], None]) -> ForkedProcess:
    """Calls a function in a fork, which then ends."""
    if pid := os.fork():
        return ForkedProcess(pid)
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        function()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
