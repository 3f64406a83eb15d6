"""A parallel map by reader processes, which compute results before they are used."""

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
    """Yields make(key) for every key, in order. Worker w of W computes results w, w + W, w + 2 W, ....

    Each worker is at least one result ahead. Results travel through pipes, because containers have little
    shared memory; no result may be None, which marks the end. A worker whose pipe has no other end dies at
    its next result, so no worker survives this process, however that ends.

    Args:
        num_workers: the number of processes; 0: this process computes the results.

    Raises:
        ProcessLost: a worker died.
        ConfigError: the system has too few processes, open files or memory.
    """
    if num_workers == 0:
        yield from map(make, keys)
        return
    workers: list[tuple[int, Connection]] = []  # process ids and pipes
    creator = os.getpid()
    try:
        for worker in range(num_workers):
            workers.append(_start_worker(make, islice(keys, worker, None, num_workers)))
        for _, pipe in cycle(workers):
            result = pipe.recv()
            if isinstance(result, Exception):
                raise result
            if result is None:
                return
            yield result
    except (EOFError, OSError) as error:
        # recv raises an OSError without errno if the pipe ends in the middle of a result: the worker died.
        if isinstance(error, OSError) and error.errno is not None:
            raise resource_error("images", error) from error
        raise ProcessLost(
            "a process that reads images has died, perhaps for lack of memory. Continue from the last "
            "checkpoint with resume=, and lower data.num_workers if that was the cause."
        ) from error
    finally:
        # A forked process also gets here, when it drops its copy of this generator; only the process that
        # started the workers may kill them.
        for process, pipe in workers if os.getpid() == creator else ():
            pipe.close()
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _start_worker(make: Callable[[Key], Result], keys: Iterable[Key]) -> tuple[int, Connection]:
    """Forks a worker; returns its process id, and the end of the pipe from which its results are received."""
    receiver, sender = Pipe(duplex=False)
    if process := os.fork():  # in the parent; 0 in the worker
        sender.close()
        return process, receiver
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the main process ends the run, and kills its workers
        # Close all other files: the locks and sockets of a killed parent must not stay open in its workers.
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
        os._exit(0)  # not sys.exit: exit handlers and buffered output belong to the parent


def resource_error(images: str, error: BaseException) -> ConfigError:
    """The error about images for which the system lacks memory, open files or processes."""
    return ConfigError(
        f"{images} cannot be read ({one_line(error)})",
        "lower data.num_workers, or raise the limit (of open files: ulimit -n, of processes: ulimit -u, of "
        "memory: ulimit -v)",
    )
