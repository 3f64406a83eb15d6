"""python -m ganlab.ablate as it is, but for its runs: forks of a process that has imported what they need.

A run by an interpreter of its own takes five seconds to begin, and these tests play a dozen.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

from hydra.core.global_hydra import GlobalHydra

from ganlab.suites import child


class Forked:
    """What is asked of a subprocess.Popen."""

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def fork(arguments: Sequence[str], lock: child.Lock, threads: int, log: TextIO) -> Forked:
    if pid := os.fork():
        return Forked(pid)
    status = 1
    try:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ["HYDRA_FULL_ERROR"] = "0"
        GlobalHydra.instance().clear()
        sys.argv = ["ganlab/run.py", *arguments]
        runpy.run_module("ganlab.run", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    child.start = fork
    from ganlab.ablate import main

    main()
