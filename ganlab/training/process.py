"""Settings of the whole process: memory that malloc keeps, and warnings of Lightning."""

import ctypes
import logging
import os
import sys
import warnings

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_memory() -> bool:
    """Lets glibc's malloc keep memory that is freed; returns whether it does. No effect without glibc.

    By default large tensors are returned to the system as soon as they are freed, and a step on the CPU
    touches each of their pages again, which took up to half of its time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def silence_lightning() -> None:
    """Silences Lightning's advice, which does not apply to this loop, and a slow check of the driver."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
    # Otherwise Lightning has torch search for a driver library in every optimiser step: 0.2 ms each.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
