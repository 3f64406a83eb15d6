"""Options, environment and fixtures of all tests."""

import os
import re
import shutil
import tempfile

# A thread per core in each of several test processes would waste most of the time on busy waiting.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # the user's feature cache stays untouched

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support import commands, daily_sample

torch.set_num_threads(1)

STARTS_PROCESSES = re.compile(r"\b(subprocess|studies|two_processes)\b|\bstart(_cold|_two_ranks)?\(")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run also what support.daily_sample leaves out")
    parser.addoption("--fast", action="store_true", help="leave out the files whose tests start processes")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_fast = config.getoption("fast") and collection_path.name.startswith("test_")
    return True if is_fast and STARTS_PROCESSES.search(collection_path.read_text()) else None


def pytest_configure(config: pytest.Config) -> None:
    daily_sample.run_all = config.getoption("all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if item.get_closest_marker("for_test_all")]
    if left_out and not config.getoption("all"):
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("for_test_all")]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("all"):
        day = os.environ.get("GANLAB_DAY", "today")
        terminalreporter.write_line(f"a sample of similar cases was run: GANLAB_DAY={day} draws it again")


@pytest.fixture(autouse=True)
def seed_torch() -> None:
    """Random numbers do not depend on the tests that ran before in this process."""
    torch.default_generator.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def remove_cache() -> Iterator[None]:
    yield
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(autouse=True)
def kill_processes() -> Iterator[None]:
    """A failed test leaves no run behind, which would slow down the tests after it."""
    yield
    while commands.started_processes:
        commands.started_processes.pop().kill()
