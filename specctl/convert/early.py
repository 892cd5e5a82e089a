"""Having workers on their way before the program itself is imported; imports next to nothing."""

import ctypes
import os
import sys

from specctl.convert.fork_server import begin_fork_server

PRELOAD = "specctl.convert.preload"
PRELOAD_TORCH = "specctl.convert.preload_torch"


def begin_workers(device: str, kernel: str, *others: object) -> None:
    """Start importing what workers need, where that can be told from a command's flags already.

    Parameters
    ----------
    device, kernel : str
        As given.
    *others
        Further flags; any that is given may need torch, which is then left to be found out.
    """
    one_blas_thread()
    if is_cpu(device) and kernel in ("auto", "fft") and all(flag is None for flag in others):
        begin_fork_server(PRELOAD)


def one_blas_thread() -> None:
    """Keep NumPy, if it is not imported yet, from threads that spin and are never used."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def is_cpu(device: str) -> bool:
    """Whether a ``--device`` means the CPU, as far as can be told without torch."""
    return device == "cpu" or (device == "auto" and not _has_cuda_driver())


def _has_cuda_driver() -> bool:
    """Whether there is a driver of NVIDIA's: without one, torch need not be asked."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
