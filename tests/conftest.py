"""One thread per process: as many as cores, with two test processes, would spin most of the time away."""

import os
import shutil
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # of features; nobody's own is touched

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import commands

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="play what support.daily_sample leaves out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    later = [item for item in items if item.get_closest_marker("for_test_all")]
    if later and not config.getoption("all"):
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in set(later)]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("all"):
        day = os.environ.get("GANLAB_DAY", "today")
        terminalreporter.write_line(f"of cases that are alike, a sample was played: GANLAB_DAY={day}")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same numbers in every test, whichever was run before it in this process."""
    torch.default_generator.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_kept() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_runs_on() -> Iterator[None]:
    """A test that failed leaves no run behind, which would slow down all that come after."""
    yield
    while commands.started_processes:
        commands.started_processes.pop().kill()
