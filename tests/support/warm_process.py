"""Processes that need not import torch and Lightning: forks of one that has, started once per test process.

To import what a run needs takes five seconds, and to play a short one takes one. Here is either side: where
this file is the main module, it is the one that has imported, and its only argument is a socket's number.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache


class PopenSignals:
    """What a subprocess.Popen does with signals: none reaches a process that has ended."""

    pid: int

    def poll(self) -> int | None:
        raise NotImplementedError

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class WarmProcess(PopenSignals):
    """`python -m command` in a fork of the server; to be used as a subprocess.Popen with pipes for text."""

    def __init__(self, command: Sequence[str], cwd: str | os.PathLike[str], environment: Mapping[str, str]):
        pipes = [os.pipe() for _ in ("out", "err", "status")]
        order = json.dumps([[*command], os.fspath(cwd), dict(environment)]).encode()
        socket.send_fds(server(), [order], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        out, err, self._status = (os.fdopen(read) for read, _ in pipes)
        readers = ThreadPoolExecutor(2)
        self._told = [readers.submit(stream.read) for stream in (out, err)]
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote; waits until nobody can write any more, and for its end."""
        out, err = (told.result(timeout) for told in self._told)
        if self.returncode is None:
            self.returncode = int(self._status.readline())
        return out, err


@cache
def server() -> socket.socket:
    """Where orders go; it ends when this process does."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    process = subprocess.Popen([sys.executable, __file__, str(number)], pass_fds=[number])
    theirs.close()
    atexit.register(process.wait)
    atexit.register(mine.close)
    return mine


def wait_for_order(orders: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """Returns in a new process for each order, with that one's outputs and environment in place."""
    while True:
        order, files, *_ = socket.recv_fds(orders, 1 << 20, 3)
        if not order:
            sys.exit()  # whoever would order is gone
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    orders.close()
    out, err, status = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():  # this one remains, to tell how the other ends
        os.close(out)
        os.close(err)
        os.write(status, f"{child}\n".encode())
        os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
        os._exit(0)
    os.close(status)
    for file, place in ((out, 1), (err, 2)):
        os.dup2(file, place)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return tuple(json.loads(order))


if __name__ == "__main__":
    importlib.import_module("ganlab.training.lifecycle")  # what takes so long
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    command, cwd, environment = wait_for_order(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv, sys.path[0] = command, cwd
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
