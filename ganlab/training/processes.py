"""Several processes on one machine: who starts them, and who ends them together."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ganlab.core.errors import ConfigError
from ganlab.core.validation import Positive


class UnwrappedDDPStrategy(DDPStrategy):
    """Processes, devices and barriers from Lightning; gradients are averaged in the update, by us.

    Lightning's wrapper around the module lets the ranks drift apart under simultaneous play, without an
    error, since it sees no gradient that was asked for by name.

    Args:
        patience: for how many hours a process waits for the others: the first one evaluates alone.

    """

    def __init__(self, patience: Positive):

        super().__init__(timeout=timedelta(hours=patience))

    def configure_ddp(self) -> None:
        assert self.model is not None
        for tensor in chain(self.model.parameters(), self.model.buffers()):
            dist.broadcast(tensor.data, 0)


def launches_ranks(devices: int, num_nodes: int) -> bool:
    """Whether the other processes are ours to start.

    Raises:
        ConfigError: torchrun or SLURM has started another number of processes; or there are several machines,
            and nobody has started a process on each.
    """
    if "GANLAB_PARENT" in os.environ:
        return False
    asked, there = devices * num_nodes, started_outside()
    if there not in (None, asked):
        raise ConfigError(
            f"trainer.devices={devices} on {num_nodes} machines is {asked} processes, but torchrun or SLURM "
            f"has started {there}: ask for as many with trainer=ddp trainer.devices=... "
            "trainer.num_nodes=..., or unset SLURM_NTASKS where each is to play a run of its own"
        )
    if num_nodes > 1 and there is None:
        raise ConfigError(
            f"trainer.num_nodes={num_nodes} waits for processes on other machines: start all of them with "
            "torchrun or srun (README, Several processes), or leave it out"
        )
    return devices > 1 and there is None


def started_outside() -> int | None:
    """How many processes torchrun or SLURM has started; None: neither has."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else None


def environment() -> list[SLURMEnvironment]:
    """SLURM's, without Lightning's own way of putting a job back into the queue: resume does that.

    Lightning finds torchrun's by itself, on a machine of SLURM too; one that is given would go before it.
    """
    slurm = SLURMEnvironment.detect() and "TORCHELASTIC_RUN_ID" not in os.environ
    return [SLURMEnvironment(auto_requeue=False)] if slurm else []


def between_processes(error: BaseException) -> bool:
    """Whether an error is that of a message to a process which is not there any more."""
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(name in text for name in ("gloo/", "NCCL"))
    )


class LocalRanks:
    """The other processes of a run, each of which plays the config that this one has written.

    A replay of the command line, as Lightning has it, would start a sweep once more in each of them.
    """

    def __init__(self, count: int):
        self.count = count
        self.running: list[subprocess.Popen[bytes]] = []
        self.over = threading.Event()
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "NODE_RANK": "0",
            "LOCAL_RANK": "0",
        }

    def start(self, config: str, on_loss: Callable[[str], None]) -> None:
        """Starts ranks 1, 2, ...; if one of them dies, this process ends too, with one line.

        Args:
            config: what they play, as YAML: a file could be another by now than was looked at.
            on_loss: is told of it, if this process still waits for the one that died.
        """
        # Modules are looked for where this process does, and nowhere before; not while Python itself starts.
        script = f"import sys; sys.path[:] = {sys.path}; from ganlab.training.rank import main; main()"
        common = os.environ | {"GANLAB_PARENT": str(os.getpid())}
        for rank in range(1, self.count):
            self.running.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-c", script],
                    preexec_fn=_ignore_interrupts,
                    env=common | {"LOCAL_RANK": str(rank), "GANLAB_CONFIG": config},
                )
            )
        atexit.register(self.end)
        threading.Thread(target=self._watch, args=(on_loss,), daemon=True).start()

    def end(self) -> None:
        self.over.set()
        for name in ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
        for process in self.running:
            process.kill()
        if dist.is_initialized():
            dist.destroy_process_group()  # the next job of a sweep makes one of its own

    def lost(self) -> str | None:
        """Which process has died, if one has; one that has just been killed takes a moment to be seen."""
        for _ in range(10):
            for rank, process in enumerate(self.running, start=1):
                if process.poll():
                    return (
                        f"process {rank} of {self.count} ended with {process.returncode}, so all end; "
                        "resume goes on from the last checkpoint"
                    )
            time.sleep(0.05)
        return None

    def _watch(self, on_loss: Callable[[str], None]) -> None:
        while not (lost := self.lost()):
            if self.over.wait(2):
                return
        # A collective that waits in vain mostly ends by itself, and then in order.
        if not self.over.wait(10):
            on_loss(lost)
            print(f"run: {lost}", file=sys.stderr, flush=True)
            os._exit(1)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; until training begins, only the first one answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def has_parent() -> bool:
    """Whether the process that started this one is still there."""
    return os.getppid() == int(os.environ["GANLAB_PARENT"])


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone: a collective would wait for hours."""

    def watch() -> None:
        while has_parent():
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: Any = listening.getsockname()[1]
    return int(port)
