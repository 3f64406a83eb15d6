"""`python -m ganlab.run` whose other ranks are forks of the first."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from hydra.core.global_hydra import GlobalHydra
from support.forked_process import ForkedProcess, fork_call

from ganlab.training import processes
from ganlab.training.play_run import play_in_started_process


def fork(command: Sequence[str], preexec_fn: Callable[[], None], env: Mapping[str, str]) -> ForkedProcess:
    def play() -> None:
        preexec_fn()
        os.environ.clear()
        os.environ.update(env)
        GlobalHydra.instance().clear()
        play_in_started_process()

    return fork_call(play)


if __name__ == "__main__":
    processes.subprocess = SimpleNamespace(Popen=fork)
    from ganlab.cli import launch
    from ganlab.run import run

    launch("run", run)
