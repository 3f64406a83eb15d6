"""The processes of a run: how they are started, watched and ended together."""

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

import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.strategies import DDPStrategy

from ganlab.core.errors import require
from ganlab.core.validation import Positive

RANK_ZERO = {"NODE_RANK": "0", "LOCAL_RANK": "0"}


class UnwrappedDDPStrategy(DDPStrategy):
    """Lightning's DDP without the wrapper around the module: each `PlayerOptimizer` averages its gradients.

    With the wrapper the ranks would drift apart under simultaneous play, without an error, because it does
    not see gradients that `backward(inputs=...)` computes.

    Args:
        patience: hours that a process waits for the others; the first one evaluates alone.
    """

    def __init__(self, patience: Positive):
        super().__init__(timeout=timedelta(hours=patience))

    def configure_ddp(self) -> None:
        assert self.model is not None
        for tensor in chain(self.model.parameters(), self.model.buffers()):
            dist.broadcast(tensor.data, 0)


def launches_ranks(devices: int, num_nodes: int) -> bool:
    """Whether this process has to start the other ones.

    Raises:
        ConfigError: torchrun or SLURM has started another number of processes; or a run on several machines
            was started by neither.
    """
    if "GANLAB_PARENT" in os.environ:
        return False
    wanted, started = devices * num_nodes, num_started()
    reason = f"requests {wanted} processes in all, but torchrun or SLURM has started {started}"
    remedy = (
        "set trainer=ddp, trainer.devices and trainer.num_nodes to match, or unset SLURM_NTASKS if each "
        "process is to play a run of its own"
    )
    require(started in (None, wanted), "trainer.devices", devices, reason, remedy)
    reason = "waits for processes on other machines"
    remedy = "start all of them with torchrun or srun (ganlab/training/README.md), or leave it out"
    require(num_nodes == 1 or started, "trainer.num_nodes", num_nodes, reason, remedy)
    return devices > 1 and started is None


def num_started() -> int | None:
    """The number of processes that torchrun or SLURM has started; None: neither has."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else None


def slurm_plugins() -> list[SLURMEnvironment]:
    """SLURM's environment for Lightning, which does not requeue the job: `resume` continues a run.

    Empty under torchrun, also within a SLURM job: Lightning finds torchrun's environment by itself.
    """
    slurm = SLURMEnvironment.detect() and "TORCHELASTIC_RUN_ID" not in os.environ
    return [SLURMEnvironment(auto_requeue=False)] if slurm else []


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is that of a collective with a process that is gone."""
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(name in text for name in ("gloo/", "NCCL"))
    )


class LocalRanks:
    """The other processes of a run on this machine, if this one has to start them.

    Each plays the config that this process has written. Lightning would replay the command line, which
    would start a sweep once more in each process.
    """

    def __init__(self, devices: int, num_nodes: int):
        self.count = devices if launches_ranks(devices, num_nodes) else 1
        self.running: list[subprocess.Popen[bytes]] = []
        self.ended = threading.Event()
        if self.count > 1:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()} | RANK_ZERO

    def start(self, cfg: DictConfig, on_loss: Callable[[str], None]) -> None:
        """Starts ranks 1, 2, ...; if one of them dies, this process prints one line and ends.

        Args:
            cfg: the config that they play, handed over in the environment.
            on_loss: called with that line before the end, if this process still waits for the dead one.
        """
        if self.count == 1:
            return
        # Each finds its class names itself: thousands of them do not fit into an environment.
        config = OmegaConf.to_yaml(OmegaConf.merge(cfg, {"class_names": None}), resolve=True)
        common = os.environ | {"GANLAB_PARENT": str(os.getpid()), "GANLAB_CONFIG": config}
        # The import path of this process and no other entry, such as the directory of a script.
        script = f"import sys; sys.path[:] = {sys.path}; from ganlab.training.rank import main; main()"
        for rank in range(1, self.count):
            command = [sys.executable, "-P", "-c", script]
            env = common | {"LOCAL_RANK": str(rank)}
            self.running.append(subprocess.Popen(command, preexec_fn=_ignore_interrupts, env=env))
        atexit.register(self.end)
        threading.Thread(target=self._watch, args=(on_loss,), daemon=True).start()

    def end(self) -> None:
        self.ended.set()
        if self.count == 1:
            return
        for name in ("MASTER_ADDR", "MASTER_PORT", *RANK_ZERO):
            os.environ.pop(name, None)
        for process in self.running:
            process.kill()
        if dist.is_initialized():
            dist.destroy_process_group()  # the next job of a sweep creates its own

    def lost_rank_message(self) -> str | None:
        """A line about a process that has died, if one has; the death of one shows after a moment."""
        for _ in range(10):
            for rank, process in enumerate(self.running, start=1):
                if process.poll():
                    return (
                        f"process {rank} of {self.count} ended with {process.returncode}, so all end; "
                        "resume continues from the last checkpoint"
                    )
            time.sleep(0.05 if self.running else 0)
        return None

    def _watch(self, on_loss: Callable[[str], None]) -> None:
        while not (lost := self.lost_rank_message()):
            if self.ended.wait(2):
                return
        # A collective that waits in vain mostly fails by itself, and then the run ends in order.
        if not self.ended.wait(10):
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


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])
