"""The processes of a run: how they are started, watched and ended together."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import chain

import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ganlab.core.distributed import broadcast_
from ganlab.core.errors import require
from ganlab.core.validation import Positive


class UnwrappedDDPStrategy(DDPStrategy):
    """Lightning's DDP without the wrapper around the module: each `PlayerOptimizer` averages its gradients.

    The wrapper does not see gradients that `backward(inputs=...)` computes, so with it the processes would
    drift apart under simultaneous play, without an error.

    Args:
        patience: the hours that a process waits for the others, for example while the first one evaluates.
    """

    def __init__(self, patience: Positive):
        super().__init__(timeout=timedelta(hours=patience))

    def configure_ddp(self) -> None:
        assert self.model is not None  # all processes get the weights of the first one, as with the wrapper
        broadcast_(tensor.data for tensor in chain(self.model.parameters(), self.model.buffers()))


def ranks_to_start(devices: int, num_nodes: int) -> range:
    """The numbers of the processes that this process has to start: 1, 2, ... for the first process of a run.

    There are none to start if the first process, torchrun or SLURM has started this process. Each of
    `num_nodes` machines has `devices` processes.

    Raises:
        ConfigError: torchrun or SLURM has started a different number of processes; or the run needs several
            machines, and neither has started it.
    """
    if "GANLAB_PARENT" in os.environ:
        return range(0)
    cluster, wanted = cluster_environment(), devices * num_nodes
    started = None if cluster is None else cluster.world_size()
    reason = f"requests {wanted} processes in all, but torchrun or SLURM has started {started}"
    settings = "set trainer=ddp, trainer.devices and trainer.num_nodes to match"
    remedy = f"{settings}, or unset SLURM_NTASKS if each process is to play a run of its own"
    require(started in (None, wanted), reason, remedy, "trainer.devices", devices)
    reason = "waits for processes on other machines"
    remedy = "start all of them with torchrun or srun (ganlab/training/README.md), or omit trainer.num_nodes"
    require(num_nodes == 1 or started, reason, remedy, "trainer.num_nodes", num_nodes)
    return range(1, devices) if started is None else range(0)


def cluster_environment() -> ClusterEnvironment | None:
    """Lightning's view of torchrun or SLURM, whichever started this process; None if neither did."""
    if TorchElasticEnvironment.detect():  # first, because torchrun may itself run within SLURM
        return TorchElasticEnvironment()
    # Lightning's way of continuing a job is not used, because `resume` continues a run.
    return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None


def is_lost_connection(error: BaseException) -> bool:
    """Whether a collective raised this error because one of its processes has ended."""
    names_backend = any(name in str(error) for name in ("gloo/", "NCCL"))
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and names_backend)


class LocalProcesses:
    """The processes of a run that this process, the first one, starts on its machine; none in most runs.

    The processes receive the config of the run. Lightning would have them repeat the command line instead,
    and in a sweep each of them would then start the sweep. The constructor sets variables of the environment,
    which `end` removes.
    """

    def __init__(self, devices: int, num_nodes: int):
        self.ranks = ranks_to_start(devices, num_nodes)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ended = threading.Event()
        self.environment = {}
        if self.ranks:
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
            # The Trainer, which is created before `start` is called, reads these variables.
            self.environment = address | {"NODE_RANK": "0", "LOCAL_RANK": "0"}
        os.environ |= self.environment

    def start(self, config: Callable[[], str], on_process_lost: Callable[[str], None]) -> None:
        """Starts the processes, and a thread that ends this process if one of them dies.

        If this process does not end by itself within ten seconds, `on_process_lost` gets a message before.
        `config` returns the config of the run as YAML.
        """
        if not self.ranks:
            return
        common = os.environ | {"GANLAB_PARENT": str(os.getpid()), "GANLAB_CONFIG": config()}
        # The processes have the import path of this one. With `-P`, Python adds no entry of its own to it.
        set_path = f"import sys; sys.path[:] = {sys.path}"
        # Ctrl-C, which the terminal sends to all processes, is ignored until `Stop` sets its own handler.
        ignore_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
        script = f"{set_path}; from ganlab.training import play_run; play_run.play_in_started_process()"
        for rank in self.ranks:
            command = [sys.executable, "-P", "-c", script]
            env = common | {"LOCAL_RANK": str(rank)}
            self.processes.append(subprocess.Popen(command, preexec_fn=ignore_interrupts, env=env))
        atexit.register(self.end)
        threading.Thread(target=self._watch, args=(on_process_lost,), daemon=True).start()

    def end(self) -> None:
        """Kills the processes; removes the variables and the process group that connect this one to them."""
        self.ended.set()
        for name in self.environment:
            os.environ.pop(name, None)
        for process in self.processes:
            process.kill()
        if self.processes and dist.is_initialized():
            dist.destroy_process_group()  # the next job of a sweep creates its own

    def wait_for_lost_process(self) -> str | None:
        """A message about a process that has died; None if all are alive after half a second.

        It waits that long because the death of a process cannot be seen at once.
        """
        for _ in range(10 if self.processes else 0):
            for rank, process in enumerate(self.processes, start=1):
                if process.poll():  # neither None, still running, nor 0, a clean end
                    ended = f"process {rank} of {len(self.ranks) + 1} ended with {process.returncode}"
                    return f"{ended}, so all end; resume continues from the last checkpoint"
            time.sleep(0.05)
        return None

    def _watch(self, on_process_lost: Callable[[str], None]) -> None:
        while not (lost := self.wait_for_lost_process()):
            if self.ended.wait(timeout=2):
                return
        # A collective with a dead process usually fails by itself, and the run then ends cleanly.
        if not self.ended.wait(timeout=10):
            on_process_lost(lost)
            print(f"run: {lost}", file=sys.stderr, flush=True)
            os._exit(1)


def has_parent() -> bool:
    """Whether the process that started this one is still running."""
    return os.getppid() == int(os.environ["GANLAB_PARENT"])


def exit_after_parent() -> None:
    """Ends this process after the one that started it, for which a collective would wait for hours."""
    while has_parent():
        time.sleep(1)
    os._exit(1)
