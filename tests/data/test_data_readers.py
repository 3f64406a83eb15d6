"""Processes that read: in order, deaf to what ends a run, and gone with it, whatever ended it or them."""

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
from support.data_streams import take
from support.image_folders import folder, picture

from ganlab.core.errors import ConfigError, RankLost
from ganlab.data.readers import read

LARGE = 3 * 2**20  # bytes: many times what a pipe holds
others: set[int] = set()  # children of this process that were there before a test


@pytest.fixture(autouse=True)
def _others() -> None:
    others.clear()
    others.update(children())


def square(key: int) -> int:
    return key * key


def test_answers_come_in_order_from_an_endless_or_a_short_list():
    for num_workers in (0, 1, 3):
        assert list(islice(read(square, count(), num_workers), 10)) == [k * k for k in range(10)]
        assert list(read(square, [1, 2, 3, 4], num_workers)) == [1, 4, 9, 16]
        assert list(read(square, [], num_workers)) == []
    assert children() == []


@pytest.mark.parametrize("during", ["making", "sending"])
def test_a_reader_that_is_killed_is_told_and_no_other_is_left(during):
    def make(key: int) -> np.ndarray:
        if key == 5 and during == "making":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(LARGE, key, np.uint8)

    answers = read(make, count(), 2)
    assert next(answers)[0] == 0
    if during == "sending":
        time.sleep(0.2)  # both have filled their pipes
        os.kill(children()[-1], signal.SIGKILL)
    with pytest.raises(RankLost, match=r"has died.*resume=.*fewer data.num_workers") as loss:
        list(islice(answers, 10))
    assert "\n" not in str(loss.value)
    assert children() == []


def large(key: int) -> np.ndarray:
    return np.full(LARGE, key, np.uint8)


def test_readers_outlive_the_signals_that_end_a_run_and_end_with_their_iterator():
    answers = read(large, count(), 2)
    next(answers)
    time.sleep(0.2)
    for number in (signal.SIGINT, signal.SIGTERM):
        for reader in children():
            os.kill(reader, number)
    assert [answer[0] for answer in islice(answers, 6)] == [1, 2, 3, 4, 5, 6]
    answers.close()
    assert children() == []


def test_readers_do_not_hold_up_an_interpreter_that_ends():
    script = (
        "import itertools, numpy as np\nfrom ganlab.data.readers import read\n"
        f"answers = read(lambda k: np.zeros({LARGE}), itertools.count(), 2); next(answers)\n"
        "kept = [answers]; kept.append(kept); print('going', flush=True); raise KeyError"
    )
    here = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    begun = subprocess.run([sys.executable, "-c", script], env=here, capture_output=True, timeout=60)
    assert (begun.returncode, begun.stdout) == (1, b"going\n")  # all who held the pipe are gone, readers too


def test_readers_of_a_process_that_is_killed_end_by_themselves():
    ours, theirs = os.pipe()
    if (process := os.fork()) == 0:
        os.dup2(theirs, 2)  # which readers keep
        answers = read(lambda key: np.zeros(LARGE), count(), 2)
        next(answers)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(theirs)
    os.waitpid(process, 0)
    assert os.read(ours, 100) == b""  # the end of the pipe: nobody holds it any more
    os.close(ours)


def test_what_a_reader_raises_is_raised_here():
    def make(key: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files") if key else ConfigError("no")

    for first, error, said in ((0, ConfigError, "^no$"), (1, ConfigError, "Too many open files.*ulimit -n")):
        with pytest.raises(error, match=said):
            next(read(make, [first], 1))
    assert children() == []


@pytest.mark.parametrize("num_workers", [0, 2])
def test_too_few_open_files_are_no_fault_of_the_images(tmp_path, num_workers):
    for i in range(4):
        picture(tmp_path / f"{i}.png", i)
    data = folder(tmp_path, in_memory=False, num_workers=num_workers, on_corrupt="skip")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(ConfigError, match="Too many open files.*data.num_workers.*ulimit -n") as refusal:
            take(data, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "\n" not in str(refusal.value)
    assert data.skipped == []
    assert len(take(data, 1)) == 1


def test_a_fork_that_drops_its_copy_of_the_answers_ends_nobody_elses_readers():
    answers = read(large, count(), 1)
    next(answers)
    if (process := os.fork()) == 0:
        try:
            answers.close()
        finally:
            os._exit(0)
    os.waitpid(process, 0)
    assert [answer[0] for answer in islice(answers, 3)] == [1, 2, 3]
    answers.close()


def test_nothing_is_asked_of_shared_memory():
    before = set(os.listdir("/dev/shm"))
    answers = read(lambda key: np.zeros(LARGE, np.uint8), count(), 2)
    assert next(answers).shape == (LARGE,)
    assert set(os.listdir("/dev/shm")) <= before
    answers.close()


def children() -> list[int]:
    """The processes that a test has started, oldest first."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return sorted({*map(int, found)} - others)
