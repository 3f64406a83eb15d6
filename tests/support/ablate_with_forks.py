"""python -m ganlab.ablate as it is, but for its runs: forks of a process that has imported what they need.

A run by an interpreter of its own takes five seconds to begin, and these tests play a dozen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from support.forked_process import ForkedProcess, fork_module

from ganlab.suites import child


def fork(arguments: Sequence[str], lock: TextIO, threads: int, log: TextIO) -> ForkedProcess:
    def begin() -> None:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        os.environ["HYDRA_FULL_ERROR"] = "0"

    return fork_module("ganlab.run", arguments, begin)


if __name__ == "__main__":
    child.start = fork
    from ganlab.ablate import main

    main()
