"""How much memory a worker may take, whatever a file claims or unpacks to."""

import multiprocessing
import resource
import sys
from functools import cache
from pathlib import Path

WORKER_BYTES = 1 << 30
"""On top of what the worker has when it begins: a tile and a block take a hundredth of it."""


@cache
def limit_memory(n_bytes: int = WORKER_BYTES) -> None:
    """Let a worker process take ``n_bytes`` more at most; beyond, allocations fail.

    What fails is then a file, with ``not enough memory`` for a reason, and not the machine.
    Only in processes of a pool, and only on Linux, where data segments can be counted.
    """
    if sys.platform != "linux" or multiprocessing.parent_process() is None:
        return
    try:
        status = Path("/proc/self/status").read_text()
        used = int(status.split("VmData:")[1].split()[0]) * 1024
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = used + n_bytes
        if hard == resource.RLIM_INFINITY or wanted < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    except (OSError, ValueError, IndexError):
        # a limit that cannot be set, in some containers, is no reason to convert nothing
        return
