"""`python -m ganlab.run` whose other ranks are forks of the first."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from support.forked_process import ForkedProcess, fork_module

from ganlab.training import processes


def fork(command: Sequence[str], preexec_fn: Callable[[], None], env: Mapping[str, str]) -> ForkedProcess:
    def prepare() -> None:
        preexec_fn()
        os.environ.clear()
        os.environ.update(env)

    return fork_module("ganlab.training.rank", [], prepare)


if __name__ == "__main__":
    processes.subprocess = SimpleNamespace(Popen=fork)
    from ganlab.run import main

    main()
