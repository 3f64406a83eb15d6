"""One thread per process: as many as cores, with two test processes, would spin most of the time away."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"

from collections.abc import Iterator

import commands
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same numbers in every test, whichever was run before it in this process."""
    torch.default_generator.manual_seed(0)


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """A test that failed leaves no run behind, which would slow down all that come after."""
    yield
    while commands.started:
        commands.started.pop().kill()
