"""Processes that a command starts, as forks of it: an interpreter takes five seconds to import as much."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence

from hydra.core.global_hydra import GlobalHydra
from support.warm_process import PopenSignals


class ForkedProcess(PopenSignals):
    """What is asked of a subprocess.Popen."""

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode


def fork_module(module: str, arguments: Sequence[str], begin: Callable[[], None]) -> ForkedProcess:
    """`python -m module arguments`, after what is to be set in the new process alone."""
    if pid := os.fork():
        return ForkedProcess(pid)
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        begin()
        GlobalHydra.instance().clear()
        sys.argv = [f"{module.replace('.', '/')}.py", *arguments]
        runpy.run_module(module, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
