"""Processes that make one thing after another ahead of who takes them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from ganlab.core.errors import ConfigError, RankLost, one_line

Key = TypeVar("Key")
Answer = TypeVar("Answer")


def read(make: Callable[[Key], Answer], keys: Iterable[Key], num_workers: int) -> Iterator[Answer]:
    """make(key) of every key, in order; by `num_workers` processes in turn, each one answer ahead.

    Answers, none of which may be None, come through pipes: containers have little shared memory. A process
    ends when nobody holds the other end of its pipe any more, so none is left whatever ends this one.

    Raises:
        RankLost: a process died.
        ConfigError: the system gives no more processes, files or memory.
    """
    if num_workers == 0:
        yield from map(make, keys)
        return
    readers: list[tuple[int, Connection]] = []
    here = os.getpid()
    try:
        for turn in range(num_workers):
            readers.append(_reader(make, islice(keys, turn, None, num_workers)))
        for _, pipe in cycle(readers):
            answer = pipe.recv()
            if isinstance(answer, Exception):
                raise answer
            if answer is None:
                return
            yield answer
    except (EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a pipe that ends amid an answer has none
            raise scarce("images", error) from error
        raise RankLost(
            "a process that reads images has died, perhaps killed for want of memory: resume= goes on from "
            "the last checkpoint, with fewer data.num_workers, or 0, if that was the cause"
        ) from error
    finally:
        for process, pipe in readers if os.getpid() == here else ():  # a fork may drop its copy of this
            pipe.close()
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _reader(make: Callable[[Key], Answer], keys: Iterable[Key]) -> tuple[int, Connection]:
    """A new process, and the end of the pipe at which its answers come out."""
    out, into = Pipe(duplex=False)
    if process := os.fork():
        into.close()
        return process, out
    try:
        _answer(make, keys, into)
    except Exception as error:
        into.send(error)
    finally:
        os._exit(0)  # what this process has open and registered is its parent's to end


def _answer(make: Callable[[Key], Answer], keys: Iterable[Key], pipe: Connection) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the first process ends a run, and its readers in order
    # Locks and sockets of a process that was killed must not live on in its readers.
    last = max(map(int, os.listdir("/dev/fd")))
    os.closerange(3, pipe.fileno())
    os.closerange(pipe.fileno() + 1, last + 1)
    torch.set_num_threads(1)
    for key in keys:
        pipe.send(make(key))
    pipe.send(None)


def scarce(what: str, error: BaseException) -> ConfigError:
    """What to say where nothing is wrong with the files, but the system gives no more of something."""
    return ConfigError(
        f"{what} cannot be read ({one_line(error)}): lower data.num_workers, or raise the limit (of open "
        "files: ulimit -n, of processes: ulimit -u, of memory: ulimit -v)"
    )
