"""Settings of this process: how malloc treats freed memory, and what Lightning prints and checks."""

import ctypes
import logging
import os
import sys
import warnings

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of mallopt, from glibc's malloc.h


def keep_memory() -> bool:
    """Makes glibc's malloc keep freed memory, and returns whether it succeeded. Has no effect without glibc.

    By default malloc returns the memory of large tensors to the system as soon as they are freed. The next
    step on the CPU must then get each of their pages again, which took up to half of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    # mallopt returns 1, or 0 if it fails.
    return mallopt is not None and all((mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, 2**31 - 1)))


def silence_lightning() -> None:
    """Silences Lightning's advice, which does not apply here, and disables a slow check of the driver."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
    # Without this variable, Lightning makes torch search for a driver library in every step of an optimiser,
    # which takes 0.2 ms.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
