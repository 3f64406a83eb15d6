"""Reader processes: a parallel map whose results are computed ahead of their use."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from ganlab.core.errors import ConfigError, ProcessLost, one_line

Key = TypeVar("Key")
Result = TypeVar("Result")


def parallel_map(make: Callable[[Key], Result], keys: Iterable[Key], num_workers: int) -> Iterator[Result]:
    """make(key) of every key, in order, by `num_workers` processes in turn, each one result ahead.

    Results travel through pipes, because containers have little shared memory; none may be None. A reader
    ends when no process holds the other end of its pipe, so none survives, however this process ends.

    Raises:
        ProcessLost: a reader died.
        ConfigError: the system has too few processes, open files or memory.
    """
    if num_workers == 0:
        yield from map(make, keys)
        return
    readers: list[tuple[int, Connection]] = []
    own_process = os.getpid()
    try:
        for turn in range(num_workers):
            readers.append(_start_reader(make, islice(keys, turn, None, num_workers)))
        for _, pipe in cycle(readers):
            result = pipe.recv()
            if isinstance(result, Exception):
                raise result
            if result is None:
                return
            yield result
    except (EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a pipe that ends amid a result has none
            raise resource_error("images", error) from error
        raise ProcessLost(
            "a process that reads images has died, perhaps for lack of memory. Continue from the last "
            "checkpoint with resume=, and lower data.num_workers if that was the cause."
        ) from error
    finally:
        for process, pipe in readers if os.getpid() == own_process else ():  # a fork may drop its copy
            pipe.close()
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _start_reader(make: Callable[[Key], Result], keys: Iterable[Key]) -> tuple[int, Connection]:
    """A new process, and the end of the pipe from which its results are received."""
    receiver, sender = Pipe(duplex=False)
    if process := os.fork():
        sender.close()
        return process, receiver
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the main process ends a run, and then its readers
        # Locks and sockets of a process that was killed must not stay open in its readers.
        last = max(map(int, os.listdir("/dev/fd")))
        os.closerange(3, sender.fileno())
        os.closerange(sender.fileno() + 1, last + 1)
        torch.set_num_threads(1)
        for key in keys:
            sender.send(make(key))
        sender.send(None)
    except Exception as error:
        sender.send(error)
    finally:
        os._exit(0)  # what this process has open and registered is for its parent to end


def resource_error(what: str, error: BaseException) -> ConfigError:
    """The error for images that are intact, but for which the system lacks memory, files or processes."""
    return ConfigError(
        f"{what} cannot be read ({one_line(error)})",
        "lower data.num_workers, or raise the limit (of open files: ulimit -n, of processes: ulimit -u, of "
        "memory: ulimit -v)",
    )
