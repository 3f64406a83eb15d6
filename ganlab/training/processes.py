"""The processes of a run: their settings, and how they are started, watched and ended together."""

import atexit
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from itertools import chain

import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.strategies import DDPStrategy

from ganlab.core.errors import require
from ganlab.core.validation import Positive

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of mallopt, from glibc's malloc.h


def keep_memory() -> bool:
    """Makes glibc's malloc keep freed memory; returns whether it will. No effect without glibc.

    By default large tensors are returned to the system as soon as they are freed, and a step on the CPU
    touches each of their pages again, which took up to half of its time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def silence_lightning() -> None:
    """Silences Lightning's advice, which does not apply here, and disables a slow check of the driver."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
    # Otherwise Lightning has torch search for a driver library in every optimiser step: 0.2 ms each.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


class UnwrappedDDPStrategy(DDPStrategy):
    """Lightning's DDP without the wrapper around the module: each `PlayerOptimizer` averages its gradients.

    With the wrapper the ranks would drift apart under simultaneous play, without an error, because it does
    not see gradients that `backward(inputs=...)` computes.

    Args:
        patience: hours that a process waits for the others, for example while the first one evaluates.
    """

    def __init__(self, patience: Positive):
        super().__init__(timeout=timedelta(hours=patience))

    def configure_ddp(self) -> None:
        assert self.model is not None
        for tensor in chain(self.model.parameters(), self.model.buffers()):
            dist.broadcast(tensor.data, 0)


def launches_ranks(devices: int, num_nodes: int) -> bool:
    """Whether this process has to start the other processes of the run.

    Raises:
        ConfigError: torchrun or SLURM has started a different number of processes; or the run needs several
            machines, and neither has started it.
    """
    if "GANLAB_PARENT" in os.environ:
        return False
    environment = cluster_environment()
    wanted, started = devices * num_nodes, environment and environment.world_size()
    reason = f"requests {wanted} processes in all, but torchrun or SLURM has started {started}"
    match = "set trainer=ddp, trainer.devices and trainer.num_nodes to match"
    remedy = f"{match}, or unset SLURM_NTASKS if each process is to play a run of its own"
    require(started in (None, wanted), "trainer.devices", devices, reason, remedy)
    reason = "waits for processes on other machines"
    remedy = "start all of them with torchrun or srun (ganlab/training/README.md), or leave it out"
    require(num_nodes == 1 or started, "trainer.num_nodes", num_nodes, reason, remedy)
    return devices > 1 and started is None


def cluster_environment() -> ClusterEnvironment | None:
    """The environment of torchrun (also within SLURM) or of SLURM; None if neither started this process.

    SLURM is not asked to requeue the job, because `resume` continues a run.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error was raised by a collective because a process of it has ended."""
    names_backend = any(name in str(error) for name in ("gloo/", "NCCL"))
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and names_backend)


class LocalRanks:
    """The other processes of a run on this machine, if this process has to start them.

    Each process plays the config that this one has written. Lightning would repeat the command line, which
    would start a sweep in each process.
    """

    def __init__(self, devices: int, num_nodes: int):
        self.count = devices if launches_ranks(devices, num_nodes) else 1
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ended = threading.Event()
        port = str(find_free_network_port())
        rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", "LOCAL_RANK": "0"}
        self.environment = rendezvous if self.count > 1 else {}  # variables that this process gets
        os.environ |= self.environment

    def start(self, cfg: DictConfig, on_rank_lost: Callable[[str], None]) -> None:
        """Starts ranks 1, 2, ... If one of them dies, this process prints a message and ends.

        Args:
            cfg: the config that they play, handed over in the environment.
            on_rank_lost: called with the message before the end, if this one is still waiting for it.
        """
        if self.count == 1:
            return
        # Each process reads the class names from the data: thousands of them do not fit into an environment.
        config = OmegaConf.to_yaml(OmegaConf.merge(cfg, {"class_names": None}), resolve=True)
        common = os.environ | {"GANLAB_PARENT": str(os.getpid()), "GANLAB_CONFIG": config}
        # The import path of this process and no other entry, such as the directory of a script.
        path = f"import sys; sys.path[:] = {sys.path}"
        script = f"{path}; from ganlab.training.lifecycle import play_rank; play_rank()"
        for rank in range(1, self.count):
            command = [sys.executable, "-P", "-c", script]
            env = common | {"LOCAL_RANK": str(rank)}
            self.processes.append(subprocess.Popen(command, preexec_fn=_ignore_interrupts, env=env))
        atexit.register(self.end)
        threading.Thread(target=self._watch, args=(on_rank_lost,), daemon=True).start()

    def end(self) -> None:
        self.ended.set()
        for name in self.environment:
            os.environ.pop(name, None)
        for process in self.processes:
            process.kill()
        if self.processes and dist.is_initialized():
            dist.destroy_process_group()  # the next job of a sweep creates its own

    def lost_rank_message(self) -> str | None:
        """A message about a process that has died, if one has.

        Waits up to half a second for it, because a death becomes visible with a delay.
        """
        for _ in range(10):
            for rank, process in enumerate(self.processes, start=1):
                if process.poll():
                    ended = f"process {rank} of {self.count} ended with {process.returncode}"
                    return f"{ended}, so all end; resume continues from the last checkpoint"
            time.sleep(0.05 if self.processes else 0)
        return None

    def _watch(self, on_rank_lost: Callable[[str], None]) -> None:
        while not (lost := self.lost_rank_message()):
            if self.ended.wait(2):
                return
        # A collective with a dead process usually fails by itself, and the run then ends cleanly.
        if not self.ended.wait(10):
            on_rank_lost(lost)
            print(f"run: {lost}", file=sys.stderr, flush=True)
            os._exit(1)


def _ignore_interrupts() -> None:
    """Ignores Ctrl-C, which reaches all processes: before training, only the first one handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def has_parent() -> bool:
    """Whether the process that started this one is still running."""
    return os.getppid() == int(os.environ["GANLAB_PARENT"])


def end_with_parent() -> None:
    """Ends this process when the one that started it has ended: a collective would wait for hours."""

    def watch() -> None:
        while has_parent():
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
