"""Processes in which torch and Lightning are already imported: forks of a server, one per test process.

The imports of a run take five seconds, a short run itself takes one. This file holds both sides. As the main
module it is the server; its only argument is the file descriptor of a socket.
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
    """The signal methods of `subprocess.Popen`: a process that has ended gets no signal."""

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
    """`python -m command` in a fork of the server, with the interface of a text-mode `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], cwd: str | os.PathLike[str], environment: Mapping[str, str]):
        pipes = [os.pipe() for _ in ("out", "err", "status")]
        order = json.dumps([[*command], os.fspath(cwd), dict(environment)]).encode()
        socket.send_fds(server(), [order], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        out, err, self._status = (os.fdopen(read) for read, _ in pipes)
        readers = ThreadPoolExecutor(2)
        self._outputs = [readers.submit(stream.read) for stream in (out, err)]
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = int(self._status.readline())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """The text of stdout and stderr. Waits until both are closed and the process has ended."""
        out, err = (output.result(timeout) for output in self._outputs)
        if self.returncode is None:
            self.returncode = int(self._status.readline())
        return out, err


@cache
def server() -> socket.socket:
    """Starts the server, which ends with this process, and returns the socket that takes orders."""
    client_end, server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = server_end.fileno()
    process = subprocess.Popen([sys.executable, __file__, str(number)], pass_fds=[number])
    server_end.close()
    atexit.register(process.wait)
    atexit.register(client_end.close)
    return client_end


def wait_for_order(orders: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """Forks for every order, and returns in the fork: the order's command, directory and environment.

    Standard output and error of the fork are the pipes that came with the order.
    """
    while True:
        order, files, *_ = socket.recv_fds(orders, 1 << 20, 3)
        if not order:
            sys.exit()  # the client has closed its end
        if os.fork() == 0:
            break
        for file in files:
            os.close(file)
    orders.close()
    out, err, status = files
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():  # the parent stays to report the exit code of its child
        os.close(out)
        os.close(err)
        os.write(status, f"{child}\n".encode())
        os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
        os._exit(0)
    os.close(status)
    for file, descriptor in ((out, 1), (err, 2)):
        os.dup2(file, descriptor)
        os.close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return tuple(json.loads(order))


if __name__ == "__main__":
    importlib.import_module("ganlab.training.play_run")  # imports torch and Lightning
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    command, cwd, environment = wait_for_order(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv, sys.path[0] = command, cwd
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
