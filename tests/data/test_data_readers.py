"""Reader processes: results in order, signals ignored, and no reader left however a run ends."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from support.data_streams import first_batches
from support.image_folders import image_folder, write_image
from support.refusals import refuses

from ganlab.core.errors import ConfigError, ProcessLost
from ganlab.data.files import parallel_map

LARGE = 3 * 2**20  # bytes: more than the buffer of a pipe
others: set[int] = set()  # children of this process from before a test


@pytest.fixture(autouse=True)
def _others() -> None:
    others.clear()
    others.update(children())


def square(key: int) -> int:
    return key * key


def test_results_are_in_order_for_endless_and_short_lists():
    for num_workers in (0, 1, 3):
        assert list(islice(parallel_map(square, count(), num_workers), 10)) == [k * k for k in range(10)]
        assert list(parallel_map(square, [1, 2, 3, 4], num_workers)) == [1, 4, 9, 16]
        assert list(parallel_map(square, [], num_workers)) == []
    assert children() == []


@pytest.mark.parametrize("during", ["making", "sending"])
def test_a_killed_reader_is_reported_and_no_other_is_left(during):
    def make(key: int) -> np.ndarray:
        if key == 5 and during == "making":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(LARGE, key, np.uint8)

    results = parallel_map(make, count(), 2)
    assert next(results)[0] == 0
    if during == "sending":
        time.sleep(0.2)  # both have filled their pipes
        os.kill(children()[-1], signal.SIGKILL)
    with pytest.raises(ProcessLost, match=r"has died.*resume=.*lower data.num_workers") as loss:
        list(islice(results, 10))
    assert "\n" not in str(loss.value)
    assert children() == []


def large(key: int) -> np.ndarray:
    return np.full(LARGE, key, np.uint8)


def test_readers_ignore_the_signals_that_end_a_run_and_end_with_their_iterator():
    results = parallel_map(large, count(), 2)
    next(results)
    time.sleep(0.2)
    for number in (signal.SIGINT, signal.SIGTERM):
        for reader in children():
            os.kill(reader, number)
    assert [result[0] for result in islice(results, 6)] == [1, 2, 3, 4, 5, 6]
    results.close()
    assert children() == []


def test_an_interpreter_ends_without_waiting_for_readers():
    script = (
        "import itertools, numpy as np\nfrom ganlab.data.files import parallel_map\n"
        f"results = parallel_map(lambda k: np.zeros({LARGE}), itertools.count(), 2); next(results)\n"
        "kept = [results]; kept.append(kept); print('going', flush=True); raise KeyError"
    )
    here = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    begun = subprocess.run([sys.executable, "-c", script], env=here, capture_output=True, timeout=60)
    # That `run` returns shows that no process holds the pipe any more, readers included.
    assert (begun.returncode, begun.stdout) == (1, b"going\n")


def test_readers_of_a_killed_process_end_by_themselves():
    ours, theirs = os.pipe()
    if (process := os.fork()) == 0:
        os.dup2(theirs, 2)  # which the readers inherit
        results = parallel_map(lambda key: np.zeros(LARGE), count(), 2)
        next(results)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(theirs)
    os.waitpid(process, 0)
    assert os.read(ours, 100) == b""  # the end of the pipe: no process holds it
    os.close(ours)


def test_an_error_of_a_reader_is_raised_here():
    def make(key: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files") if key else ConfigError("no")

    for key, message in ((0, "^no$"), (1, "Too many open files.*ulimit -n")):
        with pytest.raises(ConfigError, match=message):
            next(parallel_map(make, [key], 1))
    assert children() == []


def test_an_error_of_a_reader_keeps_its_fields():
    def make(key: int) -> int:
        raise ConfigError("cannot be read", "mend it")

    with pytest.raises(ConfigError) as refusal:
        next(parallel_map(make, [0], 1))
    assert str(refusal.value.with_key("data.root")) == "data.root: cannot be read. Mend it."


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_lack_of_open_files_is_not_blamed_on_the_images(tmp_path, num_workers):
    for i in range(4):
        write_image(tmp_path / f"{i}.png", i)
    data = image_folder(tmp_path, in_memory=False, num_workers=num_workers, on_corrupt="skip")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with refuses(reason="Too many open files", remedy="data.num_workers.*ulimit -n"):
            first_batches(data, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert data.skipped == []
    assert len(first_batches(data, 1)) == 1


def test_a_fork_that_closes_its_copy_of_the_results_leaves_the_readers():
    results = parallel_map(large, count(), 1)
    next(results)
    if (process := os.fork()) == 0:
        try:
            results.close()
        finally:
            os._exit(0)
    os.waitpid(process, 0)
    assert [result[0] for result in islice(results, 3)] == [1, 2, 3]
    results.close()


def test_shared_memory_is_not_used():
    before = set(os.listdir("/dev/shm"))
    results = parallel_map(lambda key: np.zeros(LARGE, np.uint8), count(), 2)
    assert next(results).shape == (LARGE,)
    assert set(os.listdir("/dev/shm")) <= before
    results.close()


def children() -> list[int]:
    """The processes that this test has started, oldest first."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return sorted({*map(int, found)} - others)
