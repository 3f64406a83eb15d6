"""Process-wide settings: malloc, warnings."""

import ctypes
import logging
import os
import sys
import warnings

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_memory() -> bool:
    """Has glibc keep what is freed; says whether it does so from now on.

    By default large tensors are returned to the system as soon as they are freed, and a round on the CPU
    touches each of its pages again: that took up to half of the time of a round. Where there is another
    C library nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


def quiet() -> None:
    """Lightning's advice is about loops other than this one."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning.*")
    # Otherwise Lightning makes torch search for a driver library in every optimiser step: 0.2 ms each.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
