"""`python -m ganlab.ablate` with runs that are forks of a process that has imported torch and Lightning.

A run in an interpreter of its own takes five seconds to start, and these tests need a dozen runs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from support.forked_process import ForkedProcess, fork_module

from ganlab.suites import child


def fork(arguments: Sequence[str], lock: TextIO, threads: int, log: TextIO) -> ForkedProcess:
    def redirect_output() -> None:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        os.environ["HYDRA_FULL_ERROR"] = "0"

    return fork_module("ganlab.run", arguments, redirect_output)


if __name__ == "__main__":
    child.start = fork
    from ganlab.ablate import ablate
    from ganlab.cli import launch

    launch("ablate", ablate)
