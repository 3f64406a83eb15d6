"""python -m ganlab.run as it is, but for the further processes of a run on several: they are forks of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from support.forked_process import ForkedProcess, fork_module

from ganlab.training import processes


def fork(command: Sequence[str], preexec_fn: Callable[[], None], env: Mapping[str, str]) -> ForkedProcess:
    def begin() -> None:
        preexec_fn()
        os.environ.clear()
        os.environ.update(env)

    return fork_module("ganlab.training.rank", [], begin)


if __name__ == "__main__":
    processes.subprocess = SimpleNamespace(Popen=fork)
    from ganlab.run import main

    main()
